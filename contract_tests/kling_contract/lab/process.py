"""One command, run in a session of its own: bounded in time and output, and nothing of it left running."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from kling_contract.lab.results import End
from kling_contract.rules.verdicts import SetupError

FLOOD = 16 << 20
"""Bytes of output after which a command is stopped: that is of no use."""
_KEPT = 64 << 10
_LAST_WORDS = 0.5
"""Seconds between the polite signal and the other one."""
_TICK = 0.02
_GLANCE = 0.2
"""Seconds in which a client that is to be stopped is stopped."""
_JOIN = 2.0


class Process(Protocol):
    """What `subprocess.Popen` has of a process that was started, as far as it matters here."""

    pid: int
    returncode: int | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end. Raises TimeoutExpired."""
        ...


class Start(Protocol):
    """What starts a command, see `start`."""

    def __call__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Process:
        """A process of its own."""
        ...


@dataclass(slots=True)
class Tap:
    """Reads one stream to its end: keeps the last of it, counts it, and searches all of it for *needles*."""

    needles: Sequence[bytes]
    flooded: threading.Event
    news: threading.Event
    kept: bytearray = field(default_factory=bytearray)
    size: int = 0
    found: bool = False

    def drain(self, stream: IO[bytes]) -> None:
        """Read until the stream ends."""
        longest = max((len(needle) for needle in self.needles), default=1)
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(stream.fileno(), 65536):
                self.size += len(data)
                window = bytes(self.kept[-longest:]) + data
                self.found = self.found or any(needle in window for needle in self.needles)
                self.kept += data
                del self.kept[:-_KEPT]
                if self.size > FLOOD:
                    self.flooded.set()
                    self.news.set()


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command. exit: None when a signal ended it."""

    exit: int | None
    signal: int | None
    ended: End
    seconds: float
    stdout: Tap
    stderr: Tap
    children: int


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    patience: float,
    stop: threading.Event,
    late: Callable[[], float] = lambda: 0.0,
    needles: Sequence[bytes] = (),
    mark: str = "",
    start: Start | None = None,
) -> Ran:
    """Run *command* until it ends, *patience* seconds are over, it floods, or *stop* is set.

    late: seconds more, asked when *patience* is over. mark: a variable as it stands in *environment*, `NAME=value`, by which
    processes that left the session are found. start: what starts it, in place of the function of that name.

    Raises:
        SetupError: it cannot be started.
    """
    began = time.perf_counter()
    process = (start or _start)(command, folder=folder, environment=environment)
    news, flooded = threading.Event(), threading.Event()
    taps = Tap(needles, flooded, news), Tap(needles, flooded, news)
    readers = _read(process, taps)
    _reap(process, news)
    try:
        ended = _wait(process, began + patience, stop, flooded, news)
        if ended == "deadline" and (more := late()) > 0:
            ended = _wait(process, began + patience + more, stop, flooded, news)
    finally:
        children = end(process, gently=not stop.is_set(), mark=mark)
    for reader in readers:
        reader.join(_JOIN)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    code = process.returncode or 0
    return Ran(
        code if code >= 0 else None, -code if code < 0 else None, ended, time.perf_counter() - began, *taps, children
    )


def start(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """*command* in a session of its own, with its output in pipes.

    Raises:
        SetupError: it cannot be started; one line says why.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - the user's own command
            command, cwd=folder, env=dict(environment), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise SetupError(f"{command[0]}: cannot be started: {error.strerror}") from error


_start: Start = start


def _read(process: Process, taps: Iterable[Tap]) -> list[threading.Thread]:
    readers = []
    for tap, stream in zip(taps, (process.stdout, process.stderr), strict=True):
        reader = threading.Thread(target=tap.drain, args=(stream,), daemon=True)
        reader.start()
        readers.append(reader)
    return readers


def _reap(process: Process, news: threading.Event) -> None:
    """Set *news* when *process* ends. Many clients run at once, so none of them is polled."""

    def wait() -> None:
        process.wait()
        news.set()

    threading.Thread(target=wait, daemon=True).start()


def _wait(
    process: Process,
    until: float,
    stop: threading.Event,
    flooded: threading.Event,
    news: threading.Event,
) -> End:
    while process.poll() is None:
        if flooded.is_set():
            return "flood"
        if stop.is_set():
            return "on purpose"
        left = until - time.perf_counter()
        if left <= 0:
            return "deadline"
        news.wait(min(left, _GLANCE))
    return "itself"


def end(process: Process, *, gently: bool = True, mark: str = "") -> int:
    """End *process*, its session, and what left the session; return how many others were still running."""
    if process.poll() is None and gently:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS)
    others = _others(process.pid, mark)
    _signal(process.pid, signal.SIGKILL)
    for pid in others:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    _until_gone(others)
    return len(others)


def _until_gone(pids: Iterable[int]) -> None:
    """Wait a moment for killed processes to be gone: whoever adopted them collects them."""
    until = time.perf_counter() + _LAST_WORDS
    for pid in pids:
        with contextlib.suppress(OSError):
            while time.perf_counter() < until and _lives(Path("/proc") / str(pid)):
                threading.Event().wait(_TICK)


def _signal(group: int, number: int) -> None:
    """Signal the session's group; that it is gone already is fine."""
    with contextlib.suppress(OSError):
        os.killpg(group, number)


def _others(leader: int, mark: str) -> list[int]:
    """Processes besides *leader* that carry *mark* in their environment; none where the system does not say (no /proc)."""
    found: list[int] = []
    proc = Path("/proc")
    if not mark or not proc.is_dir():
        return found
    wanted = mark.encode()
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) in (leader, os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0") and _lives(entry):
                found.append(int(entry.name))
    return found


def _lives(entry: Path) -> bool:
    """Whether a process still runs; a zombie only waits for its parent."""
    return b"\nState:\tZ" not in (entry / "status").read_bytes()
