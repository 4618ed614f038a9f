"""Judges of how often a client reads (CP): pauses, requests to wait, bursts. docs/client-lab.md states the statistics."""

from collections.abc import Iterator

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
    early,
    floor,
    gaps,
    good_waits,
    is_date,
    mean,
    middle,
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
                seen = f"{mean(waits):.2f} s: {shown(waits)}"
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
            fine = not apart(first, second) or middle(second) >= middle(first) * rule.params["share"]
            seen = f"{middle(second):.2f} s in the later half"
            yield check(fine, f"no shorter waits than {middle(first):.2f} s", seen, *calls[:1], *calls[-2:])


def _stubborn(view: View) -> list[Call]:
    """Return reads that show that the client keeps a pause of its own, whatever it was given; none where it may not.

    It was given a long pause and a short one, and never waited less than the long one.
    """
    given = [case.facts.min_poll for case in cases(view) if case.facts.held_to is not None and case.facts.min_poll]
    hurried = [case for case in cases(view) if given and (case.facts.min_poll or max(given)) * _FAR <= max(given)]
    found = [calls for case in hurried for calls in unhurried(case) if len(good_waits(calls)) >= 2]
    quick = min(found, key=lambda calls: mean(good_waits(calls)), default=[])
    return quick[:2] if quick and mean(good_waits(quick)) >= max(given) else []


def obeys(case: Case, refused: Call, later: list[Call], tolerance: float) -> Check | None:
    """Return the check that the next of *later* waits as *refused* asks; None where it does not ask, or a callback came first."""
    until = asked_until(refused)
    if until is None:
        return None
    following = case.after(refused.event, later)[:1]
    if following and any(refused.event.mono <= one.event.mono <= following[0].event.mono for one in case.attempts):
        return None
    hurry = early(until, following[0]) if following else 0.0
    wanted = f"nothing sent before Retry-After ({refused.header('retry-after')}) is over"
    return check(hurry <= tolerance, wanted, f"sent again {hurry:.2f} s too early", refused, *following)


@judge("CP-03")
def obeys_retry_after(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the next read after one that was answered 429, with seconds to wait."""
    for case in cases(view):
        polls = case.polls if case.flow == "once" else []
        for poll in polls:
            found = obeys(case, poll, polls, rule.params["tolerance"])
            if got(poll) == 429 and not is_date(poll) and found is not None:
                yield found


@judge("CP-04")
def obeys_dates(view: View, rule: Rule) -> Iterator[Check]:
    """The same for reads and creates, where Retry-After is a date."""
    for case in cases(view):
        for calls in (case.polls, case.creates) if case.flow == "once" else ():
            for call in calls:
                found = obeys(case, call, calls, rule.params["tolerance"])
                if got(call) == 429 and is_date(call) and found is not None:
                    yield found


@judge("CP-18")
def spreads_waits(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at several tasks that are read at once, with pauses well above a machine's noise: whether their waits differ."""
    for case in about(view, rule.id):
        tasks = [calls for calls in by_task(case).values() if len(good_waits(calls)) >= 2]
        waits = [wait for calls in tasks for wait in good_waits(calls)[:2]]
        if len(tasks) >= rule.params["tasks"] and middle(waits) >= rule.params["pause"]:
            fine = (
                max(spread(waits[::2]), spread(waits[1::2])) >= rule.params["spread"]
            )  # the first waits, the second waits
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
            limit = rule.params["share"] * max(middle(usual) if usual else 0.0, case.facts.min_poll or 0.0)
            waits = gaps(calls)[:3]
            if len(waits) == 3 or any(wait >= limit for wait in waits):
                burst = all(wait < limit for wait in waits)
                yield check(not burst, f"no three waits below {limit:.2f} s after a 5xx", shown(waits), *calls[:4])


@judge("CP-20")
def waits_grow(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the waits between failed reads in a row: whether they are all alike."""
    for case in about(view, rule.id):
        for calls in _after_failure(case):
            row = []
            for call in calls:
                row.append(call)
                if got(call) < 500:
                    break
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
