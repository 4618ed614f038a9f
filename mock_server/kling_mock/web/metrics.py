"""`GET /metrics`: what this process, or all workers of a `serve`, counted, and the state of the store, in the text format of Prometheus."""

import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_mock.service.measures import Spread
from kling_mock.service.world import World
from kling_mock.store.interface import StoreDown
from kling_mock.web.access import Access
from kling_mock.web.http import ApiResponse, Request

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from kling_mock.service.shared_measures import SharedMeasures


class Metrics:
    """Reads the counts when it is asked, under the rules of the control protocol."""

    def __init__(self, world: World, access: Access) -> None:
        self._world, self._access = world, access
        self._shared: SharedMeasures | None = None

    def share(self, folder: Path) -> None:
        """Count in *folder* from now on, together with other processes that do; before anything was counted."""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from kling_mock.service.shared_measures import SharedMeasures

        self._shared = self._world.measures = SharedMeasures(folder)

    def get(self, request: Request) -> ApiResponse:
        """Return the metrics."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return ApiResponse(403, f"{refusal}\n".encode(), [("content-type", "text/plain; charset=utf-8")])
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        return ApiResponse(200, generate_latest(self.registry()), [("content-type", CONTENT_TYPE_LATEST)])

    def registry(self) -> "CollectorRegistry":
        """Return what prometheus_client shows."""
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        if self._shared is not None:
            self._shared.register(registry)
        return registry

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics; prometheus_client calls this."""
        from prometheus_client.metrics_core import GaugeMetricFamily

        if self._shared is None:
            yield from self._counted()
        yield GaugeMetricFamily("kling_mock_store_up", "1 where the store responds.", value=self._up())

    def _counted(self) -> Iterator[Any]:
        """Yield what this process counted."""
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        measures = self._world.measures
        tasks = CounterMetricFamily("kling_mock_tasks", "Tasks that came to a status.", labels=["status"])
        for status, count in sorted(measures.tasks.items()):
            tasks.add_metric([status], count)
        attempts = CounterMetricFamily(
            "kling_mock_callback_attempts", "Callback attempts by outcome.", labels=["outcome"]
        )
        for outcome, count in sorted(measures.attempts.items()):
            attempts.add_metric([outcome], count)
        lag = HistogramMetricFamily(
            "kling_mock_callback_lag_seconds", "Seconds of the account's clock from due to sent."
        )
        lag.add_metric([], _buckets(measures.lag), measures.lag.total)
        requests = HistogramMetricFamily(
            "kling_mock_request_seconds", "Real seconds of a response.", labels=["operation", "status"]
        )
        for (operation, code), spread in sorted(measures.requests.items()):
            requests.add_metric([operation, str(code)], _buckets(spread), spread.total)
        errors = CounterMetricFamily("kling_mock_store_errors", "Operations that the store could not do.")
        errors.add_metric([], measures.store_errors)
        yield from (tasks, attempts, lag, requests, errors)

    def _up(self) -> int:
        try:
            self._world.store.check()
        except StoreDown:
            return 0
        return 1


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    """Return how many values were at most each bound."""
    bounds = [*(repr(bound) for bound in spread.bounds), "+Inf"]
    return list(zip(bounds, accumulate(spread.counts), strict=True))
