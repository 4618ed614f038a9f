"""The adapter that speaks JSON lines over standard input and output: one process, many cases."""

import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson
from pydantic import BaseModel, Field, ValidationError

from kling_contract.lab import process
from kling_contract.lab.adapters.command import known, look_around, rooted, spellings
from kling_contract.lab.results import RunRequest, RunResult, last
from kling_contract.lab.stories import Story
from kling_contract.rules.verdicts import SetupError

PROTOCOL = 1
OUTCOMES = ("completed", "failed", "refused", "gave_up", "unknown")
_HELLO = 10.0
_LONGEST_LINE = 1 << 20
_STOPS = 1.0
_LAST_LINES = 0.1
"""Seconds for what an adapter has written on stderr to be read as well."""


class Hello(BaseModel):
    """What an adapter says of itself; whatever else it says is its own affair."""

    client: dict[str, Any] = {}
    can: frozenset[str] = frozenset()
    parallel: int = Field(1, ge=1)
    min_poll_s: float | None = Field(None, gt=0, allow_inf_nan=False)


class Broken(Exception):
    """The adapter did not keep to the protocol; the message says how."""


class _Waiting:
    """A case that an adapter is at."""

    def __init__(self, wanted: RunRequest) -> None:
        self.wanted = wanted
        self.done = threading.Event()
        self.said: dict[str, Any] | None = None
        self.skipped = ""
        self.broken = ""

    def fail(self, why: str) -> None:
        """End it without a word of the adapter's."""
        self.broken = self.broken or why
        self.done.set()


class _Voice:
    """One process of an adapter: what it is sent and what it says."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], kit: str) -> None:
        self.hello: dict[str, Any] | None = None
        self.over = threading.Event()
        self.broken = ""
        self.stderr: deque[bytes] = deque(maxlen=200)
        self.leaked: set[str] = set()
        self._kit = kit
        self._cases: dict[str, _Waiting] = {}
        self._lock = threading.Lock()
        self._greeted = threading.Event()
        self._gone: set[str] = set()
        """Cases that were under way and are over."""
        self._keys: list[tuple[str, list[bytes]]] = []
        self._readers: list[threading.Thread] = []
        self.process = process.start(command, folder=folder, environment=environment, stdin=subprocess.PIPE)
        for target, stream in ((self._listen, self.process.stdout), (self._overhear, self.process.stderr)):
            self._readers.append(threading.Thread(target=target, args=(stream,), daemon=True))
            self._readers[-1].start()

    def greet(self) -> Hello:
        """Exchange hellos.

        Raises:
            SetupError: the adapter says something else, or nothing.
        """
        with suppress(Broken):
            self.say({"op": "hello", "protocol": PROTOCOL, "kit": self._kit})
        self._greeted.wait(_HELLO)
        try:
            if self.hello is not None:
                return Hello.model_validate(self.hello)
            heard = last(b"".join(self.stderr)).strip()[-300:] or self.broken
            problem = f"the adapter did not say hello{f': {heard}' if heard else ''}"
        except ValidationError as error:
            result = error.errors()[0]
            problem = f"the adapter's hello: {'.'.join(map(str, result['loc']))}: {result['msg']}"
        self.end()
        raise SetupError(problem)

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one line.

        Raises:
            Broken: it no longer reads.
        """
        assert self.process.stdin is not None
        try:
            with self._lock:
                self.process.stdin.write(orjson.dumps(message) + b"\n")
                self.process.stdin.flush()
        except (OSError, ValueError) as error:
            raise Broken("the adapter has ended") from error

    def begin(self, name: str, waiting: _Waiting) -> None:
        """Take note of a case before it is sent."""
        with self._lock:
            self._keys.append((waiting.wanted.api_key, spellings(waiting.wanted.api_key)))
            if self.over.is_set():
                waiting.fail("the adapter has ended")
            self._cases[name] = waiting

    def forget(self, name: str) -> None:
        """The case is over, whatever is still said of it."""
        with self._lock:
            if self._cases.pop(name, None) is not None:
                self._gone.add(name)

    def end(self) -> None:
        """Stop it: asked first, then by force."""
        with suppress(Broken):
            self.say({"op": "stop"})
        self._hang_up()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOPS)
        process.end(self.process)
        for reader in self._readers:
            reader.join(_STOPS)

    def _hang_up(self) -> None:
        """Close its input."""
        with suppress(OSError, ValueError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def _overhear(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError), stream:
            for line in iter(lambda: stream.readline(65536), b""):
                self.stderr.append(line)
                self._search(line)

    def _search(self, line: bytes) -> None:
        with self._lock:
            self.leaked.update(key for key, needles in self._keys if any(needle in line for needle in needles))

    def _listen(self, stream: IO[bytes]) -> None:
        why = "the adapter ended in the middle of a case"
        try:
            for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
                self._search(line)
                self._heard(line)
        except (OSError, ValueError):
            pass
        except Broken as error:
            why = self.broken = str(error)
        with self._lock:
            self.over.set()
            left = list(self._cases.values())
            self._cases.clear()
        for waiting in left:
            waiting.fail(why)
        self._greeted.set()
        process.end(self.process, gently=False)
        self._hang_up()
        with suppress(OSError, ValueError):
            stream.close()

    def _heard(self, line: bytes) -> None:
        """Act on one line. Raises Broken for what is no message, or one of a case that is not under way."""
        try:
            message: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("op"), str):
            raise Broken(f"the adapter wrote a line that is no message: {line[:80]!r}")
        operation = message["op"]
        if operation in ("run", "stop") or (operation == "hello" and "client" not in message and "kit" in message):
            raise Broken("it sends back what it is sent, so it is no adapter")
        if operation == "hello":
            self.hello = message
            self._greeted.set()
        elif operation in ("note", "done", "skip"):
            self._about(operation, message)

    def _about(self, operation: str, message: dict[str, Any]) -> None:
        with self._lock:
            waiting = self._cases.get(str(message.get("case")))
            gone = str(message.get("case")) in self._gone
        if waiting is None and gone:
            return  # too late: the case has been failed already
        if waiting is None:
            raise Broken(f"the adapter spoke of case {str(message.get('case'))[:60]!r}, which is not under way")
        if operation == "note":
            if isinstance(message.get("listening"), str):
                waiting.wanted.listening.append(message["listening"])
                waiting.wanted.heard.set()
            return
        if operation == "skip":
            waiting.skipped = str(message.get("why") or "it does not say why")
        elif message.get("outcome") not in OUTCOMES:
            waiting.broken = f"done with the outcome {message.get('outcome')!r}; there are {', '.join(OUTCOMES)}"
        else:
            try:
                waiting.said = known(message)
            except ValueError as error:
                waiting.broken = f"done with {error}"
        with self._lock:
            self._cases.pop(str(message.get("case")), None)
        waiting.done.set()


class JsonlAdapter:
    """Drives an adapter program. It is started once, and once more after it broke down.

    Raises:
        SetupError: there is no such program, or it does not say hello.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        kit: str,
        here: Path | None = None,
    ) -> None:
        self._command = rooted(command, here or Path.cwd())
        self._folder, self._environment, self._kit = folder, dict(environment), kit
        self._lock = threading.Lock()
        self._restarts = 1
        self._voice = _Voice(self._command, self._folder, self._environment, self._kit)
        hello = self._voice.greet()
        self.can = hello.can
        self.name = str(hello.client.get("name") or "")
        self.min_poll = hello.min_poll_s
        self.speaks, self.bounded = "webhook" in self.can, True
        self.takes = frozenset({"prompt", "quality", "duration"})
        self.parallel = hello.parallel
        self._turns = threading.Semaphore(self.parallel)

    def _new(self) -> _Voice:
        voice = _Voice(self._command, self._folder, self._environment, self._kit)
        voice.greet()
        return voice

    def unable(self, story: Story) -> str:
        """What the adapter did not declare, it is not asked for."""
        wanted = {"webhook"} & set(story.needs) | ({"resume"} if story.flow in ("killed", "again") else set())
        missing = sorted(wanted - self.can)
        return f"the adapter does not declare {missing[0]!r}" if missing else ""

    def run(self, wanted: RunRequest) -> RunResult:
        """Have the adapter carry out *order*; a case that is to be killed has a process of its own."""
        with self._turns:
            return self._run(wanted)

    def _run(self, wanted: RunRequest) -> RunResult:
        own = wanted.stop.is_set() or wanted.flow == "killed"
        waiting = _Waiting(wanted)
        result = RunResult(job=wanted.job)
        began = threading.Timer(
            wanted.limit or wanted.deadline + wanted.grace, waiting.fail, ("silence past the deadline",)
        )
        began.daemon = True
        try:
            voice = self._new() if own else self._current()
        except SetupError as error:
            result.broken, result.ended = str(error), "never began"
            return result
        name = f"{wanted.case}#{wanted.job}" if wanted.job > 1 else wanted.case
        voice.begin(name, waiting)
        began.start()
        try:
            voice.say(_message(name, wanted, webhook="webhook" in self.can))
            _until(waiting, wanted)
        except Broken as error:
            waiting.fail(str(error))
        finally:
            began.cancel()
            voice.forget(name)
            if own:
                process.end(voice.process, gently=not wanted.stop.is_set())
        return self._told(result, wanted, waiting, voice)

    def close(self) -> None:
        """Stop the adapter."""
        self._voice.end()

    def _current(self) -> _Voice:
        """The adapter's process; a new one when it broke down for the first time.

        Raises:
            SetupError: it broke down again.
        """
        with self._lock:
            if self._voice.over.is_set():
                if not self._restarts:
                    raise SetupError("the adapter broke down a second time")
                self._restarts -= 1
                self._voice = self._new()
            return self._voice

    def _told(self, result: RunResult, wanted: RunRequest, waiting: _Waiting, voice: _Voice) -> RunResult:
        result.said, result.broken, result.cannot = waiting.said, waiting.broken, waiting.skipped
        declared = sorted(word for word in self.can if word in _needs(wanted))
        if waiting.skipped and declared:
            result.broken, result.cannot = f"skipped what it declares to do ({declared[0]}): {waiting.skipped}", ""
        result.ended = "on purpose" if wanted.stop.is_set() else "deadline" if "silence" in result.broken else "itself"
        result.stderr = last(b"".join(voice.stderr)) if result.broken else ""
        voice.over.wait(_LAST_LINES)
        if wanted.api_key in voice.leaked:
            result.leaks.append("stdout or stderr")
        look_around(wanted, result)
        return result


def _until(waiting: _Waiting, wanted: RunRequest) -> None:
    """Wait for the case's end, or for the order to be stopped."""
    while not waiting.done.wait(0.02):
        if wanted.stop.is_set():
            return


def _needs(wanted: RunRequest) -> set[str]:
    """The capabilities that a case takes."""
    resume = {"resume"} if wanted.flow in ("killed", "again") else set()
    return {"poll", "download"} | ({"webhook"} & set(wanted.needs)) | resume


def _message(name: str, wanted: RunRequest, *, webhook: bool) -> dict[str, Any]:
    request = dict(wanted.request)
    if webhook:
        request["callback_url"] = wanted.callback_url
    message = {
        "op": "run", "case": name, "base_url": wanted.base_url, "api_key": wanted.api_key, "request": request,
        "save_to": str(wanted.out), "deadline_s": wanted.deadline, "min_poll_s": wanted.min_poll,
    }  # fmt: skip
    return {**message, "webhook": {"listen": f"127.0.0.1:{wanted.callback_port}"}} if webhook else message
