"""How long clients wait, and how long they were asked to."""

from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from itertools import pairwise
from math import inf
from statistics import median

from kling_contract.reading.view import Call, View
from kling_contract.rules.cases import Case


def asked_until(call: Call) -> float | None:
    """The moment (Unix seconds) until which an answer asks to wait; None when it does not say."""
    value = (call.header("retry-after") or "").strip()
    if value.isdigit():
        return call.event.ended_at + int(value)
    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None


def is_date(call: Call) -> bool:
    """Whether Retry-After is a date."""
    value = (call.header("retry-after") or "").strip()
    return bool(value) and not value.isdigit()


def early(until: float, call: Call) -> float:
    """Seconds by which *call* came before *until*; less than none when it came after."""
    return until - call.event.at


def by_task(case: Case) -> dict[str, list[Call]]:
    """The reads of each task, in order."""
    found: dict[str, list[Call]] = {}
    for call in case.polls:
        found.setdefault(call.path, []).append(call)
    return found


def unhurried(case: Case) -> list[list[Call]]:
    """The reads of each task that no callback can have hurried: those that began before the first one came."""
    first = min((attempt.event.mono for attempt in case.attempts), default=inf)
    return [[call for call in calls if call.event.mono <= first] for calls in by_task(case).values()]


def gaps(calls: Iterable[Call]) -> list[float]:
    """Seconds from each call to the next."""
    times = [call.event.mono for call in calls]
    return [later - sooner for sooner, later in pairwise(times)]


def middle(values: list[float]) -> float:
    """The median."""
    return median(values)


def floor(view: View, case: Case, *, lab: float) -> float:
    """The least pause between reads: what the client was given, else the contract's for the service and *lab* in other recordings."""
    if case.facts.min_poll is not None:
        return case.facts.min_poll
    servers = tuple(str(server["url"]) for server in view.contract.document["servers"])
    return view.contract.min_poll if any(call.event.url.startswith(servers) for call in case.calls) else lab
