"""A drawn story played aloud: the same scripted server on a real port and in real time, for a client that is a command."""

import contextlib
import tempfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kling_contract.driving.sender import Limits, Sender
from kling_contract.history.events import AnyEvent, Callback, Recorder
from kling_contract.lab.adapters.inprocess import CASE, HOOK, IMAGE, KEY, Played, event_of, written
from kling_contract.lab.behaviour import Behaviour
from kling_contract.lab.environment import environment
from kling_contract.lab.other_hosts import Elsewhere, free_port
from kling_contract.lab.results import Adapter, Order
from kling_contract.lab.scripted import API, LINK, Scripted, Served, Telling
from kling_contract.reading.contract import Contract

_GRACE = 4.0
_TICK = 0.05
_IDLE = 0.4
_MOST = 1 << 20


class _Stage:
    """The scripted server, its history, and the callbacks that it owes."""

    def __init__(self, server: Scripted, recorder: Recorder, receiver: str) -> None:
        self.server, self.recorder, self._receiver = server, recorder, receiver
        self.events: list[AnyEvent] = []
        self.over = threading.Event()
        self.called = threading.Event()
        self.first_call: float | None = None
        self.origin = ""
        self._wire, self._lock = Sender(), threading.Lock()

    def answer(self, handler: "_Handler", url: str, sent: Any, body: bytes) -> Served:
        """What the story has for a request; early callbacks go out before."""
        recorder = self.recorder
        began = {"mono": recorder.mono(), "at": recorder.clock().at}
        self.first_call = self.first_call or began["at"]
        self.called.set()
        with self._lock:
            served = self.server.answer(handler.command, url, sent, body, recorder.clock().at)
            early = self.server.due(early=True)
        self.tell(early)
        times = {**began, "ended_mono": recorder.mono(), "ended_at": recorder.clock().at}
        self.events.append(event_of(recorder, (handler.command, url, sent, body), served, times))
        return served

    def courier(self) -> None:
        """Send what falls due, until the story is over."""
        while not self.over.wait(_TICK):
            with self._lock:
                owed = self.server.due()
            self.tell(owed)

    def tell(self, owed: list[Telling]) -> None:
        """Send callbacks; one that finds nobody leaves no trace."""
        for telling in owed:
            path = "/" + telling.url.split("/", 3)[3]
            headers = [("Content-Type", "application/json")]
            mono, at = self.recorder.mono(), self.recorder.clock().at
            body = telling.body.replace(LINK.encode(), self.link.encode())
            reply = self._wire.send("POST", self._receiver + path, headers, body, Limits(5.0))
            if reply.status is not None:
                self.events.append(Callback(
                    method="POST", url=telling.url, request=self.recorder.message(headers, telling.body), case=CASE,
                    answer=self.recorder.answer(reply.status, (), b""), who=KEY if telling.genuine else "", mono=mono, at=at,
                    ended_mono=self.recorder.mono(), ended_at=self.recorder.clock().at,
                ))  # fmt: skip

    @property
    def link(self) -> str:
        """Where the video is, on another host than the API."""
        return self.origin.replace("127.0.0.1", "localhost") + LINK.removeprefix("https://files.kling.test")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: "_Server"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet."""

    def _serve(self) -> None:
        stage = self.server.stage
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), _MOST)) if length.isdigit() else b""
        url = LINK if self.path.startswith("/video.mp4") else API + self.path
        served = stage.answer(self, url, tuple(self.headers.items()), body)
        self.close_connection = True
        if served.lost == "timeout":
            stage.over.wait()
        if served.lost and not served.part:
            return
        content = served.body.replace(LINK.encode(), stage.link.encode())
        self.send_response(served.status)
        for name, value in served.headers:
            if name != "Content-Length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: served.part] if served.part else content)

    do_GET = do_POST = do_HEAD = _serve  # noqa: N815 - the library's names


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, stage: _Stage) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stage = stage
        stage.origin = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def play(
    adapter: Adapter, behaviour: Behaviour, contract: Contract, stop: threading.Event, *, min_poll: float, deadline: float
) -> Played:  # fmt: skip
    """Put the client of *adapter* through *behaviour*; it takes as long as the client takes, or until *stop* is set.

    Raises:
        SetupError: the client cannot be started.
    """
    recorder = Recorder(keys=[KEY])
    port = free_port()
    stage = _Stage(Scripted(behaviour, contract, KEY), recorder, f"http://127.0.0.1:{port}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kling-drawn-"))) / "work"
        folder.mkdir()
        server = stack.enter_context(_Server(stage))
        stack.callback(server.shutdown)
        stack.callback(stage.over.set)
        beside = stack.enter_context(Elsewhere(recorder, stage.events.append, CASE))
        for work in (lambda: server.serve_forever(poll_interval=_IDLE), stage.courier):
            threading.Thread(target=work, daemon=True).start()
        plain = Order(
            case=CASE, job=1, base_url=stage.origin, api_key=KEY, request={"image_start": IMAGE}, folder=folder,
            out=folder / "video.mp4", min_poll=min_poll, deadline=deadline, grace=_GRACE, callback_url=HOOK, callback_port=port,
            first_call=lambda: stage.first_call, up=stage.called, stop=stop,
        )  # fmt: skip
        proxy = beside.origin.partition("://")[2]
        order = replace(plain, environment=environment(plain, control_url="", proxy=proxy, variables={}))
        told = adapter.run(order)
    history = written(recorder, behaviour, stage.server, order, told, list(stage.events))
    return Played(history, len(stage.server.tasks))
