"""Judges of how often a client reads (CP): pauses, requests to wait, bursts. docs/client-lab.md states the statistics."""

from collections.abc import Iterator
from statistics import fmean, median

from kling_contract.reading.view import Call, View
from kling_contract.rules.cases import Case, about, cases, got
from kling_contract.rules.client_polling import sound
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.waiting import (
    alike,
    apart,
    asked_until,
    by_task,
    floor,
    gaps,
    good_waits,
    is_date,
    spread,
    surely_below,
    unhurried,
)

_FAR = 5
"""How many times longer one pause is than another, when a client that takes them must show it."""
_ROUNDING = 0.02
"""Seconds by which equal waits differ on any machine."""


def shown(waits: list[float]) -> str:
    """Return waits in words."""
    return f"waits of {', '.join(f'{wait:.2f}' for wait in waits[:10])} s"


@judge("CP-01")
def keeps_floor(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the mean wait after good reads of each task, as far as no callback hurried the client.

    How long to wait after trouble is for other rules to say.
    """
    stubborn = _stubborn(view)
    for case in cases(view):
        least = floor(view, case, lab=rule.params["lab"])
        least = max(least, case.facts.held_to or 0.0) if stubborn else least
        for calls in unhurried(case) if case.flow in ("once", "many") else ():
            waits = good_waits(calls)
            enough = len(waits) >= rule.params["waits"]
            tiny = len(waits) >= 2 and max(waits) < least * rule.params["tiny"]
            if enough or tiny or alike(waits, max(rule.params["alike"] * least, _ROUNDING)):
                allowed = least * (1 - rule.params["tolerance"])
                fine = not surely_below(waits, allowed, rule.params["errors"] if enough else 0.0)
                seen = f"{fmean(waits):.2f} s: {shown(waits)}"
                yield check(fine, f"a mean wait of {least:g} s or more", seen, *calls[:3], *stubborn)


@judge("CP-02")
def does_not_hurry(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at long tasks of which every read went well: whether all later waits are shorter than all earlier ones."""
    for case in cases(view):
        for calls in unhurried(case) if case.flow == "once" else ():
            waits = gaps(calls)
            if len(waits) < rule.params["waits"] or any(got(call) != 200 for call in calls):
                continue
            half = len(waits) // 2
            first, second = waits[:half], waits[-half:]
            fine = not apart(first, second) or median(second) >= median(first) * rule.params["share"]
            seen = f"{median(second):.2f} s in the later half"
            yield check(fine, f"no shorter waits than {median(first):.2f} s", seen, *calls[:1], *calls[-2:])


def _stubborn(view: View) -> list[Call]:
    """Return reads that show that the client keeps a pause of its own, whatever it was given; none where it may not.

    It was given a long pause and a short one, and never waited less than the long one.
    """
    given = [case.facts.min_poll for case in cases(view) if case.facts.held_to is not None and case.facts.min_poll]
    hurried = [case for case in cases(view) if given and (case.facts.min_poll or max(given)) * _FAR <= max(given)]
    found = [calls for case in hurried for calls in unhurried(case) if len(good_waits(calls)) >= 2]
    quick = min(found, key=lambda calls: fmean(good_waits(calls)), default=[])
    return quick[:2] if quick and fmean(good_waits(quick)) >= max(given) else []


def obeys(case: Case, calls: list[Call], rule: Rule, *, dates: bool = False) -> Iterator[Check]:
    """That after each of *calls* that was answered 429 the next one waits as it asks, in seconds or by *dates*.

    Nothing is said of one that a callback came before.
    """
    for refused in (call for call in calls if got(call) == 429 and is_date(call) == dates):
        until, following = asked_until(refused), case.after(refused.event, calls)[:1]
        called = following and any(
            refused.event.mono <= one.event.mono <= following[0].event.mono for one in case.attempts
        )
        if until is not None and not called:
            hurry = until - following[0].event.at if following else 0.0
            wanted = f"nothing sent before Retry-After ({refused.header('retry-after')}) is over"
            fine = hurry <= rule.params["tolerance"]
            yield check(fine, wanted, f"sent again {hurry:.2f} s too early", refused, *following)


@judge("CP-03")
def obeys_retry_after(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the next read after one that was answered 429, with seconds to wait."""
    for case in cases(view):
        if case.flow == "once":
            yield from obeys(case, case.polls, rule)


@judge("CP-04")
def obeys_dates(view: View, rule: Rule) -> Iterator[Check]:
    """The same for reads and creates, where Retry-After is a date."""
    for case in cases(view):
        if case.flow == "once":
            yield from obeys(case, case.polls, rule, dates=True)
            yield from obeys(case, case.creates, rule, dates=True)


@judge("CP-18")
def spreads_waits(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at several tasks that are read at once, with pauses well above a machine's noise: whether their waits differ."""
    for case in about(view, rule.id):
        tasks = [calls for calls in by_task(case).values() if len(good_waits(calls)) >= 2]
        waits = [wait for calls in tasks for wait in good_waits(calls)[:2]]
        if len(tasks) >= rule.params["tasks"] and median(waits) >= rule.params["pause"]:
            first, second = waits[::2], waits[1::2]
            fine = max(spread(first), spread(second)) >= rule.params["spread"]
            yield check(fine, "waits that differ", f"{shown(waits)}: all in step", *(calls[0] for calls in tasks))


def _after_failure(case: Case) -> Iterator[list[Call]]:
    """Each task's reads from the first that was answered 5xx, as far as no callback hurried the client."""
    for calls in unhurried(case):
        failed = [number for number, call in enumerate(calls) if got(call) >= 500]
        if failed:
            yield calls[failed[0] :]


@judge("CP-19")
def no_burst(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the three waits that follow a read answered 5xx: whether all are far shorter than the usual ones."""
    for case in about(view, rule.id):
        for calls in _after_failure(case):
            usual = [wait for task in by_task(case).values() for wait in good_waits(task)]
            limit = rule.params["share"] * max(median(usual) if usual else 0.0, case.facts.min_poll or 0.0)
            waits = gaps(calls)[:3]
            if len(waits) == 3 or any(wait >= limit for wait in waits):
                burst = all(wait < limit for wait in waits)
                yield check(not burst, f"no three waits below {limit:.2f} s after a 5xx", shown(waits), *calls[:4])


@judge("CP-20")
def waits_grow(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the waits between failed reads in a row: whether they are all alike."""
    for case in about(view, rule.id):
        for calls in _after_failure(case):
            ended = next((number for number, call in enumerate(calls) if got(call) < 500), len(calls))
            row = calls[: ended + 1]
            waits = gaps(row)
            alike = bool(waits) and max(waits) <= min(waits) * rule.params["growth"]
            if len(waits) >= rule.params["waits"] or (waits and not alike):
                yield check(not alike, "growing waits between failed reads", f"{shown(waits)}: all alike", *row)


@judge("CP-21")
def survives_limits(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at jobs of which one read was answered 429."""
    for case in about(view, rule.id):
        limited = [poll for poll in case.polls if got(poll) == 429]
        if limited:
            yield sound(case, rule.id, "the job survives a 429", limited[0])


@judge("CP-22")
def no_hammering(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at reads that are answered 429 again and again."""
    for case in about(view, rule.id):
        limited = [poll for poll in case.polls if got(poll) == 429]
        if len(limited) >= 2:
            yield from hammered(limited, rule)


def hammered(limited: list[Call], rule: Rule) -> Iterator[Check]:
    """That no row of *limited* calls comes within the rule's seconds."""
    row, seconds = int(rule.params["row"]), float(rule.params["seconds"])
    times = [call.event.mono for call in limited]
    burst = next((n for n in range(len(times) - row + 1) if times[n + row - 1] - times[n] < seconds), None)
    seen = "" if burst is None else f"{row} calls in {times[burst + row - 1] - times[burst]:.2f} s"
    place = limited[:1] if burst is None else limited[burst : burst + row]
    yield check(burst is None, f"fewer than {row} calls in {seconds:g} s while they are answered 429", seen, *place)
