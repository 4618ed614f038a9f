"""Who starts next: a start costs more than all that follows, so the number of processes that start at once is limited."""

import heapq
import os
import threading
from itertools import count

from kling_contract.lab.results import RunRequest

_LONGEST_START = 1.5
"""Seconds after which a client that has not called yet is no longer waited for."""


class StartLimiter:
    """Lets so many start at a time, in their stories' order."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._waiting: list[tuple[tuple[float, ...], int]] = []
        self._numbers = count()
        self._news = threading.Condition()

    def take(self, wanted: RunRequest) -> None:
        """Wait until *order* may start; the next one may once this one is up."""
        if wanted.together is not None:
            wanted.together.wait()
            return
        with self._news:
            mine = (wanted.turn, next(self._numbers))
            heapq.heappush(self._waiting, mine)
            self._news.wait_for(lambda: self._free > 0 and self._waiting[0] == mine)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._news.notify_all()
        threading.Thread(target=self._give_back, args=(wanted,), daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether no client starts, or waits for its turn."""
        with self._news:
            return self._free == self._most and not self._waiting

    def _give_back(self, wanted: RunRequest) -> None:
        wanted.up.wait(_LONGEST_START)
        with self._news:
            self._free += 1
            self._news.notify_all()


STARTS = StartLimiter((os.cpu_count() or 1) + 1)
"""The starts of this machine."""
