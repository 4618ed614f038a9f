"""The kit's own receiver of callbacks: answers as it was told, and writes each attempt into the history.

It listens in plain HTTP for relays and tunnels, or in HTTPS with a certificate of its own. What it does with the
attempts of one path is a script: one `Act` an attempt, the last one for all that follow.
"""

import select
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from kling_contract.history.events import Callback, Moment, Recorder, wall

_MOST = 1024 * 1024
HOST = "hooks.example.com"
"""A public-looking host that nobody owns: relays lead from it to the receiver."""


@dataclass(frozen=True, slots=True)
class Act:
    """What the receiver does with one attempt.

    delay: seconds before the answer. end: `answer` it, `cut` the connection without one, or give only an interim (`1xx`)
    answer and then close. location: where a redirect leads.
    """

    status: int = 200
    delay: float = 0.0
    end: Literal["answer", "cut", "1xx"] = "answer"
    location: str = ""


YES = Act()
Hook = Callable[[Any], None]


@dataclass(eq=False)
class Route:
    """A path that was registered as somebody's callback, and what is done with what arrives there.

    clock: the account's. hook: called with the body's JSON bytes before the first answer.
    """

    path: str
    acts: Sequence[Act] = (YES,)
    clock: Callable[[], Moment] = wall
    case: str = ""
    who: str = ""
    hook: Hook | None = None
    arrived: int = 0
    recorded: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def next_act(self) -> tuple[int, Act]:
        """The number of this attempt, from 1, and what to do with it."""
        with self.changed:
            self.arrived += 1
            return self.arrived, self.acts[min(self.arrived, len(self.acts)) - 1]

    def done(self) -> None:
        """One more attempt stands in the history."""
        with self.changed:
            self.recorded += 1
            self.changed.notify_all()

    def wait(self, attempts: int, seconds: float) -> bool:
        """Whether *attempts* of them stood in the history within *seconds* of real time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.recorded >= attempts, seconds)


class Receiver:
    """`with Receiver(recorder) as receiver`: listens until the block ends.

    listen: address and port (0: a free one). names: for HTTPS, the host names of the certificate; empty for plain HTTP.
    base: the public origin, with a path where there is one, that leads here; without it only relays do.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        names: Sequence[str] = (),
        base: str = "",
    ) -> None:
        self.recorder = recorder
        self.base = base.rstrip("/")
        self.authority_pem = b""
        self._routes: dict[str, Route] = {}
        self._lock = threading.Lock()
        self._server = _Server(listen, self)
        if names:
            self._server.tls, self.authority_pem = _certificate(names)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def knocks(self) -> int:
        """How many connections were made to it, whether a request came on them or not."""
        return self._server.knocks

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        """Where it really listens."""
        scheme = "https" if self._server.tls else "http"
        return f"{scheme}://{self._server.server_address[0]!s}:{self.port}"

    def add(self, route: Route) -> Route:
        """Answer for a path; anything else is answered 404 and recorded as well."""
        with self._lock:
            self._routes[route.path] = route
        return route

    def route(self, target: str) -> Route | None:
        """The route of a request target; a public base may have put a path in front."""
        path = target.partition("?")[0]
        with self._lock:
            return next((route for own, route in self._routes.items() if path == own or path.endswith(own)), None)


class _Server(ThreadingHTTPServer):
    """A thread a connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, listen: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        self.tls: ssl.SSLContext | None = None
        self.knocks = 0
        self.closing = threading.Event()
        super().__init__(listen, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, then serve."""
        self.knocks += 1
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_Handler.timeout)
        with self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that went away is what the kit wants to see, not an error of its own."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet: the history is the record."""

    def _serve(self) -> None:
        receiver = self.server.receiver
        recorder = receiver.recorder
        route = receiver.route(self.path)
        moment = route.clock() if route else wall()
        mono = recorder.mono()
        self.close_connection = True
        body = self._body()
        number, act = route.next_act() if route else (0, Act(404))
        if route and route.hook and number == 1:
            route.hook(body)
        left = self._left_within(act.delay)
        # Before the answer goes out: the sender may go on, and clocks be moved, as soon as it has it.
        after, ended_mono = (route.clock() if route else wall()), recorder.mono()
        ended = "gone" if left else self._act(act)
        answer = recorder.answer(act.status, self._headers(act), b"") if ended == "answered" else None
        recorder.add(
            Callback(
                method=self.command, url=self._url(), request=recorder.message(self.headers.items(), body),
                answer=answer, ended=ended, at=moment.at, since=moment.since, mono=mono, ended_at=after.at,
                ended_mono=ended_mono, case=route.case if route else "callback",
            )
        )  # fmt: skip
        if route:
            route.done()

    def _url(self) -> str:
        """As the sender named it; behind a tunnel, as it was registered."""
        host = self.headers.get("Host") or "unknown"
        base = self.server.receiver.base
        return f"{_origin(base)}{self.path}" if base else f"https://{host}{self.path}"

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            return self._chunks()
        return self.rfile.read(min(int(length), _MOST)) if length.isdigit() else b""

    def _chunks(self) -> bytes:
        kept = bytearray()
        while len(kept) < _MOST:
            line = self.rfile.readline(100).split(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                return bytes(kept)
            if size == 0:
                return bytes(kept)
            kept += self.rfile.read(min(size, _MOST))
            self.rfile.readline(10)
        return bytes(kept)

    def _headers(self, act: Act) -> list[tuple[str, str]]:
        headers = [("Content-Length", "0"), ("Connection", "close")]
        return [*headers, ("Location", act.location)] if act.location else headers

    def _act(self, act: Act) -> Literal["answered", "cut", "gone"]:
        if act.end == "cut":
            _reset(self.connection)
            return "cut"
        if act.end == "1xx":
            self._write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            return "cut"
        lines = [f"HTTP/1.1 {act.status} {responses.get(act.status, 'Other')}"]
        lines += [f"{name}: {value}" for name, value in self._headers(act)]
        return "answered" if self._write("\r\n".join([*lines, "", ""]).encode()) else "gone"

    def _write(self, data: bytes) -> bool:
        try:
            self.connection.sendall(data)
        except OSError:
            return False
        return True

    def _left_within(self, delay: float) -> bool:
        """Wait *delay* real seconds; whether the sender hung up meanwhile.

        The whole delay is waited out in any case: a receiver that is too slow is too slow, whoever still listens.
        """
        if delay:
            self.server.closing.wait(delay)
        return delay > 0 and _hung_up(self.connection)


def _origin(base: str) -> str:
    """Scheme, host and port of a public base; tunnels keep the path."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}"


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed: readable, and nothing to read."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        if not readable:
            return False
        if isinstance(connection, ssl.SSLSocket):
            return connection.recv(1) == b""
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _reset(connection: socket.socket) -> None:
    """Break the connection without an answer, as a receiver that dies does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _certificate(names: Sequence[str]) -> tuple[ssl.SSLContext, bytes]:
    """A server context for *names*, signed by an authority made for this run, and that authority (PEM)."""
    import trustme  # only HTTPS needs it

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context, authority.cert_pem.bytes()


def write_authority(receiver: Receiver, path: Path | None = None) -> Path:
    """Write the receiver's authority where a server can be told to trust it; answers the file."""
    if path is None:
        with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as file:
            path = Path(file.name)
    path.write_bytes(receiver.authority_pem)
    return path
