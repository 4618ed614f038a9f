"""Accounts of the jury's servers, their tasks, and the clock by which things fall due."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass
class Task:
    """One task: what was asked, when it began and ended, how it ends."""

    id: str
    created: float
    asked: Json
    price: float
    fails: bool = False
    cancelled: float = 0.0
    size: tuple[int, int] = (1280, 720)
    token: str = ""
    settled: bool = False


class Account:
    """One key: its clock, credits and tasks, and what is due to happen."""

    def __init__(self, key: str) -> None:
        self.key, self.lock = key, threading.RLock()
        self.idle = threading.Condition(self.lock)
        self.mode, self.rate, self.base, self.read = "real", 1.0, time.time(), time.monotonic()
        self.credits, self.used = 1_000_000.0, 0.0
        self.tasks: dict[str, Task] = {}
        self.keys: dict[str, tuple[str, Json]] = {}
        self.relays: dict[str, str] = {}
        self.models: list[str] | None = None
        self.rate_limit: int | None = None
        self.calls: list[float] = []
        self.stories: list[str] = []
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.flying = 0

    def now(self) -> float:
        """What its clock shows."""
        passed = 0.0 if self.mode == "manual" else (time.monotonic() - self.read) * self.rate
        return self.base + passed

    def set(self, mode: str, rate: float, at: float | None = None) -> None:
        """Another kind of clock, or another moment."""
        self.base = self.now() if at is None else at
        self.mode, self.rate, self.read = mode, rate if mode == "scaled" else 1.0, time.monotonic()

    def plan(self, at: float, act: Callable[[], None]) -> None:
        """Have something happen then."""
        heapq.heappush(self.due, (at, next(self.numbers), act))

    def run_due(self, until: float) -> None:
        """Let happen what is due."""
        while self.due and self.due[0][0] <= until:
            heapq.heappop(self.due)[2]()

    def advance(self, seconds: float) -> None:
        """Move a manual clock, from one thing that is due to the next; attempts on the wire are waited for."""
        target = round(self.now() + seconds, 6)
        with self.lock:
            while True:
                self.idle.wait_for(lambda: not self.flying)
                if not self.due or self.due[0][0] > target:
                    break
                self.set("manual", 1, max(self.now(), self.due[0][0]))
                self.run_due(self.now())
            self.set("manual", 1, target)
