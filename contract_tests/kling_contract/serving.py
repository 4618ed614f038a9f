"""Small HTTP servers of the kit: receivers, proxies and hosts that a client must not visit.

A `Listener` takes connections on one port, each in a thread of its own, and hands every request to one function, whatever
its method. A connection carries one exchange. What is recorded, and what is sent back, is the function's affair.
"""

import contextlib
import hashlib
import io
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPMessage, responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from kling_common import heads

Headers = Sequence[tuple[str, str]]
FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
"""Headers that `Incoming.respond` writes itself."""
_UNLIMITED = 1 << 62
_HEAD_ENDS = (b"\r\n", b"\n", b"")
_LONGEST_LINE = 1 << 16
"""Bytes of a line beyond which the library refuses a request."""


class Incoming(BaseHTTPRequestHandler):
    """One request as it arrived, and the means to respond to it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def setup(self) -> None:
        """Give the connection the listener's time-out."""
        self.request.settimeout(self.server.listener.timeout)
        super().setup()

    def parse_request(self) -> bool:
        """Take the head of a request; one that is not plain, or waits for a word before its body, is the library's to read."""
        lines = [self.raw_requestline]
        while lines[-1] not in _HEAD_ENDS and len(lines) <= heads.MOST + 1 and len(lines[-1]) <= _LONGEST_LINE:
            lines.append(self.rfile.readline(_LONGEST_LINE + 1))
        found = heads.request(b"".join(lines)) if lines[-1] in _HEAD_ENDS else None
        if found is None or found[1].startswith("//") or any(name.lower() == "expect" for name, _ in found[2]):
            wire, self.rfile = self.rfile, io.BytesIO(b"".join(lines[1:]))
            try:
                return super().parse_request()
            finally:
                self.rfile = wire
        self.command, self.path, pairs = found
        self.requestline, self.request_version = f"{self.command} {self.path} HTTP/1.1", "HTTP/1.1"
        self.headers = HTTPMessage()
        for name, value in pairs:
            self.headers[name] = value
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Stay quiet: the history is the record."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The request's headers, in order."""
        return tuple(self.headers.items())

    def body(self, most: int = _UNLIMITED) -> bytes:
        """Return the request's body, at most *most* bytes of it."""
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            return self._chunks(most)
        length = self.headers.get("Content-Length", "")
        return self.rfile.read(min(int(length), most)) if length.isdigit() else b""

    def respond(self, status: int, headers: Headers = (), body: bytes = b"", *, part: int = 0) -> bool:
        """Send a response; return False where the other side has gone. part: send only so many bytes of the body."""
        framing = [] if status in heads.BODILESS else [f"Content-Length: {len(body)}"]
        content = b"" if self.command == "HEAD" else body[: part or None]
        return self.write(self.head(status, headers, framing) + content)

    def head(self, status: int, headers: Headers, framing: Sequence[str]) -> bytes:
        """Return the head of a response: its own *framing* in place of what *headers* hold, and a Date where they have none."""
        lines = [f"HTTP/1.1 {status} {responses.get(status, 'Other')}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() not in FRAMING]
        lines += framing
        if not any(name.lower() == "date" for name, _ in headers):
            lines.append(f"Date: {self.date_time_string()}")
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace")

    def write(self, data: bytes) -> bool:
        """Send bytes as they are; return False where the other side has gone."""
        try:
            self.connection.sendall(data)
        except OSError:
            return False
        return True

    def reset(self) -> None:
        """Break the connection without an answer, as a server that dies does."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _serve(self) -> None:
        self.close_connection = True
        self.server.listener.handle(self)

    def _chunks(self, most: int) -> bytes:
        kept = bytearray()
        while len(kept) < most:
            line = self.rfile.readline(100).split(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                break
            if size == 0:
                break
            kept += self.rfile.read(min(size, most))
            self.rfile.readline(10)
        return bytes(kept)


class Relay:
    """A response on its way to the other side as it arrives from a host: `head`, its blocks, then `end`. Counted and hashed.

    It goes on when the other side has gone: what the host gave is known whole.
    """

    def __init__(self, request: Incoming, kept: Callable[[Headers], Headers]) -> None:
        """*kept*: the headers that travel from one end to the other."""
        self._request, self._kept = request, kept
        self._sum = hashlib.sha256()
        self._chunked = False
        self.begun = False
        self.size = 0

    @property
    def sha256(self) -> str:
        """The hash of the body as far as it came."""
        return self._sum.hexdigest()

    def head(self, status: int, headers: Headers) -> None:
        """Send status and headers; a body without a length goes in chunks."""
        self.begun = True
        length = next((value for name, value in headers if name.lower() == "content-length"), "")
        self._chunked = not length.isdigit() and status not in heads.BODILESS and self._request.command != "HEAD"
        framing = (
            [f"Content-Length: {length}"]
            if length.isdigit()
            else ["Transfer-Encoding: chunked"]
            if self._chunked
            else []
        )
        self._request.write(self._request.head(status, self._kept(headers), framing))

    def block(self, data: bytes) -> None:
        """Send some more of the body."""
        self.size += len(data)
        self._sum.update(data)
        self._request.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, *, whole: bool) -> None:
        """End it; one that is not whole, or never began, breaks off for the other side too."""
        if not (whole and self.begun):
            self._request.reset()
        elif self._chunked:
            self._request.write(b"0\r\n\r\n")


class Listener:
    """`with Listener(handle) as listener`: serves until the block ends.

    handle: called with each request. address: host and port, 0 for a free one. tls: for HTTPS. timeout: seconds of silence
    after which a connection is dropped. idle: how often the server looks whether it is to end; the end waits that long at most.
    `connections` counts them, also those on which nothing was asked; `closing` is set when the listener ends.
    """

    def __init__(
        self, handle: Callable[[Incoming], None], *, address: tuple[str, int] = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None, timeout: float = 60.0, idle: float = 0.05,
    ) -> None:  # fmt: skip
        self.handle, self.tls, self.timeout, self._idle = handle, tls, timeout, idle
        self.connections = 0
        self.closing = threading.Event()
        self._server = _Server(address, self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": self._idle}, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        """Its origin, `http://127.0.0.1:PORT`."""
        return f"{'https' if self.tls else 'http'}://{self._server.server_address[0]!s}:{self.port}"


class Listening:
    """Base of what has a listener that serves from the start of a `with` block to its end."""

    _listener: Listener

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def origin(self) -> str:
        """Where it really listens."""
        return self._listener.origin


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], listener: Listener) -> None:
        self.listener = listener
        super().__init__(address, Incoming)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, then serve."""
        self.listener.connections += 1
        if self.listener.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(self.listener.timeout)
        with contextlib.suppress(OSError), self.listener.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a peer that goes away: that is its right."""


def certificate(names: Sequence[str]) -> tuple[ssl.SSLContext, bytes]:
    """Return a server context for *names*, signed by an authority made for it, and that authority (PEM)."""
    import trustme  # only HTTPS needs it

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context, authority.cert_pem.bytes()


def free_port() -> int:
    """Return a port of this machine on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
