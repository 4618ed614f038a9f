"""Servers as processes: started on given cores, asked for their memory and CPU through /proc, and ended. Linux only."""

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event
from time import perf_counter
from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
POLL_GAP = 0.002  # s between two looks at a server that is starting; the resolution of every cold start
PATIENCE = 60.0  # s that any server gets to become ready before the measurement gives up
URL = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+")
NEVER = Event()


class ServerError(RuntimeError):
    """The server did not start, or ended on its own; the message carries the end of its output."""


def pause(seconds: float) -> None:
    """Wait *seconds*."""
    NEVER.wait(seconds)


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Stat:
    """One process as /proc shows it: parent and session, CPU seconds (its ended children included), resident bytes."""

    pid: int
    parent: int
    session: int
    cpu: float
    rss: int


def stat(pid: int) -> Stat | None:
    """The process *pid* now, or None when it has ended."""
    try:
        # The name in brackets may hold spaces, so fields are counted from its end: proc(5), state is field 3.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    cpu = sum(map(int, fields[11:15])) / TICKS
    return Stat(pid, int(fields[1]), int(fields[3]), cpu, int(fields[21]) * PAGE)


@dataclass(frozen=True, slots=True)
class Watched:
    """A process with its children, and everything in its session when it leads one."""

    pid: int

    def tree(self) -> list[Stat]:
        """Each of its processes that still runs."""
        found = (stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [one for one in found if one and self.pid in (one.pid, one.parent, one.session)]

    def rss(self) -> int:
        """Resident bytes, summed over the tree (pages shared between processes count in each)."""
        return sum(one.rss for one in self.tree())

    def cpu(self) -> float:
        """CPU seconds used so far, summed over the tree; the kernel counts them in hundredths."""
        return sum(one.cpu for one in self.tree())


def busy(cores: set[int]) -> float:
    """CPU seconds that *cores* were busy since boot: user, nice, system, interrupts, stolen by the host."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            total += sum(int(ticks[at]) for at in (0, 1, 2, 5, 6, 7))
    return total / TICKS


def all_cores() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0)


class Server:
    """A running server process with all its children; a context manager that ends them."""

    def __init__(self, command: Sequence[str], cores: set[int] | None = None, cwd: Path | None = None) -> None:
        """Start *command*, pinned to *cores* when given. Its output goes to a temporary file, so it never blocks on us.

        Raises:
            ServerError: the program is not there.
        """
        pin = ["taskset", "-c", ",".join(map(str, sorted(cores)))] if cores else []
        self._output = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - open as long as the server
        self.started = perf_counter()
        try:
            self._process = subprocess.Popen(
                [*pin, *command],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ServerError(f"cannot start: {error}") from error
        self.watched = Watched(self._process.pid)

    def __enter__(self) -> "Server":
        """The server itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End the server."""
        self.stop()

    def output(self) -> str:
        """What the server has printed so far."""
        with Path(f"/proc/self/fd/{self._output.fileno()}").open(errors="replace") as copy:
            return copy.read()

    def still_starting(self) -> None:
        """Wait a moment between two looks at a starting server.

        Raises:
            ServerError: it has ended, or its time is up.
        """
        if self._process.poll() is not None:
            raise ServerError(f"ended with {self._process.returncode}: {self.output()[-2000:]}")
        if perf_counter() - self.started > PATIENCE:
            raise ServerError(f"not ready after {PATIENCE:.0f} s: {self.output()[-2000:]}")
        pause(POLL_GAP)

    def printed_url(self) -> str:
        """The first loopback URL that the server prints.

        Raises:
            ServerError: it ended, or never printed one.
        """
        while not (found := URL.search(self.output())):
            self.still_starting()
        return found.group()

    def ready(self, port: int, path: str, headers: dict[str, str]) -> float:
        """Seconds from the start of the process to the end of its first 200 to ``GET path``.

        Raises:
            ServerError: it ended, or never answered 200.
        """
        while get_status(port, path, headers) != 200:
            self.still_starting()
        return perf_counter() - self.started

    def stop(self) -> None:
        """End the whole session: politely first, with force after five seconds."""
        for order, wait in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self.watched.pid, order)
            except ProcessLookupError:
                break
            try:
                self._process.wait(timeout=wait)
            except subprocess.TimeoutExpired:
                continue
            if not self.watched.tree():
                break
        self._process.poll()
        self._output.close()


def get_status(port: int, path: str, headers: dict[str, str]) -> int:
    """The status of one ``GET path``, 0 when nothing responds."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()
