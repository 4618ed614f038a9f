"""One request on a connection, and the ways to respond to it: whole, in pieces, from a file, or not at all."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import httptools
from msgspec import Struct, field

from kling_common.heads import BODILESS
from kling_mock import clock as clocks
from kling_mock.web.http import Request

Headers = Sequence[tuple[str, str]]

_BLOCK = 1 << 18
_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n" for one in HTTPStatus}


class Wire(Protocol):
    """What an exchange needs of its connection."""

    def write(self, data: bytes) -> None:
        """Send *data* as soon as the client takes it."""
        ...

    def write_whole(self, data: bytes) -> None:
        """Send a whole response, together with those to other clients that are ready by then."""
        ...

    async def drain(self) -> bool:
        """Return when the client has taken most of what was written; False where it is gone."""
        ...

    def gone(self) -> "asyncio.Future[None]":
        """Return what ends when the client hangs up."""
        ...

    def place(self) -> tuple[str, int]:
        """Return the address and port that the client reached."""
        ...

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* on the event loop."""
        ...

    def reset(self) -> None:
        """Break the connection, as when a gateway dies."""
        ...

    def ended(self, exchange: "Exchange") -> None:
        """Take note that the response is complete."""
        ...


class Exchange(Struct, eq=False):
    """A request, its body, and its response. The connection fills in the first two; `malformed` says why it is no request.

    `modern`: the client speaks HTTP/1.1. `keep`: it means to use the connection again.
    """

    wire: Wire
    request: Request
    modern: bool
    keep: bool
    most: int | None = None
    size: int = 0
    chunks: list[bytes] = field(default_factory=list)
    dropping: float | None = None
    whole: bool = False
    begun: bool = False
    malformed: tuple[int, str] | None = None
    left: int | None = 0
    """Bytes of the body that are still to be sent; None where it has no length."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""
        bodiless = status in BODILESS
        head = self._head(status, headers, None if bodiless else len(body))
        self.wire.write_whole(head if bodiless or self.request.method == "HEAD" else head + body)
        self.wire.ended(self)

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a response whose body follows in pieces; chunked, where no length is among the headers."""
        headers = list(headers)
        length = next((value for name, value in headers if name == "content-length"), None)
        if length is not None:
            self.left = int(length)
        else:
            self.left = None
            if self.modern:
                headers.append(("transfer-encoding", "chunked"))
            else:
                self.keep = False  # the end of the connection is the end of the body
        self.wire.write(self._head(status, headers, None))

    async def send(self, data: bytes) -> bool:
        """Send a piece of the body, and wait while the client does not read; False once it is gone."""
        if self.left is not None:
            self.left -= len(data)
        elif self.modern and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self.request.method != "HEAD":
            self.wire.write(data)
        return await self.wire.drain()

    def end(self) -> None:
        """End a body that was sent in pieces. One that is shorter than was said ends with its connection."""
        if self.left is None and self.modern and self.request.method != "HEAD":
            self.wire.write(b"0\r\n\r\n")
        elif self.left:
            self.keep = False
        self.wire.ended(self)

    async def send_file(
        self, status: int, headers: Headers, path: Path, first: int = 0, end: int | None = None
    ) -> None:
        """Send *path*, or its bytes from *first* to before *end*, as fast as the client reads.

        Raises:
            OSError: it cannot be read; nothing was sent then.
        """
        with path.open("rb") as file:
            left = (path.stat().st_size if end is None else end) - first
            file.seek(first)
            self.begin(status, [*headers, ("content-length", str(left))])
            while left > 0 and (block := file.read(min(left, _BLOCK))):
                left -= len(block)
                if not await self.send(block):
                    break
        self.end()

    def gone(self) -> "asyncio.Future[None]":
        """Return what ends when the client hangs up, or closes its side."""
        return self.wire.gone()

    def place(self) -> tuple[str, int]:
        """Return the address and port that the client reached."""
        return self.wire.place()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the rest of the response on the event loop."""
        self.wire.run(work)

    def reset(self) -> None:
        """Break the connection: nothing more is sent, and the client sees that it broke."""
        self.keep = False
        self.wire.reset()
        self.wire.ended(self)

    def _head(self, status: int, headers: Headers, length: int | None) -> bytes:
        lines = _LINES.get(status) or f"HTTP/1.1 {status} \r\n"
        lines += "".join([f"{name}: {value}\r\n" for name, value in headers])
        count = 1 + len(headers)
        if length is not None and "\r\ncontent-length: " not in lines:
            lines += f"content-length: {length}\r\n"
            count += 1
        if not self.keep:
            lines += "connection: close\r\n"
            count += 1
        elif not self.modern:
            lines += "connection: keep-alive\r\n"
            count += 1
        if lines.count("\n") != count or lines.count("\r") != count:
            raise ValueError("a header of the response holds a line break")
        self.begun = True
        return f"{lines}{_now()}".encode()


class Application(Protocol):
    """What requests go to."""

    def most(self, request: Request) -> "int | Awaitable[int]":
        """Return how many bytes of the body are looked at; 0 where it is refused whatever its body is."""
        ...

    def serve(self, exchange: Exchange) -> None:
        """Respond, now or later."""
        ...

    def malformed(self, exchange: Exchange, status: int, why: str) -> None:
        """Respond to what is no request."""
        ...


class _Last:
    """The end of every head, written once a second."""

    second, lines = -1, ""


def _now() -> str:
    second = int(clocks.wall())
    if second != _Last.second:
        _Last.second = second
        _Last.lines = f"date: {formatdate(second, usegmt=True)}\r\nserver: kling-mock\r\n\r\n"
    return _Last.lines


def target(raw: bytes) -> tuple[str, str]:
    """Return path, decoded, and query of a request's target as it came; both are empty for an authority, which only CONNECT asks for."""
    if not raw.startswith(b"/"):
        if raw == b"*":
            return "*", ""
        try:
            url = httptools.parse_url(raw)
        except httptools.HttpParserInvalidURLError:
            return "", ""
        if url.schema is None:
            return "", ""
        raw = (url.path or b"/") + (b"?" + url.query if url.query else b"")
    path, _, query = raw.partition(b"#")[0].partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query.decode("utf-8", "replace")
