"""The short way of an exchange, for what is plain: a request written as it stands, the head of a response read by llhttp.

`http.client` reads headers with the parser of mails, which takes two thirds of an exchange. Whatever is not plain goes its way, so that
there is one reading of the odd cases.
"""

import http.client
import io
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kling_common import heads

_BLOCK = 65536
_SMALL = 1 << 14
"""Bytes of a request body that travel with its head, in one write."""
_METHOD = re.compile(r"[A-Z]+")
_TARGET = re.compile(r"[!-~]+")
_HOST = re.compile(r"[0-9A-Za-z.-]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ILLEGAL = re.compile(r"[\r\n\0]")


def head_of(
    connection: http.client.HTTPConnection, request: tuple[str, str, Sequence[tuple[str, str]], bytes | None]
) -> bytes | None:
    """Return the head of *request*, byte for byte what `http.client` would send; None where that is its own affair."""
    method, target, headers, body = request
    if not (_METHOD.fullmatch(method) and _TARGET.fullmatch(target) and _HOST.fullmatch(connection.host)):
        return None
    names = {name.lower() for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        usual = connection.port == connection.default_port
        lines.append(f"Host: {connection.host}" if usual else f"Host: {connection.host}:{connection.port}")
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None or _ILLEGAL.search(value):
            return None
        lines.append(f"{name}: {value}")
    if body is not None and "content-length" not in names:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode()


def send(connection: http.client.HTTPConnection, head: bytes, body: bytes | None) -> OSError | None:
    """Send a request; a server that responds and hangs up before it has read everything is not an error yet.

    Raises:
        OSError: there is no connection, or not even the head could be sent.
    """
    if connection.sock is None:
        connection.connect()
    sock: socket.socket = connection.sock
    small = not body or len(body) <= _SMALL
    sock.sendall(head + (body or b"") if small else head)
    if not small and body:
        try:
            sock.sendall(body)
        except OSError as error:
            return error
    return None


@dataclass(slots=True)
class Answer:
    """A plain response: its head, what has come of its body, and how many bytes of that are still to be taken."""

    status: int
    headers: tuple[tuple[str, str], ...]
    begun: bytes
    length: int

    @property
    def lasting(self) -> bool:
        """Whether the connection can carry another exchange once the body has been taken."""
        return len(self.begun) <= self.length and all(name.lower() != "connection" for name, _ in self.headers)

    def blocks(self, sock: socket.socket) -> Iterator[bytes]:
        """The body as it comes, to its end or that of the connection."""
        block = self.begun[: self.length]
        while block or self.length:
            block = block or sock.recv(min(_BLOCK, self.length))
            if not block:
                return
            self.length -= len(block)
            yield block
            block = b""


def read(sock: socket.socket, method: str) -> Answer | http.client.HTTPResponse:
    """Return the response of *sock*, up to its head; the library's, with everything that has come so far, where it is not plain.

    Raises:
        OSError, http.client.HTTPException: there is none, or none that can be read.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0 and len(data) < _BLOCK:
        block = sock.recv(_BLOCK)
        if not block:
            break
        data += block
    # A head of more than a block has perhaps a line that the library refuses, however much of it came at once.
    found = _plain(data[: end + 4], method) if 0 <= end < _BLOCK else None
    if found is None:
        response = http.client.HTTPResponse(_Again(data, sock), method=method)  # type: ignore[arg-type]
        response.begin()
        return response
    status, headers, length = found
    return Answer(status, headers, data[end + 4 :], length)


def _plain(head: bytes, method: str) -> tuple[int, heads.Pairs, int] | None:
    """Return status, headers and length of the body; None where any of them leaves something to decide."""
    found = heads.response(head)
    if found is None:
        return None
    status, headers = found
    names = [name.lower() for name, _ in headers]
    if "transfer-encoding" in names:
        return None
    if method == "HEAD" or status in heads.BODILESS:
        return status, headers, 0
    if names.count("content-length") != 1:
        return None
    length = headers[names.index("content-length")][1]
    return (status, headers, int(length)) if length.isdigit() else None


class _Again:
    """What `HTTPResponse` takes for a socket: what was read of it before comes first."""

    def __init__(self, data: bytes, sock: socket.socket) -> None:
        self._data, self._sock = data, sock

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - the library's parameter
        """A file of everything that comes."""
        return io.BufferedReader(_AgainFile(self._data, self._sock))


class _AgainFile(io.RawIOBase):
    def __init__(self, data: bytes, sock: socket.socket) -> None:
        self._data, self._sock = data, sock

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """What was read before, then what comes."""
        if not self._data:
            return self._sock.recv_into(buffer)
        some = self._data[: len(buffer)]
        buffer[: len(some)] = some
        self._data = self._data[len(some) :]
        return len(some)
