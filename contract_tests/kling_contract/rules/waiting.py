"""How long clients wait, how long they were asked to, and what a few waits can say of the rest.

Waits are samples: a client may draw them at random, and a busy machine adds to them. What is said of them here is stated in
docs/client-lab.md ("What a few waits can show").
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf, sqrt
from statistics import fmean, quantiles, stdev

from kling_contract.reading.retry_after import wait_until
from kling_contract.reading.view import Call, View, is_task
from kling_contract.rules.cases import Case, got


def asked_until(call: Call) -> float | None:
    """Return the moment (Unix seconds) until which an answer asks to wait; None when it does not say."""
    return wait_until(call.header("retry-after"), call.event.ended_at)


def is_date(call: Call) -> bool:
    """Return whether Retry-After is a date."""
    value = (call.header("retry-after") or "").strip()
    return bool(value) and not value.isdigit()


def by_task(case: Case) -> dict[str, list[Call]]:
    """Return the reads of each task, in order."""
    found: dict[str, list[Call]] = {}
    for call in case.polls:
        found.setdefault(call.path, []).append(call)
    return found


def unhurried(case: Case) -> list[list[Call]]:
    """Return the reads of each task that no callback can have hurried: those that began before the first one came."""
    first = min((attempt.event.mono for attempt in case.attempts), default=inf)
    return [[call for call in calls if call.event.mono <= first] for calls in by_task(case).values()]


def gaps(calls: Iterable[Call]) -> list[float]:
    """Return the seconds from each call to the next."""
    times = [call.event.mono for call in calls]
    return [later - sooner for sooner, later in pairwise(times)]


def good_waits(calls: Sequence[Call]) -> list[float]:
    """Return the waits after reads that went well."""
    return [wait for call, wait in zip(calls, gaps(calls), strict=False) if got(call) == 200 and is_task(call.got)]


def surely_below(waits: Sequence[float], least: float, errors: float) -> bool:
    """Return whether the mean of *waits* lies below *least* by more than *errors* standard errors of that mean."""
    return fmean(waits) + errors * stdev(waits) / sqrt(len(waits)) < least


def alike(waits: Sequence[float], distance: float) -> bool:
    """Return whether there are two waits or more, and all within *distance* seconds of each other."""
    return len(waits) >= 2 and max(waits) - min(waits) <= distance


def apart(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether every wait of *second* is shorter than every wait of *first*."""
    return max(second) < min(first)


def spread(waits: Sequence[float]) -> float:
    """Return the distance of the quartiles as a share of the median."""
    lower, centre, upper = quantiles(waits, n=4)
    return (upper - lower) / centre if centre else inf


def floor(view: View, case: Case, *, lab: float) -> float:
    """Return the least pause between reads: what the client was given, else the contract's for the service, else *lab*."""
    if case.facts.min_poll is not None:
        return case.facts.min_poll
    servers = tuple(str(server["url"]) for server in view.contract.document["servers"])
    return view.contract.min_poll if any(call.event.url.startswith(servers) for call in case.calls) else lab
