"""A drawn trace in real time: the same scripted server on a real port, for a client that is a command."""

import contextlib
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from kling_contract.driving.sender import Limits, Sender
from kling_contract.history.events import AnyEvent, Callback, Recorder
from kling_contract.lab.adapters.impersonation import Impersonation
from kling_contract.lab.adapters.inprocess import CASE, HOOK, IMAGE, KEY, Played, event_of, written
from kling_contract.lab.behaviour import Behaviour
from kling_contract.lab.environment import environment
from kling_contract.lab.other_hosts import OtherHost
from kling_contract.lab.results import Adapter, RunRequest
from kling_contract.lab.scripted import API, LINK, OutgoingCallback, Scripted, Served
from kling_contract.lab.stories import PROMPT
from kling_contract.reading.contract import Contract
from kling_contract.serving import Incoming, Listener, free_port

_GRACE = 4.0
_TICK = 0.05
_IDLE = 0.4
_TIMEOUT = 10.0
_MOST = 1 << 20


class _Stage:
    """The scripted server, its history, and the callbacks that it owes."""

    def __init__(self, server: Scripted, recorder: Recorder, receiver: str) -> None:
        self.server, self.recorder, self._receiver = server, recorder, receiver
        self.events: list[AnyEvent] = []
        self.over = threading.Event()
        self.called = threading.Event()
        self.first_call: float | None = None
        self.link_origin = ""
        """Where links lead, where that is not this machine."""
        self.listener = Listener(self.serve, timeout=_TIMEOUT, idle=_IDLE)
        self._wire, self._lock = Sender(), threading.Lock()

    @property
    def link(self) -> str:
        """Where the video is, on another host than the API."""
        origin = self.link_origin or self.listener.origin.replace("127.0.0.1", "localhost")
        return origin + LINK.removeprefix("https://files.kling.test")

    def courier(self) -> None:
        """Send what falls due, until the trace is over."""
        while not self.over.wait(_TICK):
            with self._lock:
                owed = self.server.due()
            self.deliver(owed)

    def deliver(self, owed: list[OutgoingCallback]) -> None:
        """Send callbacks; one that reaches no receiver leaves no trace."""
        for callback in owed:
            path = "/" + callback.url.split("/", 3)[3]
            headers = [("Content-Type", "application/json")]
            mono, at = self.recorder.mono(), self.recorder.clock().at
            body = callback.body.replace(LINK.encode(), self.link.encode())
            reply = self._wire.send("POST", self._receiver + path, headers, body, Limits(5.0))
            if reply.status is not None:
                self.events.append(Callback(
                    method="POST", url=callback.url, request=self.recorder.message(headers, callback.body), case=CASE,
                    answer=self.recorder.answer(reply.status, (), b""), who=KEY if callback.genuine else "", mono=mono, at=at,
                    ended_mono=self.recorder.mono(), ended_at=self.recorder.clock().at,
                ))  # fmt: skip

    def serve(self, request: Incoming) -> None:
        """Give what the trace has for a request."""
        url = LINK if request.path.startswith("/video.mp4") else API + request.path
        served = self._served(request, url, request.body(_MOST))
        if served.lost == "timeout":
            self.over.wait()
        if served.lost and not served.part:
            return
        content = served.body.replace(LINK.encode(), self.link.encode())
        request.respond(served.status, served.headers, content, part=served.part)

    def _served(self, request: Incoming, url: str, body: bytes) -> Served:
        """Return what the trace has for a request; early callbacks go out before."""
        recorder = self.recorder
        began = {"mono": recorder.mono(), "at": recorder.clock().at}
        self.first_call = self.first_call or began["at"]
        self.called.set()
        with self._lock:
            served = self.server.answer(request.command, url, request.pairs, body, recorder.clock().at)
            early = self.server.due(early=True)
        self.deliver(early)
        times = {**began, "ended_mono": recorder.mono(), "ended_at": recorder.clock().at}
        self.events.append(event_of(recorder, (request.command, url, request.pairs, body), served, times))
        return served


def play(
    adapter: Adapter, behaviour: Behaviour, contract: Contract, stop: threading.Event, *, min_poll: float, deadline: float,
    impersonate: bool = False,
) -> Played:  # fmt: skip
    """Put the client of *adapter* through *behaviour*; it takes as long as the client takes, or until *stop* is set.

    impersonate: under the service's own host names.

    Raises:
        SetupError: the client cannot be started.
    """
    recorder = Recorder(keys=[KEY])
    port = free_port()
    stage = _Stage(Scripted(behaviour, contract, KEY), recorder, f"http://127.0.0.1:{port}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kling-drawn-"))) / "work"
        folder.mkdir()
        stack.enter_context(stage.listener)
        stack.callback(stage.over.set)
        other_host = stack.enter_context(OtherHost(recorder, stage.events.append, CASE))
        threading.Thread(target=stage.courier, daemon=True).start()
        base_url, proxy, variables = stage.listener.origin, other_host.origin.partition("://")[2], {}
        if impersonate:
            led = stack.enter_context(Impersonation(contract, stage.serve, other_host.serve))
            stage.link_origin, base_url, proxy, variables = led.link_origin, led.base_url, led.proxy, led.variables()
        plain = RunRequest(
            case=CASE, job=1, base_url=base_url, api_key=KEY, folder=folder,
            request={"image_start": IMAGE, "prompt": PROMPT},
            out=folder / "video.mp4", min_poll=min_poll, deadline=deadline, grace=_GRACE, callback_url=HOOK, callback_port=port,
            first_call=lambda: stage.first_call, up=stage.called, stop=stop,
        )  # fmt: skip
        wanted = replace(plain, environment=environment(plain, control_url="", proxy=proxy, variables=variables))
        result = adapter.run(wanted)
    history = written(recorder, behaviour, stage.server, wanted, result, list(stage.events))
    return Played(history, len(stage.server.tasks))
