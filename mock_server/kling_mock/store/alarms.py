"""Alarms of one process: whose turn it is, and when."""

import heapq
import threading

from kling_mock import clock as clocks


class Alarms:
    """Names at real moments, of `clocks.monotonic`; one thread sleeps until the next of them."""

    def __init__(self, condition: threading.Condition | None = None) -> None:
        self._wake = condition or threading.Condition()
        self._set: list[tuple[float, str]] = []
        self._sleeping_until = 0.0
        self._woken = False

    def set(self, at: float, name: str) -> None:
        """Let *name* be handed out at a moment."""
        with self._wake:
            heapq.heappush(self._set, (at, name))
            if at < self._sleeping_until:
                self._wake.notify()

    def next(self, timeout: float) -> str | None:
        """Sleep until an alarm goes off, and return whose it is; None after *timeout* real seconds, or where it was woken."""
        with self._wake:
            until = clocks.monotonic() + timeout
            while not self._woken:
                now = clocks.monotonic()
                if self._set and self._set[0][0] <= now:
                    return heapq.heappop(self._set)[1]
                if now >= until:
                    return None
                self._sleeping_until = min(until, self._set[0][0]) if self._set else until
                self._wake.wait(self._sleeping_until - now)
                self._sleeping_until = 0.0
            self._woken = False
            return None

    def wake(self) -> None:
        """Let whoever sleeps in `next` return."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()
