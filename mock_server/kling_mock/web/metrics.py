"""`GET /metrics`: the counts of this process and the state of its store, in the text format of Prometheus."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from kling_mock.service.measures import Spread
from kling_mock.service.world import World
from kling_mock.store.interface import StoreDown
from kling_mock.web.access import Access
from kling_mock.web.http import ApiResponse, Request


class Metrics:
    """Reads the counts when it is asked, under the rules of the control protocol."""

    def __init__(self, world: World, access: Access) -> None:
        self._world, self._access = world, access

    def get(self, request: Request) -> ApiResponse:
        """Return the metrics of this process."""
        refusal = self._access.refusal(request)
        if refusal is not None:
            return ApiResponse(403, f"{refusal}\n".encode(), [("content-type", "text/plain; charset=utf-8")])
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return ApiResponse(200, generate_latest(registry), [("content-type", CONTENT_TYPE_LATEST)])

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics; prometheus_client calls this."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

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
        up = GaugeMetricFamily("kling_mock_store_up", "1 where the store responds.", value=self._up())
        yield from (tasks, attempts, lag, requests, errors, up)

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
