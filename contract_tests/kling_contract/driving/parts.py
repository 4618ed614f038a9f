"""How far a run is: parts that are planned and parts that are over, for whoever shows a bar."""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A part is over, or more are planned. name: the part; done, planned: how many of how many."""

    name: str
    done: int
    planned: int


class Parts:
    """Counts the parts of one run; *tell* is called after each change, from whichever thread makes it."""

    def __init__(self, tell: Callable[[Progress], None] = lambda _: None) -> None:
        self._tell = tell
        self._done = self._planned = 0
        self._lock = threading.Lock()

    def plan(self, name: str, more: int = 1) -> None:
        """Note that *more* parts will be run, and that *name* is what happens now."""
        self._change(name, 0, more)

    def over(self, name: str) -> None:
        """Note that the part *name* is over."""
        self._change(name, 1, 0)

    def _change(self, name: str, done: int, planned: int) -> None:
        with self._lock:
            self._done += done
            self._planned += planned
            self._tell(Progress(name, self._done, self._planned))
