"""The kit's own receiver of callbacks: responds as configured, and writes each attempt into the history.

It listens in plain HTTP for relays and tunnels, or in HTTPS with a certificate of its own. What it does with the
attempts of one path is a script: one `Act` an attempt, the last one for all that follow.
"""

import select
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kling_contract.history.events import Callback, Moment, Recorder, wall
from kling_contract.reading.addresses import origin_in
from kling_contract.serving import Incoming, Listener, Listening, certificate

_MOST = 1024 * 1024
_IDLE = 0.02
HOST = "hooks.example.com"
"""A public-looking host without an owner: relays lead from it to the receiver."""


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
    """A path that was registered as a callback, and what is done with what arrives there.

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


class Receiver(Listening):
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
        self._routes: dict[str, Route] = {}
        self._lock = threading.Lock()
        context, self.authority_pem = certificate(names) if names else (None, b"")
        self._listener = Listener(self._serve, address=listen, tls=context, idle=_IDLE)

    @property
    def knocks(self) -> int:
        """How many connections were made to it, whether a request came on them or not."""
        return self._listener.connections

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

    def _serve(self, request: Incoming) -> None:
        recorder = self.recorder
        route = self.route(request.path)
        moment = route.clock() if route else wall()
        mono = recorder.mono()
        body = request.body(_MOST)
        number, act = route.next_act() if route else (0, Act(404))
        if route and route.hook and number == 1:
            route.hook(body)
        left = self._left_within(request, act.delay)
        # Before the answer goes out: the sender may go on, and clocks be moved, as soon as it has it.
        after, ended_mono = (route.clock() if route else wall()), recorder.mono()
        ended = "gone" if left else _respond(request, act)
        answer = recorder.answer(act.status, _headers(act), b"") if ended == "answered" else None
        recorder.add(
            Callback(
                method=request.command, url=self._url(request), request=recorder.message(request.pairs, body),
                answer=answer, ended=ended, at=moment.at, since=moment.since, mono=mono, ended_at=after.at, ended_since=after.since,
                ended_mono=ended_mono, case=route.case if route else "callback",
            )
        )  # fmt: skip
        if route:
            route.done()

    def _url(self, request: Incoming) -> str:
        """As the sender named it; behind a tunnel, as it was registered."""
        host = request.headers.get("Host") or "unknown"
        return f"{origin_in(self.base)}{request.path}" if self.base else f"https://{host}{request.path}"

    def _left_within(self, request: Incoming, delay: float) -> bool:
        """Wait *delay* real seconds; return whether the sender hung up meanwhile.

        The whole delay is waited out in any case: a receiver that is too slow is too slow, whoever still listens.
        """
        if delay:
            self._listener.closing.wait(delay)
        return delay > 0 and _hung_up(request.connection)


def _headers(act: Act) -> list[tuple[str, str]]:
    headers = [("Content-Length", "0"), ("Connection", "close")]
    return [*headers, ("Location", act.location)] if act.location else headers


def _respond(request: Incoming, act: Act) -> Literal["answered", "cut", "gone"]:
    if act.end == "cut":
        request.reset()
        return "cut"
    if act.end == "1xx":
        request.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        return "cut"
    return "answered" if request.respond(act.status, _headers(act)) else "gone"


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


def write_authority(receiver: Receiver, path: Path | None = None) -> Path:
    """Write the receiver's authority where a server can be configured to trust it; return the file."""
    if path is None:
        with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as file:
            path = Path(file.name)
    path.write_bytes(receiver.authority_pem)
    return path
