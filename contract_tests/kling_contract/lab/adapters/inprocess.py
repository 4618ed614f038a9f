"""The adapter for Python clients: a function in this process, judged without sockets and without a real second.

The function takes an `Environment` and does with it what its client would do with a network and a clock. It returns what a
client writes to KLING_RESULT, or nothing when all went well, and raises when it failed.
"""

import contextlib
import importlib
import importlib.util
import io
import json
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from kling_contract.history.events import AnyEvent, Callback, Download, Exchange, Moment, Note, Recorder
from kling_contract.history.labels import Topic
from kling_contract.lab.adapters.command import known, look_around
from kling_contract.lab.behaviour import Behaviour
from kling_contract.lab.results import RunRequest, RunResult, last
from kling_contract.lab.scripted import API, FILES, LINK, VIDEO, Headers, OutgoingCallback, Scripted, Served
from kling_contract.lab.stories import PROMPT
from kling_contract.reading.contract import Contract
from kling_contract.rules.case_facts import CaseFacts
from kling_contract.rules.verdicts import CLIENT, SetupError

KEY = "sk-drawn-0123456789abcdef"
HOOK = "https://hooks.example.com/callback/7f3a"
IMAGE = "https://image.test/300x300.png"
CASE = "drawn"
_WALL = 1_757_169_743.0
_LATENCY = 0.05
_MOST_CALLS = 1000
_REAL_SECONDS = 10.0
_CRASHES = (
    LookupError,
    TypeError,
    AttributeError,
    NameError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    json.JSONDecodeError,
)
"""What a client raises that has broken down, not failed."""
_CRASHED = 70

Hear = Callable[[str, Mapping[str, str], bytes], int]
"""A receiver: method, headers and body of a callback to the status that it responds with."""


class Cut(ConnectionError):
    """The connection was cut before a whole answer came."""


class Silence(TimeoutError):
    """No answer came in the time of the call."""


class OutOfTime(BaseException):
    """The client did not end. Not an Exception, so that no client catches it."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. whole: whether all of the body came; `Content-Length` tells how much it should have been."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


class Environment:
    """All that the client finds. Time passes only in `sleep`, in `send`, and in nothing else.

    request: members of the create besides the model; deadline: seconds until it must have given up; min_poll: the least pause
    between reads; out: where the video goes; callback_url: to be registered by a client that listens.
    """

    def __init__(self, server: Scripted, out: Path, *, min_poll: float, deadline: float, grace: float) -> None:
        self.base_url, self.api_key, self.callback_url = API, KEY, HOOK
        self.request: Mapping[str, Any] = {"image_start": IMAGE, "prompt": PROMPT}
        self.out, self.min_poll, self.deadline = out, min_poll, deadline
        self.recorder = Recorder(keys=[KEY], clock=lambda: Moment(self.wall()), salt=b"drawn")
        self.events: list[AnyEvent] = []
        self._server, self._end = server, deadline + grace
        self._now, self._calls = 1.0, 0
        self._hear: Hear | None = None

    def clock(self) -> float:
        """Seconds since some moment."""
        return self._now

    def wall(self) -> float:
        """Unix seconds."""
        return _WALL + self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass; callbacks that fall due arrive meanwhile."""
        self._pass(max(0.0, seconds) / 2)
        self._deliver(self._server.due())
        self._pass(max(0.0, seconds) / 2)

    def listen(self, hear: Hear) -> None:
        """Have callbacks arrive at *hear*."""
        self._hear = hear

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, timeout: float = 60.0
    ) -> Response:
        """One request.

        Raises:
            Cut: no whole answer came. Silence: none came in *timeout* seconds.
        """
        began = self._now
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise OutOfTime
        sent = tuple((str(name), str(value)) for name, value in headers.items())
        served = self._server.answer(method, url, sent, body or b"", self.wall())
        self._deliver(self._server.due(early=True))
        self._pass(timeout if served.lost == "timeout" else _LATENCY)
        self._keep(method, url, sent, body or b"", served, began)
        if served.lost == "timeout":
            raise Silence("no answer")
        if served.lost and not served.part:
            raise Cut("the connection was cut")
        result = dict(served.headers)
        result.setdefault("Date", formatdate(int(self.wall()), usegmt=True))
        return Response(
            served.status, result, served.body[: served.part] if served.part else served.body, not served.lost
        )

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        if self._now > self._end:
            raise OutOfTime

    def _keep(self, method: str, url: str, sent: Headers, body: bytes, served: Served, began: float) -> None:
        times = {"mono": began, "at": _WALL + began, "ended_mono": self._now, "ended_at": self.wall()}
        self.events.append(event_of(self.recorder, (method, url, sent, body), served, times))

    def _deliver(self, owed: Iterable[OutgoingCallback]) -> None:
        hear = self._hear
        for callback in owed if hear is not None else ():
            assert hear is not None
            body = callback.body
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            began = self._now
            status = hear("POST", headers, body)
            self._pass(_LATENCY / 10)
            self.events.append(Callback(
                method="POST", url=callback.url, request=self.recorder.message(headers.items(), body),
                answer=self.recorder.answer(status, (), b""), who=KEY if callback.genuine else "", case=CASE, mono=began, at=_WALL + began,
                ended_mono=self._now, ended_at=self.wall(),
            ))  # fmt: skip


def event_of(
    recorder: Recorder, asked: tuple[str, str, Headers, bytes], served: Served, times: Mapping[str, float]
) -> Exchange | Download:
    """A request (method, URL, headers, body) and its answer as the history has them."""
    method, url, sent, body = asked
    about: dict[str, Any] = {**times, "case": CASE, "url": url, "lost": served.lost}
    kept = recorder.answer(served.status, served.headers, served.body)
    if url.startswith(FILES):
        named = {name.lower(): value for name, value in sent}
        return Download(
            status=served.status, headers=kept.headers, size=served.part or len(served.body), sha256=kept.body.sha256,
            asked_range=named.get("range", ""), who=KEY if KEY in str(sent) else "", **about,
        )  # fmt: skip
    answer = None if served.lost and not served.body else kept
    return Exchange(method=method, request=recorder.message(sent, body), answer=answer, **about)


InProcess = Callable[[Environment], Any]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one story: its history, and how many tasks the server made."""

    events: tuple[AnyEvent, ...]
    tasks: int


def play(
    client: InProcess, behaviour: Behaviour, contract: Contract, *, min_poll: float = 1.0, deadline: float = 300.0
) -> Played:
    """Put *client* through *behaviour*."""
    grace = 120.0
    server = Scripted(behaviour, contract, KEY)
    with tempfile.TemporaryDirectory(prefix="kling-drawn-") as name:
        folder = Path(name)
        around = Environment(server, folder / "video.mp4", min_poll=min_poll, deadline=deadline, grace=grace)
        wanted = RunRequest(
            case=CASE, job=1, base_url=API, api_key=KEY, request=around.request, folder=folder, out=around.out,
            min_poll=min_poll, deadline=deadline, grace=grace,
        )  # fmt: skip
        result = _carry_out(client, around)
        look_around(wanted, result)
        result.leaks += ["stdout or stderr"] if KEY in result.stdout + result.stderr else []
    history = written(around.recorder, behaviour, server, wanted, result, around.events)
    return Played(history, len(server.tasks))


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Ends a client that does not come back in real seconds: one that waits by itself, or turns in circles.

    Only the main thread can be interrupted; in other threads, and on systems without alarms, there is no such end.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _REAL_SECONDS, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _carry_out(client: InProcess, around: Environment) -> RunResult:
    """Call the client and take down what it says."""
    out, err = io.StringIO(), io.StringIO()
    result = RunResult()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(OutOfTime):
        result.ended = "deadline"
        try:
            with _alarm():
                answer = client(around)
            result.exit = 0
            if isinstance(answer, Mapping):
                result.said, result.broken = _understood(answer)
                result.exit = 0 if answer.get("outcome", "completed") == "completed" else 1
        except SystemExit as error:
            result.exit = error.code if isinstance(error.code, int) else int(error.code is not None)
        except Exception as error:
            result.exit = _CRASHED if isinstance(error, _CRASHES) else 1
            traceback.print_exc() if result.exit == _CRASHED else print(f"{type(error).__name__}: {error}", file=err)
        result.ended = "itself"
    result.seconds = around.clock()
    result.stdout, result.stderr = last(out.getvalue().encode()), last(err.getvalue().encode())
    return result


def _understood(answer: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """What a client returned, and what is wrong with it."""
    try:
        return known(dict(answer)), ""
    except ValueError as error:
        return None, f"it returned {error}"


def written(
    recorder: Recorder,
    behaviour: Behaviour,
    server: Scripted,
    wanted: RunRequest,
    result: RunResult,
    events: Iterable[AnyEvent],
) -> tuple[AnyEvent, ...]:
    """The history of the case, as the lab writes it: what is right, what was seen, what was said."""
    about = CaseFacts(
        story=CASE, summary="a drawn trace", rules=tuple(behaviour.rules), right=behaviour.right, base_url=API, api=API,
        request={"prompt": PROMPT}, links=FILES, callback_url=HOOK, deadline=wanted.deadline, grace=wanted.grace, min_poll=wanted.min_poll,
    )  # fmt: skip
    ordered = sorted(events, key=lambda event: event.mono)
    over = max((event.mono for event in ordered), default=1.0)
    recorder.add(Note(topic=Topic.RUN, data={"target": behaviour.client, "mode": CLIENT}, mono=1e-6))
    recorder.add(Note(topic=Topic.CASE, who=KEY, case=CASE, data=about.data(), mono=1e-6))
    for event in ordered:
        recorder.add(event)
    served = recorder.answer(200, (), VIDEO).body
    for task in server.tasks.values():
        link = {"task_id": task.id, "url": LINK, "size": served.size, "sha256": served.sha256}
        recorder.add(Note(topic=Topic.SERVED, who=KEY, case=CASE, data=link, mono=over))
    recorder.add(Note(topic=Topic.TOLD, who=KEY, case=CASE, data=result.data(), mono=over))
    return recorder.events


def load(name: str) -> InProcess:
    """The function that *name* names: MODULE:CALLABLE, or path/to/file.py:CALLABLE.

    Raises:
        SetupError: there is none, or it cannot be imported.
    """
    place, _, attribute = name.rpartition(":")
    if not place:
        raise SetupError(f"{name}: write MODULE:CALLABLE or path/to/file.py:CALLABLE")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        found = getattr(module, attribute)
    except Exception as error:  # whatever an unknown module does while it is imported
        raise SetupError(f"{name}: cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise SetupError(f"{name}: is no callable")
    client: InProcess = found
    return client


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module
