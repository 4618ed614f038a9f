"""A server without sockets that follows a `Behaviour`: pure, with the time that it is given."""

import email.utils
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kling_common.masking import header
from kling_contract.lab.behaviour import Behaviour, Event, Place
from kling_contract.reading.contract import Contract

API = "https://api.kling.test"
FILES = "https://files.kling.test"
STRANGE = "https://stranger.test/video.mp4"
"""Origins that cannot be registered (RFC 2606), and where a forged callback leads."""
LINK = f"{FILES}/video.mp4?signature=abc"
_CREATED = 1757169743
_PAGE = b"<html><title>502 Bad Gateway</title></html>"
_JSON = (("Content-Type", "application/json"),)
_FAULTS = {"cut": "cut", "silence": "timeout"}


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


VIDEO = _box(b"ftyp", b"isom\0\0\2\0isom") + _box(b"moov", b"x" * 64) + _box(b"mdat", bytes(range(256)) * 8)
"""What the link serves: whole boxes of an MP4, enough for a client that looks at them."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Served:
    """An answer. lost: why the client does not get it, or not whole (`cut`, `timeout`); part: how much of a cut body came."""

    status: int
    headers: Headers = _JSON
    body: bytes = b""
    lost: str = ""
    part: int = 0


@dataclass(frozen=True, slots=True)
class OutgoingCallback:
    """A callback on its way. genuine: whether the service sends it."""

    url: str
    body: bytes
    genuine: bool = True


@dataclass(slots=True, eq=False)
class Task:
    """What the server knows of a task."""

    id: str
    hook: str = ""
    stage: int = 0
    progress: int = 0
    reads: int = 0
    shown: int = 0
    stalled: bool = False
    callbacks: list[Event] = field(default_factory=list)


class Scripted:
    """Answers requests as its behaviour has it. `due` gives the callbacks that are to be sent now."""

    def __init__(self, behaviour: Behaviour, contract: Contract, key: str) -> None:
        self.behaviour, self._contract, self._key = behaviour, contract, key
        self._queues: dict[Place, list[Event]] = {
            "create": behaviour.of("create"), "read": behaviour.of("read"), "link": behaviour.of("link"),
        }  # fmt: skip
        self.tasks: dict[str, Task] = {}
        self._by_key: dict[str, Task] = {}
        self._revoked = False

    def answer(self, method: str, url: str, headers: Headers, body: bytes, now: float) -> Served:
        """One request at *now* (Unix seconds)."""
        if url == LINK:
            return self._link()
        if url == STRANGE:
            return Served(200, (("Content-Type", self._contract.link_type),), VIDEO)
        if not url.startswith(API):
            return Served(404, body=b"{}")
        operation = self._contract.operation(method, url.removeprefix(API).partition("?")[0])
        if header(headers, "authorization") != f"Bearer {self._key}" or self._revoked:
            return self._refusal(401)
        if operation is not None and operation.id == "createVideo":
            return self._create(headers, body, now)
        if operation is not None and operation.id == "getTask":
            return self._read(url.rpartition("/")[2].partition("?")[0], now)
        if operation is not None and operation.id == "batchTasks":
            return self._batch(body, now)
        return self._refusal(404)

    def due(self, *, early: bool = False) -> list[OutgoingCallback]:
        """The callbacks that go out now; *early*: before the create is answered."""
        found: list[OutgoingCallback] = []
        for task in self.tasks.values():
            ready = [
                event for event in task.callbacks
                if (event.does == "early") == early and (early or task.reads >= event.after or self._over(task))
            ]  # fmt: skip
            for event in ready:
                task.callbacks.remove(event)
                found += self._callbacks_of(task, event)
        return found

    def _callbacks_of(self, task: Task, event: Event) -> list[OutgoingCallback]:
        """What one event has the receiver hear; the task is over by then, unless it is a forgery."""
        if event.does == "forge":
            claim = {**json.loads(self._shown(task)), "status": "completed", "progress": 100, "results": [STRANGE]}
            return [OutgoingCallback(task.hook, json.dumps(claim).encode(), genuine=False)]
        task.stage = 2
        return [OutgoingCallback(task.hook, self._shown(task))] * (2 if event.does == "twice" else 1)

    def _over(self, task: Task) -> bool:
        return task.stage == 2

    def _next(self, place: Place) -> Event | None:
        queue = self._queues[place]
        return queue.pop(0) if queue else None

    # Creates

    def _create(self, headers: Headers, body: bytes, now: float) -> Served:
        again = self._by_key.get(header(headers, "idempotency-key") or "")
        if again is not None:
            return Served(200, (*_JSON, ("Idempotency-Replayed", "true")), self._shown(again, created=True))
        try:
            asked: Any = json.loads(body)
        except ValueError:
            asked = None
        if self._contract.create_flaws(asked):
            return self._refusal(400)
        event = self._next("create")
        if event is None or event.does in ("bare", "extra"):
            return Served(200, body=self._shown(self._make(headers, asked), created=True, dress=event))
        if event.does == "refuse":
            self._queues["create"].insert(0, event)  # for ever: the reason does not go away by itself
        accepted = event.accepted and event.does in ("cut", "silence", "not-json", "fail-server")
        made = self._shown(self._make(headers, asked), created=True) if accepted else b""
        if event.does == "not-json":
            return Served(200, (("Content-Type", "text/html"),), b"<html>done</html>", "")
        if event.does in _FAULTS:
            return Served(200, body=made, lost=_FAULTS[event.does])
        return self._trouble(event, now)

    def _make(self, headers: Headers, asked: Mapping[str, Any]) -> Task:
        number = len(self.tasks) + 1
        task = Task(self._contract.id.numbered(_CREATED, number), str(asked.get("callback_url") or ""))
        if task.hook:
            task.callbacks = self.behaviour.of("callback") or [Event(at="callback", does="once", after=1 << 30)]
        self.tasks[task.id] = task
        key = header(headers, "idempotency-key")
        if key:
            self._by_key[key] = task
        return task

    # Reads

    def _read(self, task_id: str, now: float) -> Served:
        task = self.tasks.get(task_id)
        if task is None:
            return self._refusal(404)
        event = Event(at="read", does="stall") if task.stalled and task.stage < 2 else self._next("read")
        while event is not None and self._senseless(event, task):
            event = self._next("read")
        if event is None:
            task.stage = 2
        elif event.does == "revoke":
            self._revoked = True
            return self._refusal(401)
        elif event.does == "not-found":
            task.shown += 1
            return self._refusal(404)
        elif event.does in ("cut", "silence"):
            task.shown += 1
            return Served(200, body=self._shown(task), lost=_FAULTS[event.does])
        elif event.does in ("limit", "fail-server", "not-json"):
            task.shown += 1
            return self._trouble(event, now)
        else:
            self._move(task, event)
        task.reads, task.shown = task.reads + 1, task.shown + 1
        return Served(200, body=self._shown(task, dress=event))

    def _batch(self, body: bytes, now: float) -> Served:
        """A read of several tasks at once: each is read, and what goes wrong with one goes wrong with all."""
        try:
            ids = json.loads(body)["task_ids"]
        except (ValueError, KeyError, TypeError):
            return self._refusal(400)
        read = [self._read(one, now) for one in ids]
        bad = next((one for one in read if one.lost or one.status not in (200, 404) or one.headers != _JSON), None)
        if bad is not None:
            return bad
        tasks = b",".join(one.body for one in read if one.status == 200)
        return Served(200, body=b'{"data":[' + tasks + b"]}")

    def _senseless(self, event: Event, task: Task) -> bool:
        """Whether the contract rules *event* out by now: what is over stays so, and what was seen is found."""
        shows = event.does in ("pending", "processing", "unknown-status", "bare", "extra", "stall")
        return (task.stage == 2 and shows) or (event.does == "not-found" and task.shown > 0)

    def _move(self, task: Task, event: Event) -> None:
        """Forward, never back."""
        stage = {"pending": 0, "fail": 2}.get(event.does, 1)
        task.stalled = task.stalled or event.does == "stall"
        task.stage = max(task.stage, stage)
        if task.stage == 1:
            task.progress = max(task.progress, event.progress)

    def _trouble(self, event: Event, now: float) -> Served:
        if event.does == "refuse":
            return self._refusal(event.status)
        if event.does == "limit":
            until = email.utils.formatdate(int(now) + event.wait + 1, usegmt=True)
            value = until if event.form == "date" else str(event.wait)
            return self._refusal(429, (("Retry-After", value),))
        if event.does == "not-json" or event.status == 502:
            return Served(502 if event.does == "fail-server" else 200, (("Content-Type", "text/html"),), _PAGE)
        return self._refusal(event.status)

    def _refusal(self, status: int, more: Headers = ()) -> Served:
        known = next((error for error in self._contract.errors if error.status == status), None)
        error = {
            "code": known.code if known else "error",
            "message": f"refused with {status}",
            "type": known.type if known else "error",
        }
        return Served(status, (*_JSON, *more), json.dumps({"error": error}).encode())

    # Links

    def _link(self) -> Served:
        event = self._next("link")
        typed = (("Content-Type", self._contract.link_type), ("Content-Length", str(len(VIDEO))))
        if event is None:
            return Served(200, typed, VIDEO)
        if event.does == "cut":
            return Served(200, typed, VIDEO, "cut", len(VIDEO) // 2)
        if event.does == "expire":
            return Served(403, (("Content-Type", "application/xml"),), b"<Error><Code>AccessDenied</Code></Error>")
        return Served(503, (("Content-Type", "text/plain"),), b"slow down")

    # Tasks as they are shown

    def _shown(self, task: Task, *, created: bool = False, dress: Event | None = None) -> bytes:
        failed = next((event for event in self.behaviour.of("read") if event.does == "fail"), None)
        ended = task.stage == 2 and not created
        status = "pending" if created else ("pending", "processing", "failed" if failed else "completed")[task.stage]
        body: dict[str, Any] = {
            "id": task.id, "object": "video.generation.task", "created": _CREATED, "model": self._contract.model,
            "status": status, "progress": 0 if created else task.progress, "type": "video",
            "task_info": {"can_cancel": not ended, "estimated_time": 60, "video_duration": self._contract.duration_default},
            "usage": {"billing_rule": "per_second", "credits_reserved": 50, "user_group": "default"},
        }  # fmt: skip
        if ended and failed:
            body["error"] = {"code": failed.code, "message": "The task has failed.", "type": "task_error"}
        elif ended:
            body |= {"progress": self._contract.completed_progress, "results": [LINK]}
        return json.dumps(_dressed(body, dress)).encode()


def _dressed(body: dict[str, Any], dress: Event | None) -> dict[str, Any]:
    """*body* with undocumented members, or without what may be missing."""
    match dress.does if dress else "":
        case "extra":
            return {
                **body,
                "queue": {"position": 3},
                "stage": "denoising",
                "task_info": {**body["task_info"], "gpu": "A100"},
            }
        case "bare":
            return {name: value for name, value in body.items() if name not in ("task_info", "usage")}
        case "unknown-status":
            return {**body, "status": "rendering"}
    return body
