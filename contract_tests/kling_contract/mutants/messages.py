"""What passes through a mutant: requests, answers, callbacks, and what is remembered of each task and account.

Messages are values; a change gives a new one. Only `Memory` is shared, between the threads of one proxy.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson

from kling_common.bodies import json_or_none
from kling_common.masking import header
from kling_common.members import object_in
from kling_contract.reading.contract import shipped
from kling_contract.reading.view import is_task

Headers = tuple[tuple[str, str], ...]
DROP: Any = object()
"""Stands for "leave it out" where a member or a header is set."""


def with_header(headers: Headers, name: str, value: Any) -> Headers:
    """*headers* with one of them set, or left out (DROP)."""
    kept = tuple(pair for pair in headers if pair[0].lower() != name.lower())
    return kept if value is DROP else (*kept, (name, value))


@dataclass(frozen=True)
class Request:
    """A request on its way in. target: path and query, as they were sent."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @cached_property
    def name(self) -> str:
        """The operationId; empty for what the contract does not know."""
        found = shipped().operation(self.method, self.path)
        return found.id if found else ""

    @property
    def task_id(self) -> str:
        """The last part of the path: of a query, the id that it asks for."""
        return self.path.rpartition("/")[2]

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        return json_or_none(self.body)

    @property
    def sent(self) -> dict[str, Any]:
        """The body when it is an object, else an empty one."""
        return object_in(self.json)

    def header(self, name: str) -> str:
        """One header; empty where there is none."""
        return header(self.headers, name) or ""

    @property
    def key(self) -> str:
        """The bearer key; empty without one."""
        scheme, _, key = self.header("authorization").partition(" ")
        return key if scheme.lower() == "bearer" else ""

    def becomes(self, document: Any) -> "Request":
        """The same request with *document* as its body."""
        return replace(self, body=orjson.dumps(document))

    def headed(self, name: str, value: Any) -> "Request":
        """The same request with one header set, or left out."""
        return replace(self, headers=with_header(self.headers, name, value))

    def keyed(self, key: str) -> "Request":
        """The same request with another bearer key."""
        return self.headed("Authorization", f"Bearer {key}")


@dataclass(frozen=True)
class Response:
    """A response on its way out. status 0: none came, so the connection is closed."""

    status: int
    headers: Headers = (("Content-Type", "application/json"),)
    body: bytes = b""

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        return json_or_none(self.body)

    @property
    def accepted(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    def becomes(self, document: Any) -> "Response":
        """The same answer with *document* as its body."""
        return replace(self, body=orjson.dumps(document))

    def headed(self, name: str, value: Any) -> "Response":
        """The same answer with one header set, or left out."""
        return replace(self, headers=with_header(self.headers, name, value))


@dataclass(frozen=True)
class CallbackPost:
    """One attempt of a callback on its way to the receiver."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @cached_property
    def task(self) -> dict[str, Any]:
        """The task in it; an empty object where it is not one."""
        found = json_or_none(self.body)
        return found if is_task(found) else {}

    def becomes(self, document: Any) -> "CallbackPost":
        """The same attempt with *document* as its body."""
        body = orjson.dumps(document)
        return replace(self, body=body, headers=with_header(self.headers, "Content-Length", str(len(body))))


@dataclass(frozen=True)
class ReceiverResponse:
    """What the receiver gave, byte for byte; nothing where it hung up without an answer."""

    raw: bytes = b""

    @classmethod
    def of(cls, status: int) -> "ReceiverResponse":
        """A plain answer with that status."""
        return cls(f"HTTP/1.1 {status} ReceiverResponse\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    @property
    def status(self) -> int:
        """Its status; 0 without one."""
        words = self.raw.split(b" ", 2)
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0

    @property
    def delivered(self) -> bool:
        """Whether the receiver said yes."""
        return 200 <= self.status < 300

    @property
    def location(self) -> str:
        """Where a redirect leads; empty for any other answer."""
        for line in self.raw.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"location":
                return value.strip().decode("latin-1")
        return ""


@dataclass(eq=False)
class Known:
    """What a mutant remembers of one task or account. seen: counters by name; kept: anything else by name."""

    key: str = ""
    sent: dict[str, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    kept: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Memory:
    """All that one running mutant remembers. Thread-safe as long as `lock` is held while something is changed.

    send: a request to the correct server behind. post: one callback, to the address that a relay gives. relays: account
    key and origin to that address.
    """

    send: Callable[[Request], Response]
    post: Callable[[str, CallbackPost], ReceiverResponse]
    lock: threading.RLock = field(default_factory=threading.RLock)
    tasks: dict[str, Known] = field(default_factory=dict)
    accounts: dict[str, Known] = field(default_factory=dict)
    relays: dict[tuple[str, str], str] = field(default_factory=dict)

    def task(self, task_id: str) -> Known:
        """What is known of a task; fresh at first."""
        with self.lock:
            return self.tasks.setdefault(task_id, Known())

    def account(self, key: str) -> Known:
        """What is known of an account; fresh at first."""
        with self.lock:
            return self.accounts.setdefault(key, Known())

    def relay(self, key: str) -> str:
        """Where callbacks of an account go, whatever their origin; empty before it has said so."""
        with self.lock:
            return next((place for (owner, _), place in reversed(self.relays.items()) if owner == key), "")

    def count(self, known: Known, name: str) -> int:
        """Count one more *name*; answers how many there are now."""
        with self.lock:
            known.seen[name] += 1
            return known.seen[name]


def tasks_in(ask: Request, answer: Response) -> Iterator[dict[str, Any]]:
    """The tasks that an answer shows: of a create, a query, a list or a batch."""
    if not answer.accepted or ask.name not in ("createVideo", "getTask", "listTasks", "batchTasks"):
        return
    rows: Any = answer.json.get("data", [answer.json]) if isinstance(answer.json, dict) else []
    yield from (row for row in rows if is_task(row)) if isinstance(rows, Sequence) else ()
