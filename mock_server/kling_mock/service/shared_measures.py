"""The counts of several processes on one port: each writes its own file of a shared folder, and whichever is asked adds them up.

The files are those of prometheus_client's multiprocess mode: they outlive a process that is killed, so that no count goes back.
"""

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from kling_mock.service.measures import LAG_BOUNDS, REQUEST_BOUNDS, Measures


class SharedMeasures(Measures):
    """Counts in the files of *folder*, which PROMETHEUS_MULTIPROC_DIR named before prometheus_client was imported."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = str(folder)
        own: dict[str, Any] = {"registry": None}
        self._tasks = Counter("kling_mock_tasks", "Tasks.", ["status"], **own)
        self._attempts = Counter("kling_mock_callback_attempts", "Attempts.", ["outcome"], **own)
        self._lag = Histogram("kling_mock_callback_lag_seconds", "Lag.", buckets=LAG_BOUNDS, **own)
        self._requests = Histogram(
            "kling_mock_request_seconds", "Responses.", ["operation", "status"], buckets=REQUEST_BOUNDS, **own
        )
        self._errors = Counter("kling_mock_store_errors", "Errors.", **own)
        self._of: dict[tuple[str, int], Any] = {}

    def register(self, registry: CollectorRegistry) -> None:
        """Let *registry* show the sums of all processes."""
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count a response and how long it took."""
        own = self._of.get((operation, status))
        if own is None:
            own = self._of[operation, status] = self._requests.labels(operation, str(status))
        own.observe(seconds)

    def task(self, status: str) -> None:
        """Count a task that came to this status."""
        self._tasks.labels(status).inc()

    def attempt(self, outcome: str, late: float) -> None:
        """Count a callback attempt."""
        self._attempts.labels(outcome).inc()
        self._lag.observe(max(0.0, late))

    def store_error(self) -> None:
        """Count an operation that the store could not do."""
        self._errors.inc()
