"""What a process counts for `GET /metrics`: numbers only, no key and no URL."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class Spread:
    """How often a value fell below each of *bounds*, and the sum of all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Measures:
    """Counts of one process since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.tasks: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.requests: dict[tuple[str, int], Spread] = {}
        self.lag = Spread(LAG_BOUNDS)
        self.store_errors = 0

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count a response and how long it took."""
        with self._lock:
            spread = self.requests.get((operation, status))
            if spread is None:
                spread = self.requests[operation, status] = Spread(REQUEST_BOUNDS)
            spread.add(seconds)

    def task(self, status: str) -> None:
        """Count a task that came to this status."""
        with self._lock:
            self.tasks[status] += 1

    def tasks_came(self, statuses: Iterable[str]) -> None:
        """Count tasks, each by the status that it came to."""
        with self._lock:
            for status in statuses:  # `update` takes ten times as long for one of them
                self.tasks[status] += 1

    def attempt(self, outcome: str, late: float) -> None:
        """Count a callback attempt by its outcome, and how many seconds of the account's clock after its due time it was sent."""
        with self._lock:
            self.attempts[outcome] += 1
            self.lag.add(max(0.0, late))

    def store_error(self) -> None:
        """Count an operation that the store could not do."""
        with self._lock:
            self.store_errors += 1
