"""
One HTTP exchange over one socket, all of it within one deadline (settled.md: "connect to last byte").

Each wait on the socket gets what is left of the time, so drip-feeding receivers and slow handshakes cannot stretch it,
and no timer or watchdog is needed: `connect`, `send`, `recv` and the TLS handshake each end at the timeout that their
socket has when they begin.

Answers that are not plain are read by `http.client`, bare because it reads nothing of the machine it runs on: no proxies
from the environment, no cookies, no `.netrc`, no redirects. It is imported by the first of them, because it brings the
parser of mails with it.
"""

import io
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from kling_common import heads
from kling_common.bodies import Payload
from kling_common.targets import IPAddress, Target

if TYPE_CHECKING:
    from http.client import HTTPResponse

CHUNK = 64 * 1024
_SWITCHING_PROTOCOLS = 101  # the one 1xx answer that nothing follows


_VERSIONS = ("1.0", "1.1")
_FRAMING = ("content-length", "transfer-encoding")
_DIGITS = 16
_BREAKS_OUT = re.compile(rb"\n(?![ \t])|\r(?![ \t\n])")


class AnswerTooLong(Exception):
    """The other side has sent as many bytes as are read of it."""


class Deadline:
    """A moment on *monotonic* after which nothing is waited for."""

    def __init__(self, monotonic: Callable[[], float], at: float) -> None:
        self._monotonic = monotonic
        self._at = at

    def left(self) -> float:
        """Seconds left, more than none; raises TimeoutError when it is over."""
        left = self._at - self._monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        return left


class Wire:
    """As much of a socket as `http.client` uses; every wait ends at the deadline, and reading at *budget* bytes."""

    def __init__(self, sock: socket.socket, deadline: Deadline, budget: int | None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._reader = _Reader(_Incoming(sock, deadline, budget), CHUNK)

    def sendall(self, data: bytes) -> None:
        """Send *data*. A loop, because an SSL socket's own `sendall` starts its timeout anew with every piece."""
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._deadline.left())
            rest = rest[self._sock.send(rest) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        """The one stream of what comes in: an interim answer and the one after it are read from the same buffer."""
        assert mode == "rb"
        return self._reader

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


class _Incoming(io.RawIOBase):
    """The bytes that come in over a socket, up to *budget* of them and until *deadline*."""

    def __init__(self, sock: socket.socket, deadline: Deadline, budget: int | None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._budget = budget

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader passes nothing else
        """Wait for some bytes; none means the other side has hung up."""
        if self._budget == 0:
            raise AnswerTooLong
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer[: self._budget])
        if self._budget is not None:
            self._budget -= count
        return count


class _Reader(io.BufferedReader):
    """A buffer that an answer read to its end does not close; the wire below it is closed by its owner."""

    def close(self) -> None:
        """Leave it open for the next answer."""


def dial(addresses: Sequence[IPAddress], port: int, deadline: Deadline) -> socket.socket:
    """
    Connect to the first of *addresses* that accepts; raises the last one's OSError where none does.

    An address that stays silent gets an even share of the time left, so that the next one has its chance.
    """
    failure = OSError("no address to connect to")
    for place, ip in enumerate(addresses):
        try:
            return _connect(ip, port, deadline.left() / (len(addresses) - place))
        except OSError as error:
            failure = error
    raise failure


def _connect(ip: IPAddress, port: int, timeout: float) -> socket.socket:
    """A connection to *ip* within *timeout* seconds; raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((str(ip), port))
    except BaseException:
        sock.close()
        raise
    return sock


def send(wire: Wire, method: str, target: Target, headers: Mapping[str, str], body: Payload | None) -> None:
    """Write one request, its head together with a body of bytes; raises ValueError for a header that would break out of its line."""
    lines = [f"{method} {target.resource} HTTP/1.1".encode("ascii")]
    for name, value in headers.items():
        line = f"{name}: {value}".encode("latin-1")
        if _BREAKS_OUT.search(line):
            raise ValueError(f"a header {name!r} that breaks out of its line")
        lines.append(line)
    written = b"\r\n".join([*lines, b"", b""])
    try:
        if body is None or isinstance(body, bytes):
            wire.sendall(written + (body or b""))
            return
        wire.sendall(written)
        for piece in body:
            wire.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        # The receiver has stopped listening, which it may after an early answer: that one is still there to be read.
        return


@dataclass(slots=True)
class PlainAnswer:
    """A final answer whose head came in one piece and is plain; its body, unread, has *length* bytes, or ends with the connection."""

    status: int
    length: int | None
    _reader: io.BufferedReader

    def read(self, amount: int) -> bytes:
        """Return the next bytes, none at the end."""
        if self.length is None:
            return self._reader.read(amount)
        piece = self._reader.read(min(amount, self.length))
        self.length = self.length - len(piece) if piece else self.length
        return piece


def plain_head(wire: Wire) -> PlainAnswer | None:
    """
    Return the answer, or None, with nothing read, where it has to be looked at more closely: by `head`.

    Most answers are plain, and `http.client` spends as long on one as all else that an exchange needs.
    """
    reader = wire.makefile("rb")
    waiting = reader.peek()
    end = waiting.find(b"\r\n\r\n") + 4
    found = heads.response(waiting[:end], _VERSIONS) if end >= 4 else None
    if found is None:
        return None
    status, headers = found
    framing = [(name.lower(), value) for name, value in headers if name.lower() in _FRAMING]
    length = None
    if framing:
        (name, value), more = framing[0], framing[1:]
        if more or name != "content-length" or not (value.isdigit() and len(value) < _DIGITS):
            return None
        length = int(value)
    reader.read(end)
    return PlainAnswer(status, 0 if status in heads.BODILESS else length, reader)


def head(wire: Wire, method: str) -> "HTTPResponse":
    """The final answer, its body unread; interim answers (1xx, early hints among them) are passed over."""
    from http.client import HTTPResponse

    while True:
        response = HTTPResponse(cast("socket.socket", wire), method=method)
        response.begin()
        if response.status >= 200 or response.status == _SWITCHING_PROTOCOLS:
            return response


def drain(response: "HTTPResponse | PlainAnswer") -> bool:
    """Read *response* to its end (True) or as far as its budget goes (False); raises IncompleteRead if it is cut."""
    try:
        while response.read(CHUNK):
            pass
    except AnswerTooLong:
        return False
    check_complete(response)
    return True


def check_complete(response: "HTTPResponse | PlainAnswer") -> None:
    """Raise IncompleteRead where fewer bytes came than announced, which `read` with an amount does not notice."""
    if response.length:
        from http.client import IncompleteRead

        raise IncompleteRead(b"", response.length)
