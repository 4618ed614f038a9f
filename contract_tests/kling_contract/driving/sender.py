"""The one place that sends requests: plain HTTP/1.1, whatever bytes are asked for, a deadline and a cap on the answer.

Nothing here knows the contract. A connection serves one request, so that an answer never belongs to another question
and a connection that the server had closed meanwhile never looks like a lost reply.
"""

import heapq
import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Protocol
from urllib.parse import urlsplit

from kling_contract.driving import plain

ANSWER_CAP = 8 * 1024 * 1024
"""Bytes of an answer that are read; no JSON of a task comes near."""
_BLOCK = 65536

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RawResponse:
    """What came back. `status` is None when nothing did; then `lost` says why.

    lost: `refused`, `dns`, `tls`, `timeout`, `cut`, `not http`, `too large`; empty when the whole answer arrived. An answer over
    the cap keeps its status and its first bytes. detail: the same in words, for people.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    lost: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for a whole exchange, from connecting to the last byte, and bytes of an answer."""

    seconds: float = 30.0
    answer: int = ANSWER_CAP


@dataclass(frozen=True, slots=True)
class About:
    """What a guard knows of a request: its name for people, and whether it is meant to be accepted."""

    name: str = ""
    planned: bool = True


class Taker(Protocol):
    """Takes an answer as it arrives, in place of its being kept. Neither call may raise."""

    def head(self, status: int, headers: Headers) -> None:
        """Status and headers have come."""

    def block(self, data: bytes) -> None:
        """Some more of the body has come."""


class Sender:
    """Sends requests. verify: a file of certificates to trust instead of the system's; empty for the system's."""

    def __init__(self, *, verify: str = "") -> None:
        self._verify = verify
        self._tls: ssl.SSLContext | None = None

    def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        limits: Limits = Limits(),
        about: About = About(),  # noqa: ARG002 - for a sender past the guard
    ) -> RawResponse:
        """One request and what became of it; never raises for anything that the network or the server does."""
        return self.stream(method, url, headers, body, limits, None)

    def stream(
        self, method: str, url: str, headers: Headers, body: bytes | None, limits: Limits, taker: Taker | None
    ) -> RawResponse:
        """The same, with a body that goes to *taker* as it arrives and is not kept."""
        try:
            connection = self._connection(url, limits.seconds)
            with _deadline(connection, limits.seconds) as late:
                return _exchange(connection, (method, _target(url), headers, body), limits, (late, taker))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return _lost(error)

    def _connection(self, url: str, seconds: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, parts.port or 80, timeout=seconds)
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._verify or None)
        return http.client.HTTPSConnection(host, parts.port or 443, timeout=seconds, context=self._tls)


class KeptSender(Sender):
    """Keeps connections for further exchanges, which halves what one costs: for a server that is known to keep to HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[float, str, http.client.HTTPConnection]] = []

    def __enter__(self) -> "KeptSender":
        return self

    def __exit__(self, *_: object) -> None:
        while self._kept:
            self._kept.pop()[2].close()

    def stream(
        self, method: str, url: str, headers: Headers, body: bytes | None, limits: Limits, taker: Taker | None
    ) -> RawResponse:
        """One exchange on a connection of before; on one of its own where it is not plain."""
        place = _place(url)
        connection = self._idle(place) or self._connection(url, limits.seconds)
        head = plain.head_of(connection, (method, _target(url), headers, body))
        last = True
        try:
            if head is None:
                return super().stream(method, url, headers, body, limits, taker)
            found = _begun(connection, method, plain.send(connection, head, body))
            ends = isinstance(found, http.client.HTTPResponse) or not found.lasting
            reply = _taken(found, connection.sock, limits, taker)
            last = ends or bool(reply.lost)
            return reply
        except (OSError, http.client.HTTPException, ValueError) as error:
            return _lost(error)
        finally:
            if last:
                connection.close()
            else:
                self._kept.append((time.perf_counter(), place, connection))

    def _idle(self, place: str) -> http.client.HTTPConnection | None:
        """A connection to *place* that is still open: a server may close one that was idle for long."""
        while self._kept:
            since, where, connection = self._kept.pop()
            readable, _, _ = select.select([connection.sock], [], [], 0)
            if where == place and not readable and time.perf_counter() - since < _IDLE:
                return connection
            connection.close()
        return None


_IDLE = 5.0


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Deadlines:
    """Does what is to be done when a deadline passes: one thread for all of them, since most exchanges end long before."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._numbers = count()
        self._idle = 0
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, seconds: float, act: Callable[[], None]) -> list[Callable[[], None]]:
        """Do *act* in so many *seconds*; return what `drop` takes."""
        entry = (time.perf_counter() + seconds, next(self._numbers), [act])
        with self._news:
            heapq.heappush(self._due, entry)
            if self._due[0] is entry:
                self._news.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
        return entry[2]

    def drop(self, acts: list[Callable[[], None]]) -> None:
        """Forget what `put` returned: its time no longer matters. Done now or never when this returns."""
        with self._news:
            acts.clear()
            self._idle += 1
            if self._idle > _MOST_IDLE and 2 * self._idle > len(self._due):
                self._due = [entry for entry in self._due if entry[2]]
                heapq.heapify(self._due)
                self._idle = 0

    def _watch(self) -> None:
        while True:
            with self._news:
                left = self._due[0][0] - time.perf_counter() if self._due else None
                if left is None or left > 0:
                    self._news.wait(left)
                    continue
                acts = heapq.heappop(self._due)[2]
                self._idle -= not acts
                for act in acts:
                    act()


_MOST_IDLE = 256
_DEADLINES = _Deadlines()


@contextmanager
def _deadline(connection: http.client.HTTPConnection, seconds: float) -> Iterator[threading.Event]:
    """Cut *connection* when *seconds* are over, however lively it drips; the event says that it was so."""
    late = threading.Event()

    def end() -> None:
        late.set()
        sock = connection.sock  # which is None once the connection is closed
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    mine = _DEADLINES.put(seconds, end)
    try:
        yield late
    finally:
        _DEADLINES.drop(mine)
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection,
    request: tuple[str, str, Headers, bytes | None],
    limits: Limits,
    watch: tuple[threading.Event, Taker | None],
) -> RawResponse:
    late, taker = watch
    try:
        head = plain.head_of(connection, request)
        sending = _send(connection, request) if head is None else plain.send(connection, head, request[3])
        reply = _taken(_begun(connection, request[0], sending), connection.sock, limits, taker)
        # Cut by our own deadline, an answer may look like one that just ended.
        return _too_late(limits) if late.is_set() else reply
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _too_late(limits) if late.is_set() else _lost(error)


def _too_late(limits: Limits) -> RawResponse:
    return RawResponse(lost="timeout", detail=f"no whole answer within {limits.seconds:g} s")


def _names(headers: Headers, wanted: str) -> bool:
    return any(name.lower() == wanted for name, _ in headers)


def _send(connection: http.client.HTTPConnection, request: tuple[str, str, Headers, bytes | None]) -> OSError | None:
    """Send a request that is not plain; a server that answers and hangs up before it has read everything is not an error yet."""
    method, target, headers, body = request
    connection.putrequest(method, target, skip_accept_encoding=True, skip_host=_names(headers, "host"))
    for name, value in headers:
        connection.putheader(name, value.encode("utf-8"))
    if body is not None and not _names(headers, "content-length"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    try:
        if body:
            connection.send(body)
    except OSError as error:
        return error
    return None


def _begun(
    connection: http.client.HTTPConnection, method: str, sending: OSError | None
) -> plain.Answer | http.client.HTTPResponse:
    """A response up to its head. sending: what broke when the request was sent, which is the cause where there is no response."""
    try:
        return plain.read(connection.sock, method)
    except (OSError, http.client.HTTPException):
        if sending is not None:
            raise sending from None
        raise


def _taken(
    found: plain.Answer | http.client.HTTPResponse, sock: socket.socket, limits: Limits, taker: Taker | None
) -> RawResponse:
    """A response whose head was read, with its body."""
    if isinstance(found, plain.Answer):
        status, headers = found.status, found.headers
        blocks = found.blocks(sock)
    else:
        status, headers = found.status, tuple(found.getheaders())
        blocks = iter(lambda: found.read1(_BLOCK), b"")
    kept, size = bytearray(), 0
    if taker is not None:
        taker.head(status, headers)
    for block in blocks:
        size += len(block)
        if taker is not None:
            taker.block(block)
        else:
            kept += block[: limits.answer - len(kept)]
        if size > limits.answer:
            detail = f"an answer of more than {limits.answer} bytes"
            return RawResponse(status, headers, bytes(kept), "too large", detail)
    if found.length:
        return RawResponse(lost="cut", detail=f"the answer ended {found.length} bytes early")
    return RawResponse(status, headers, bytes(kept))


def _lost(error: Exception) -> RawResponse:
    kinds: tuple[tuple[type[Exception], str, str], ...] = (
        (ssl.SSLError, "tls", "TLS failed"),
        (socket.gaierror, "dns", "the host name does not resolve"),
        (TimeoutError, "timeout", "no answer in time"),
        (ConnectionRefusedError, "refused", "the connection was refused"),
        (http.client.RemoteDisconnected, "cut", "the connection was closed without an answer"),
        (http.client.IncompleteRead, "cut", "the answer ended half-way"),
        (ConnectionError, "cut", "the connection broke"),
        (http.client.HTTPException, "not http", "the answer is not HTTP"),
        (OSError, "unreachable", "no connection"),
    )
    for kind, name, words in kinds:
        if isinstance(error, kind):
            why = "" if isinstance(error, ConnectionRefusedError) else " ".join(str(error).split())
            return RawResponse(lost=name, detail=f"{words}: {why}" if why else words)
    return RawResponse(lost="not http", detail=f"{type(error).__name__}: {error}")
