"""Turns of calls on a store outside of this process: threads go through them, each from one to the next, while the event loop goes on.

Each statement of SQLite lets go of the interpreter, and of sixteen threads that want it one is woken each time: it took two fifths of a
query. Waking a thread for each call takes as long again; and what one thread goes through it writes into the journal together.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kling_mock.service.creating import Look
from kling_mock.serving.exchange import Exchange
from kling_mock.store.interface import Store
from kling_mock.store.journal import Entry
from kling_mock.web.api import Steps
from kling_mock.web.http import ApiResponse

THREADS = 64
"""The most threads for one kind of work."""
_STUCK = 0.1
"""Real seconds in which no call was begun after which one more thread goes: the others may be waiting for the very one that waits."""
_SLOW = 0.05
"""Real seconds that a call may wait where more threads would help."""
_TOGETHER = 8
"""Calls that a thread goes through before it writes their journal entries, for which their responses wait."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Turn:
    """A call, then what came of it: its response or what it failed with, and the journal's entries that are still to be written."""

    exchange: Exchange
    steps: Steps
    came: ApiResponse | Exception | None = None
    entries: Sequence[Entry] = ()


Tell = Callable[[Sequence[Turn]], None]


class Turns:
    """Goes through calls in *threads*, in as many of them at a time as the *store* likes; what a call looks at besides, in *looking*.

    *tell* is called in the event loop with those that have ended.
    """

    def __init__(self, store: Store, threads: Executor, looking: Executor, tell: Tell) -> None:
        self._store, self._threads, self._looking, self._tell = store, threads, looking, tell
        self._few, self._most = store.calls_at_once
        self._pause = _STUCK if self._few == self._most else _SLOW
        self._lock = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._ended: deque[Turn] = deque()
        self._going = self._taken = 0
        self._watched = False

    def take(self, turn: Turn) -> None:
        """Go through a call. To be called in the event loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._waiting.append(turn)
            self._taken += 1
            goes = self._going < self._few
            self._going += goes
        if goes:
            self._threads.submit(self._go, loop)
        elif not self._watched:
            self._watched = True
            self._watch(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self._pause, self._look_after, loop, self._taken, self._taken - len(self._waiting))

    def _look_after(self, loop: asyncio.AbstractEventLoop, taken: int, begun: int) -> None:
        """Let one more thread go where no call was begun since *begun* were, or where not all *taken* were, which is long."""
        with self._lock:
            self._watched = bool(self._waiting or self._ended)
            by_now = self._taken - len(self._waiting)
            most = THREADS if by_now == begun else self._most if by_now < taken else 0
            goes = self._watched and self._going < most
            self._going += goes
        if goes:
            self._threads.submit(self._go, loop)
        if self._watched:
            self._watch(loop)

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go through calls until none waits."""
        try:
            with self._store.held(), self._store.journal.gathered() as taken:
                more = True
                while more:
                    more = self._some(loop, taken)
        finally:
            with self._lock:
                more = bool(self._waiting)
                self._going -= not more
            if more:
                self._threads.submit(self._go, loop)

    def _some(self, loop: asyncio.AbstractEventLoop, taken: Callable[[], Sequence[Entry]]) -> bool:
        """Go through some calls, and say what came of them; return whether more wait."""
        with suppress(IndexError):
            for _ in range(_TOGETHER):
                self._through(self._waiting.popleft(), loop, taken)
        ended: list[Turn] = []
        with suppress(IndexError):
            while True:
                ended.append(self._ended.popleft())
        if ended:
            try:
                self._store.journal.keep([entry for turn in ended for entry in turn.entries])
            except Exception:  # the responses are right all the same
                _log.exception("entries of the journal are lost")
            with suppress(RuntimeError):  # the loop has ended, and with it the connections
                loop.call_soon_threadsafe(self._tell, ended)
        return bool(self._waiting)

    def _through(self, turn: Turn, loop: asyncio.AbstractEventLoop, taken: Callable[[], Sequence[Entry]]) -> None:
        """Go through a call, or as far as it can go without looking at what may take long."""
        try:
            look = next(turn.steps)
        except StopIteration as end:
            turn.came = end.value
        except Exception as error:
            turn.came = error
        else:
            self._looking.submit(self._look, turn, look, loop)
            return
        turn.entries = taken()
        self._ended.append(turn)

    def _look(self, turn: Turn, look: Look[Any], loop: asyncio.AbstractEventLoop) -> None:
        look()
        with suppress(RuntimeError):  # as above
            loop.call_soon_threadsafe(self.take, turn)
