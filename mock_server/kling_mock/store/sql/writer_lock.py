"""The lock of those who write: one thread at a time of all processes that have one SQLite file.

SQLite has one writer at a time too, but lets the others sleep and look again, at last every 100 ms: two couriers each waited for more than
half of their time. Here the threads of a process queue, and the one whose turn it is looks every millisecond at a lock on a file next to
the database. SQLite's own lock still is what keeps writers apart; this one only shortens the wait, so whoever cannot have it goes on
without.
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kling_mock import clock as clocks

try:
    import fcntl
except ImportError:  # no such locks here
    fcntl = None  # type: ignore[assignment]

_SHORTEST, _LONGEST = 0.0001, 0.001
"""Real seconds between two looks: the first time, and at most."""


class WriterLock:
    """A lock of this process, and with `share` of all that share it: `with lock:`, again by who has it already."""

    def __init__(self, patience: float) -> None:
        """Other processes are waited for so many real seconds at most."""
        self._patience = patience
        self._mine = threading.RLock()
        self._depth = 0
        self._file: IO[Any] | None = None
        self._held = False

    def share(self, path: Path) -> None:
        """Take turns with the other processes that have said the same *path*, an empty file that is left behind."""
        if fcntl is not None:
            with suppress(OSError):
                self._file = path.open("ab")

    def close(self) -> None:
        """Take turns with no other process any more."""
        with self._mine:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def __enter__(self) -> None:
        """Wait for it."""
        self._mine.acquire()
        self._depth += 1
        if self._depth == 1 and self._file is not None:
            try:
                self._held = self._wait(self._file)
            except BaseException:
                self._depth -= 1
                self._mine.release()
                raise

    def __exit__(self, *_: object) -> None:
        """Give it to the next."""
        self._depth -= 1
        if self._depth == 0 and self._held:
            self._held = False
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._mine.release()

    def _wait(self, file: IO[Any]) -> bool:
        """Return whether this process has the lock now; not where another keeps it, or where there are no locks on files."""
        until, pause = clocks.monotonic() + self._patience, _SHORTEST
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if clocks.monotonic() >= until:
                    return False
                clocks.pause(pause)
                pause = min(2 * pause, _LONGEST)
            except OSError:
                return False
            else:
                return True
