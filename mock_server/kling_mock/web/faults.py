"""Faults of a connection: cut, silent, short, dripping, endless.

`misbehave` applies them to the connections of the edge. Under any other WSGI server, and under Flask's test client, the
connection is out of reach; `Faults` then does what comes closest: `cut` raises ConnectionResetError out of the application and
`silent` raises TimeoutError, as a client would; a short body, a drip and an endless body are what they are.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from kling_mock import clock as clocks
from kling_mock.core.scenarios import Wire
from kling_mock.web.http import REPLY, REQUEST, ApiResponse

Headers = Sequence[tuple[str, str]]

_DRIPS = 20
_CHUNK = b"\0" * 65536
_ENDLESS_BYTES = 16 << 30
_BURST_BYTES, _TRICKLE = 512 << 20, 8 << 20
"""An endless body comes as fast as it is read until it is larger than any video; from then on so many bytes a second, so that a
client that bounds nothing leaves a processor to others."""
_SILENT_SECONDS = 600.0
_STALLED_SECONDS = 60.0


class Exchange(Protocol):
    """What a fault does to a connection with a request on it."""

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a response."""
        ...

    async def send(self, data: bytes) -> bool:
        """Send a piece of its body; False once the client is gone."""
        ...

    def end(self) -> None:
        """End the body."""
        ...

    def gone(self) -> "asyncio.Future[None]":
        """Return what ends when the client hangs up."""
        ...

    def reset(self) -> None:
        """Break the connection."""
        ...


async def misbehave(wire: Wire, status: int, headers: Headers, body: bytes, exchange: Exchange) -> None:
    """Do to the connection what a scenario asks for.

    All of them end: silence after ten minutes, an endless body after 16 GiB or when the client has not read for a minute.
    """
    plain = [(name, value) for name, value in headers if name != "content-length"]
    whole = [*plain, ("content-length", str(len(body)))]
    if wire.cut is not None:
        exchange.reset()
    elif wire.silent is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(exchange.gone(), _SILENT_SECONDS)
        exchange.reset()
    elif wire.endless:
        await _endless(exchange, status, plain, body)
    elif wire.short is not None:
        exchange.begin(status, whole)
        await exchange.send(body[: int(len(body) * wire.short)])
        exchange.end()
    else:
        await _drip(exchange, status, whole, body, wire.drip or 0.0)


async def _drip(exchange: Exchange, status: int, headers: Headers, body: bytes, seconds: float) -> None:
    exchange.begin(status, headers)
    for piece in _pieces(body):
        await asyncio.sleep(seconds / _DRIPS)
        if not await exchange.send(piece):
            break
    exchange.end()


async def _endless(exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
    """Send *body* and then zeros, as fast as they are read, and slowly once that is larger than any video."""
    exchange.begin(status, headers)
    sent, chunk = 0, body or _CHUNK
    with suppress(TimeoutError):
        while sent < _ENDLESS_BYTES and await asyncio.wait_for(exchange.send(chunk), _STALLED_SECONDS):
            sent += len(chunk)
            chunk = _CHUNK
            await asyncio.sleep(0 if sent < _BURST_BYTES else len(chunk) / _TRICKLE)
    exchange.reset()


def _pieces(body: bytes) -> Iterator[bytes]:
    size = max(1, -(-len(body) // _DRIPS))
    for start in range(0, len(body), size):
        yield body[start : start + size]


class Faults:
    """WSGI around the application, for servers other than the edge."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request.

        Raises:
            ConnectionResetError: the scenario cuts the connection.
            TimeoutError: the scenario never responds.
        """
        if REQUEST in environ:  # the edge acts on the faults itself
            return self._app(environ, start_response)
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            del exc_info
            started[:] = [status, headers]
            return started.append

        chunks = self._app(environ, start)
        response: ApiResponse | None = environ.get(REPLY)
        wire = response.wire if response is not None else None
        if wire is not None and wire.cut is not None:
            raise ConnectionResetError("the scenario cuts this connection")
        if wire is not None and wire.silent is not None:
            raise TimeoutError("the scenario never answers this request")
        status, headers = started[:2]
        if wire is not None and wire.endless:
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, headers)
        return chunks if wire is None else _bent(wire, b"".join(chunks))


def _bent(wire: Wire, body: bytes) -> Iterator[bytes]:
    if wire.short is not None:
        yield body[: int(len(body) * wire.short)]
    elif wire.endless:
        yield body
        for _ in range(_ENDLESS_BYTES // len(_CHUNK)):
            yield _CHUNK
    else:
        for piece in _pieces(body):
            clocks.pause((wire.drip or 0.0) / _DRIPS)
            yield piece
