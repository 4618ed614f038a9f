"""Faults of a connection: cut, silent, short, dripping, endless.

`misbehave` applies them to the sockets of the edge. Under any other WSGI server, and under Flask's test client, the
connection is out of reach; `Faults` then does what comes closest: `cut` raises ConnectionResetError out of the application and
`silent` raises TimeoutError, as a client would; a short body, a drip and an endless body are what they are.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

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


async def misbehave(wire: Wire, status: int, headers: Headers, body: bytes, scope: Any, proto: Any) -> None:
    """Do to the connection what a scenario asks for.

    All of them end: silence after ten minutes, an endless body after 16 GiB or when the client has not read for a minute.
    """
    plain = [(name, value) for name, value in headers if name != "content-length"]
    if wire.cut is not None:
        await _cut(scope, proto)
    elif wire.silent is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(proto.client_disconnect(), _SILENT_SECONDS)
        cut(scope.client)
    elif wire.endless:
        await _endless(scope, proto, status, plain, body)
    elif wire.short is not None:
        stream = proto.response_stream(status, [*plain, ("content-length", str(len(body)))])
        await _send(stream, body[: int(len(body) * wire.short)])
    else:
        await _drip(proto, status, [*plain, ("content-length", str(len(body)))], body, wire.drip or 0.0)


async def _cut(scope: Any, proto: Any) -> None:
    if cut(scope.client):
        with suppress(TimeoutError):
            await asyncio.wait_for(proto.client_disconnect(), 1.0)
    else:
        proto.response_empty(500, [])


async def _send(stream: Any, data: bytes) -> bool:
    """Send *data*; False when the client is gone."""
    try:
        await stream.send_bytes(data)
    except RuntimeError:  # granian's RSGIProtocolClosed
        return False
    return True


async def _drip(proto: Any, status: int, headers: Headers, body: bytes, seconds: float) -> None:
    stream = proto.response_stream(status, list(headers))
    for piece in _pieces(body):
        await asyncio.sleep(seconds / _DRIPS)
        if not await _send(stream, piece):
            return


async def _endless(scope: Any, proto: Any, status: int, headers: Headers, body: bytes) -> None:
    """Serve a pipe as if it were a file: the server's own streams take whatever they are given, a pipe waits for the reader."""
    reading, writing = (os.fdopen(end, mode, buffering=0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    os.set_blocking(writing.fileno(), False)
    with reading, writing:
        proto.response_file(status, list(headers), f"/dev/fd/{reading.fileno()}")
        with suppress(TimeoutError, BrokenPipeError):
            await _fill(reading, writing.fileno(), body)
        cut(scope.client)


async def _fill(reading: IO[bytes], writing: int, body: bytes) -> None:
    """Write *body* and then zeros into a pipe, as fast as they are read, and slowly once that is larger than any video.

    Raises:
        BrokenPipeError: the reader is gone.
        TimeoutError: the reader has not read for a while.
    """
    left, chunk = _ENDLESS_BYTES, memoryview(body or _CHUNK)
    while left > 0:
        try:
            sent = os.write(writing, chunk)
        except BlockingIOError:
            await _writable(writing)
            reading.close()  # the server has opened the pipe by now; a reader of its own that goes away breaks it
            continue
        left -= sent
        chunk = chunk[sent:] or memoryview(_CHUNK)
        await asyncio.sleep(0 if _ENDLESS_BYTES - left < _BURST_BYTES else sent / _TRICKLE)


async def _writable(end: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(end, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), _STALLED_SECONDS)
    finally:
        loop.remove_writer(end)


def cut(client: str) -> bool:
    """Reset the connection to *client* (`address:port`); True when it was found among this process's sockets.

    No server interface offers this, so the socket is looked up by its peer. Its reading half is closed, which makes the server drop
    it, and dropping resets it: the client sees that its connection broke, as when a gateway dies.
    """
    host, _, port = client.rpartition(":")
    peer = (host.strip("[]"), int(port))
    return any(_reset(one) for one, other in _connections() if other == peer)


def cut_all(port: int) -> None:
    """Reset every connection that was made to *port* of this machine, so that a waiting client does not keep the fake from ending."""
    for one, _ in _connections():
        if one.getsockname()[1] == port:
            _reset(one)


def _reset(connection: socket.socket) -> bool:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return False
    return True


def _connections() -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """The connections of this process, each for as long as it is looked at, and who is at their other end."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - the names are numbers, not paths
        found = _socket(int(name))
        if found is None:
            continue
        with found:
            try:
                peer = found.getpeername()
            except OSError:  # it listens, or its peer is gone
                continue
            if found.family in (socket.AF_INET, socket.AF_INET6):
                yield found, peer[:2]


def _socket(number: int) -> socket.socket | None:
    """The socket behind an open file, as one of its own; None where it is something else."""
    try:
        copy = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


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
