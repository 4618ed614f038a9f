"""A request and its response as the routes see them: the same under Flask, under any WSGI server, and at the edge."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from sys import intern
from typing import Any, Protocol

import orjson
from msgspec import Struct, field

from kling_mock.core.scenarios import Wire
from kling_mock.store.journal import Sent

REPLY = "kling.reply"
"""Key of the environ under which the response behind a response stands, so that its faults can act."""

REQUEST = "kling.request"
"""Key of the environ under which the edge leaves the request that it has already read."""

_MOST_NAMES = 1024


class Headers(Protocol):
    """Header lookup without regard to case."""

    def get(self, key: str) -> str | None:
        """Value of the header, or None."""
        ...

    def items(self) -> Iterable[tuple[str, str]]:
        """Pairs of name and value."""
        ...


class RequestHeaders:
    """Headers as they came over a connection: names in lower case, the first of each name counts, `items` has all."""

    __slots__ = ("again", "first", "get")

    def __init__(self) -> None:
        self.first = Sent()
        self.again: list[tuple[str, str]] = []
        self.get = self.first.get

    def take(self, name: bytes, value: bytes) -> None:
        """Take one more."""
        key = _names.get(name) or _named(name)
        if key in self.first:
            self.again.append((key, value.decode("latin-1")))
        else:
            self.first[key] = value.decode("latin-1")

    def __len__(self) -> int:
        return len(self.first) + len(self.again)

    def items(self) -> Iterable[tuple[str, str]]:
        """Return pairs of name and value."""
        return [*self.first.items(), *self.again] if self.again else self.first.items()


_names: dict[bytes, str] = {}
"""Names of headers that were seen, in lower case."""


def _named(name: bytes) -> str:
    key = intern(name.decode("latin-1").lower())
    if len(_names) < _MOST_NAMES:
        _names[name] = key
    return key


class Request(Struct):
    """A request with its body read. `oversize`: it is larger than its route takes. `cut`: it ended before its length."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    client: str = "127.0.0.1"
    scheme: str = "http"
    oversize: bool = False
    cut: bool = False

    @property
    def url(self) -> str:
        """Path and query as they came."""
        return f"{self.path}?{self.query}" if self.query else self.path


class ApiResponse(Struct):
    """A response, the fault that a scenario applies to it, and what must have ended before it is sent."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("content-type", "application/json")])
    wire: Wire | None = None
    task_id: str | None = None
    scenario: str | None = None
    fault: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    after: "Sequence[Future[Any]]" = ()
    file: Path | None = None
    """A file to stream in place of `body`."""
    note: Callable[..., None] | None = None
    """Writes a download into the journal, once it is known what really goes out: the status, and how many bytes."""


def kept(headers: Headers) -> dict[str, str]:
    """Return headers that can be kept: another server's own object may hold the whole buffer that they were read into."""
    if isinstance(headers, RequestHeaders) and not headers.again:
        return headers.first
    return {intern(name): value for name, value in headers.items()}


def json_reply(value: Any, status: int = 200) -> ApiResponse:
    """Return *value* as an application/json response."""
    return ApiResponse(status, orjson.dumps(value))
