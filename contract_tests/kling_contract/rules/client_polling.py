"""Judges of how a client reads a task until it is over (CP)."""

import re
from collections.abc import Iterator

from kling_contract.reading.view import Call, View, is_task, links_of
from kling_contract.rules.cases import Case, about, cases, crashed, ending, got, outcome
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.waiting import asked_until, by_task, early, floor, gaps, is_date, middle, unhurried


def as_right(view: View, rule: Rule) -> Iterator[Check]:
    """That each case about *rule* ended as its story has it, once a read has shown it."""
    for case in about(view, rule.id):
        if case.polls and case.flow == "once":
            yield right(case)


def right(case: Case) -> Check:
    """That *case* ended as its story has it."""
    expected = case.facts.right
    ends = {True: "the video", False: "no success", None: "an end"}
    wanted = ends[expected.completes]
    says = f", and the word {' or '.join(expected.says)}" if expected.says else ""
    shown = [call for call in case.polls if call.event.lost or got(call) != 200] or case.polls[-1:] or case.creates[-1:]
    return check(not case.wrong, f"{case.facts.summary}: {wanted}{says}", case.wrong, *shown[:2], case.results[-1])


@judge("CP-01")
def keeps_floor(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the median wait after good reads of each task, as far as no callback hurried anybody.

    How long to wait after trouble is for other rules to say.
    """
    for case in cases(view):
        least = floor(view, case, lab=rule.params["lab"])
        for calls in unhurried(case) if case.flow in ("once", "many") else ():
            waits = [wait for call, wait in zip(calls, gaps(calls), strict=False) if got(call) == 200]
            if len(waits) >= 2:
                fine = middle(waits) >= least * (1 - rule.params["tolerance"])
                yield check(fine, f"a median wait of {least:g} s or more", f"{middle(waits):.2f} s", *calls[:3])


@judge("CP-02")
def does_not_hurry(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at long tasks of which every read went well: the later half's median wait against the earlier half's."""
    for case in cases(view):
        for calls in unhurried(case) if case.flow == "once" else ():
            waits = gaps(calls)
            if len(waits) < rule.params["waits"] or any(got(call) != 200 for call in calls):
                continue
            half = len(waits) // 2
            first, second = middle(waits[:half]), middle(waits[half:])
            fine = second >= first * rule.params["share"] - view.noise(calls[0].event.seq)
            yield check(
                fine,
                f"no shorter wait than {first:.2f} s",
                f"{second:.2f} s in the later half",
                *calls[:1],
                *calls[-2:],
            )


def _obeys(case: Case, poll: Call, tolerance: float) -> Check | None:
    until = asked_until(poll)
    if until is None:
        return None
    following = case.after(poll.event, case.calls)[:1]
    late = early(until, following[0]) if following else 0.0
    wanted = f"nothing sent before Retry-After ({poll.header('retry-after')}) is over"
    return check(late <= tolerance, wanted, f"the next call came {late:.2f} s too early", poll, *following)


@judge("CP-03")
def obeys_retry_after(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the next call after a read that was answered 429."""
    for case in cases(view):
        for poll in case.polls if case.flow == "once" else ():
            found = _obeys(case, poll, rule.params["tolerance"]) if got(poll) == 429 else None
            if found is not None:
                yield found


@judge("CP-04")
def obeys_dates(view: View, rule: Rule) -> Iterator[Check]:
    """The same, where Retry-After is a date; and that the task is not given up."""
    for case in cases(view):
        for poll in case.polls if case.flow == "once" else ():
            found = _obeys(case, poll, rule.params["tolerance"]) if got(poll) == 429 and is_date(poll) else None
            if found is not None:
                yield found
    yield from as_right(view, rule)


def _survived(case: Case, polls: list[Call]) -> Iterator[Check]:
    """That reading went on after *polls*, and the case ended as it should."""
    last = polls[-1]
    more = case.after(last.event, case.polls)
    what = f"answered {got(last)}" if got(last) else f"lost ({last.event.lost})"
    end = case.results[-1:] if case.note else []
    yield check(more, f"read again after a read was {what}", "never read again", last, *end)
    if case.note is not None and case.able and case.facts.right.completes:
        yield check(not case.wrong, "the job survives", case.wrong, last, *end)


def _in_a_row(case: Case, failed: list[Call]) -> list[Call]:
    """The longest row of failed reads that begins after one that went well, and the read that follows it.

    After other trouble a client may be at its longest wait already.
    """
    longest: list[Call] = []
    row: list[Call] = []
    well = True
    for poll in case.polls:
        row = [*row, poll] if poll in failed and (row or well) else []
        well = got(poll) == 200 and is_task(poll.got)
        longest = row if len(row) > len(longest) else longest
    return [*longest, *case.after(longest[-1].event, case.polls)[:1]] if longest else []


@judge("CP-05")
def survives_errors(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows reads that were answered 5xx, and at the waits between several in a row."""
    for case in cases(view):
        failed = [poll for poll in case.polls if got(poll) >= 500]
        if not failed or case.flow != "once":
            continue
        yield from _survived(case, failed)
        row = _in_a_row(case, failed)
        waits = gaps(row)
        if len(waits) >= 2 and not case.attempts:  # a callback may rightly hurry a read
            fine = waits[-1] >= waits[0] * rule.params["growth"]
            shown = ", ".join(f"{wait:.2f}" for wait in waits)
            yield check(fine, "growing waits between failed reads", f"waits of {shown} s", *row)


@judge("CP-06")
def survives_cuts(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what follows a read whose connection was cut."""
    for case in cases(view):
        cut = [poll for poll in case.polls if poll.event.lost == "cut"]
        if cut and case.flow == "once":
            yield from _survived(case, cut)


@judge("CP-07")
def stops_at_end(view: View, _: Rule) -> Iterator[Check]:
    """Looks at reads after one that showed the end; a refused download and a callback each allow one more."""
    for case in cases(view):
        for calls in by_task(case).values() if case.flow in ("once", "many") else ():
            ends = [call for call in calls if got(call) == 200 and _over(view, call)]
            if not ends:
                continue
            more = case.after(ends[0].event, calls)
            refused = sum(1 for download in case.downloads if download.status not in (200, 206))
            fine = len(more) <= refused + len(case.attempts)
            yield check(fine, "no read after the end was seen", f"{len(more)} more", ends[0], *more[:2])


def _over(view: View, call: Call) -> bool:
    """Whether an answer shows an end that leaves nothing to ask."""
    body = call.got if isinstance(call.got, dict) else {}
    status = body.get("status")
    return status in view.contract.terminal and (status != "completed" or bool(links_of(body)))


for _rule in ("CP-08", "CP-09", "CP-12"):
    judge(_rule)(as_right)


def takes_any_answer(view: View, rule: Rule) -> Iterator[Check]:
    """The same, where the create's answer shows it already: a client may break down before its first read."""
    for case in about(view, rule.id):
        if (case.polls or case.accepted) and case.flow == "once":
            yield right(case)


for _rule in ("CP-10", "CP-11"):
    judge(_rule)(takes_any_answer)


@judge("CP-13")
def gives_up(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at whoever had to be ended by force, and at a task that never ends: whether the client does, and what it says."""
    stuck = list(about(view, rule.id))
    for case in cases(view):
        last = case.results[-1] if case.results else None
        if last is None or (case not in stuck and last.data["ended"] != "deadline"):
            continue
        limit, shown = case.facts.deadline, case.polls[-1:] or case.creates[-1:]
        ended = last.data["ended"] == "itself"
        yield check(ended, f"an end at the limit of {limit:g} s that it was told", ending(last), *shown, last)
        if not ended or not case.accepted:
            continue
        task_id = str(case.accepted[0].got["id"])
        says = outcome(last) == "gave_up" if outcome(last) else task_id in case.words
        fine = says and not case.completes
        wanted = "the outcome gave_up" if outcome(last) else "the task's id, with which it can be asked for later"
        yield check(fine, f"{wanted}, for a task that may still run", ending(last), *case.polls[-1:], last)


@judge("CP-14")
def silence_ends(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls that are never answered."""
    for case in about(view, "CP-14"):
        silent = [call for call in case.calls if call.event.lost == "timeout"]
        if silent:  # whoever calls again has ended the call that was not answered
            fine = case.results[-1].data["ended"] == "itself" or bool(case.after(silent[0].event, case.calls))
            yield check(
                fine, f"an end by {case.facts.deadline:g} s", ending(case.results[-1]), silent[-1], case.results[-1]
            )


@judge("CP-15")
def survives_pages(view: View, _: Rule) -> Iterator[Check]:
    """Looks at answers that are not JSON: a read goes on, a create fails without breaking the client."""
    for case in about(view, "CP-15"):
        pages = [call for call in case.calls if call.status and not isinstance(call.got, dict)]
        if not pages:
            continue
        last = case.results[-1]
        yield check(
            not crashed(last) and "Traceback (most recent" not in last.data["stderr"],
            "no crash",
            ending(last),
            pages[0],
            last,
        )
        if pages[0].name == "getTask":
            yield check(not case.wrong, "the job survives", case.wrong, pages[0], last)


@judge("CP-16")
def patient_with_new(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at a first read that does not find the task."""
    for case in about(view, rule.id):
        missing = [poll for poll in case.polls[:1] if got(poll) == 404]
        if missing:
            yield check(len(case.polls) > 1, "read again", "never read again", missing[0], case.results[-1])
            yield check(not case.wrong, "the job survives", case.wrong, missing[0], case.results[-1])


@judge("CP-17")
def revoked_stops(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows a read that was answered 401."""
    for case in about(view, rule.id):
        refused = [poll for poll in case.polls if got(poll) == 401]
        if not refused:
            continue
        more = case.after(refused[0].event, case.polls)
        yield check(not more, "no read after a 401", f"{len(more)} more", refused[0], *more[:1])
        error = (case.results[-1].data.get("said") or {}).get("error") or {}
        named = isinstance(error, dict) and error.get("class") == "auth"
        fine = not case.completes and (named or re.search(rule.params["words"], case.words, re.IGNORECASE))
        yield check(fine, "reported as a problem of the key", ending(case.results[-1]), refused[0], case.results[-1])


@judge("CP-18")
def spreads_waits(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at several tasks that are read at once: whether their median waits differ at all."""
    for case in about(view, rule.id):
        medians = [(middle(gaps(calls)), calls) for calls in by_task(case).values() if len(calls) >= 3]
        if len(medians) >= rule.params["tasks"]:
            waits = sorted(wait for wait, _calls in medians)
            apart = (waits[-1] - waits[0]) / middle(waits)
            shown = ", ".join(f"{wait:.3f}" for wait in waits)
            fine = apart >= rule.params["apart"]
            yield check(
                fine,
                "waits that differ between tasks",
                f"{shown} s: all in step",
                *(calls[0] for _wait, calls in medians),
            )
