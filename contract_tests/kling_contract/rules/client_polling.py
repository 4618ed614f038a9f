"""Judges of how a client reads a task until it is over, and whether it hangs (CP-13 `gives_up`, CP-14 `silence_ends`)."""

from collections.abc import Iterator

from kling_contract.reading.view import Call, View, links_of
from kling_contract.rules.cases import Case, about, cases, crashed, ending, got, outcome
from kling_contract.rules.judging import Check, Shown, check, doubted, implied, judge
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.waiting import by_task

_VISIT = 60.0
LONGEST_PAUSE = 60.0
"""Seconds without a read after which a client that waits for its task counts as hanging."""
_OWN_LIMIT = "not known to take a deadline; if it has a longer limit of its own, --deadline S or {deadline} in the command says so"
_OUT_OF_TIME = "its limit came before its task was over, as on a slow machine; --deadline S gives it more"


def sound(case: Case, rule_id: str, expected: str, *shown: Shown) -> Check:
    """Return the check that *case* ended as its story has it, unless the breach of another rule explains its end."""
    if case.cause not in ("", rule_id):
        return implied(case.cause, f"{case.facts.story or case.name}: {ending(case.last)}", *shown, case.last)
    ends = check(not case.wrong, expected, case.wrong, *shown, case.last)
    return doubted(ends, _OUT_OF_TIME) if case.out_of_time else ends


def right(case: Case, rule_id: str) -> Check:
    """Return the check that *case* ended as its story has it, in the story's words."""
    expected = case.facts.right
    ends = {True: "the video", False: "no success", None: "an end"}
    says = f", and the word {' or '.join(expected.says)}" if expected.says else ""
    shown = [call for call in case.polls if call.event.lost or got(call) != 200] or case.polls[-1:] or case.creates[-1:]
    return sound(case, rule_id, f"{case.facts.summary}: {ends[expected.completes]}{says}", *shown[:2])


def as_right(view: View, rule: Rule) -> Iterator[Check]:
    """That each case about *rule* ended as its story has it, once a read has shown it."""
    for case in about(view, rule.id):
        if case.polls and case.flow == "once":
            yield right(case, rule.id)


def _knows(view: View, case: Case) -> bool:
    """Whether the client was shown the end, by a read or by a genuine callback that it took: there may be nothing left to ask."""
    heard = any(one.delivered and one.event.who for one in case.attempts)
    return heard or any(got(call) == 200 and _over(view, call) for call in case.polls)


def _survived(view: View, case: Case, rule_id: str, polls: list[Call]) -> Iterator[Check]:
    """That reading went on after *polls*, and the case ended as it should. A recording may end before that is seen."""
    if case.note is None or not case.able or case.facts.right.completes is not True:
        return
    last = polls[-1]
    more = case.after(last.event, case.polls)
    what = f"answered {got(last)}" if got(last) else f"lost ({last.event.lost})"
    if more or not _knows(view, case):
        yield check(more, f"read again after a read was {what}", "never read again", last, *case.results[-1:])
    yield sound(case, rule_id, "the job survives", last)


@judge("CP-05")
def survives_errors(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows reads that were answered 5xx."""
    for case in cases(view):
        failed = [poll for poll in case.polls if got(poll) >= 500]
        if failed and case.flow == "once":
            yield from _survived(view, case, rule.id, failed)


@judge("CP-06")
def survives_cuts(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows a read whose connection was cut."""
    for case in cases(view):
        cut = [poll for poll in case.polls if poll.event.lost == "cut"]
        if cut and case.flow == "once":
            yield from _survived(view, case, rule.id, cut)


@judge("CP-07")
def stops_at_end(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at reads after one that showed the end; a few more are allowed, and one for each refused download and callback.

    Of a recording only the minute after the end counts: later reads are another visit.
    """
    for case in cases(view):
        for end, more in _after_end(view, case) if case.flow in ("once", "many") else ():
            if case.note is None:
                more = [call for call in more if call.event.mono - end.event.mono <= _VISIT]
            fine = len(more) <= _allowed(case, rule)
            yield check(fine, "no polling after the end was seen", f"{len(more)} more reads", end, *more[:2])


def _after_end(view: View, case: Case) -> Iterator[tuple[Call, list[Call]]]:
    """The first read that showed the end of each task, and the reads of it after that."""
    for calls in by_task(case).values():
        end = next((call for call in calls if got(call) == 200 and _over(view, call)), None)
        if end is not None:
            yield end, case.after(end.event, calls)


def _allowed(case: Case, rule: Rule) -> int:
    """How many reads after an end are no polling: a few, and one for each refused download and callback."""
    refused = sum(download.status not in (200, 206) for download in case.downloads)
    return int(rule.params["reads"]) + refused + len(case.attempts)


def _over(view: View, call: Call) -> bool:
    """Whether an answer shows an end that leaves nothing to ask."""
    status = call.body.get("status")
    return status in view.contract.terminal and (status != "completed" or bool(links_of(call.body)))


@judge("CP-08")
def ends_are_ends(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at tasks whose end a read showed: whether the client went on all the same, or called it unfinished."""
    for case in about(view, rule.id):
        for end, more in _after_end(view, case) if case.flow == "once" else ():
            fine = len(more) <= _allowed(case, rule) and outcome(case.last) != "gave_up"
            seen = f"{len(more)} more reads, {ending(case.last)}"
            yield check(fine, "an end of the waiting", seen, end, *more[:1], case.last)


for _rule in ("CP-09", "CP-12"):
    judge(_rule)(as_right)


def takes_any_answer(view: View, rule: Rule) -> Iterator[Check]:
    """The same, where the create's answer shows it already: a client may break down before its first read."""
    for case in about(view, rule.id):
        if case.flow != "once" or not (case.polls or case.attempts or (case.accepted and not case.spent)):
            continue  # whoever waits for a callback to its limit has not broken down
        yield right(case, rule.id)


for _rule in ("CP-10", "CP-11"):
    judge(_rule)(takes_any_answer)


@judge("CP-13")
def gives_up(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at a task that never ends, and at every client that the lab had to end for no other reason."""
    stuck = list(about(view, rule.id))
    for case in cases(view):
        if not case.results or (case not in stuck and case.cause != rule.id):
            continue
        last, shown = case.last, case.polls[-1:] or case.creates[-1:]
        if case.cause not in ("", rule.id):
            yield implied(case.cause, ending(last), *shown, last)
            continue
        ends = check(not case.forced, f"an end within {case.limit:g} s", ending(last), *shown, last)
        yield ends if case.facts.bounded or not _works(case) else doubted(ends, _OWN_LIMIT)
        if case in stuck and not case.forced and case.accepted:
            fine = not case.completes and outcome(last) in ("", "gave_up", "unknown")
            yield check(fine, "no word of success or failure: the task may still run", ending(last), *shown, last)


def _works(case: Case) -> bool:
    """Whether a client went on reading to the last, or waits for a callback, as one does that has a longer limit of its own."""
    if not case.polls:
        return case.hooked
    last_read = case.polls[-1].event.mono - case.calls[0].event.mono
    return float(case.last.data["seconds"]) - last_read < LONGEST_PAUSE


@judge("CP-23")
def names_the_task(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what a client says when it gives up."""
    for case in about(view, rule.id):
        if case.accepted and not case.forced and not case.completes:
            named = str(case.accepted[0].got["id"]) in case.words
            yield check(named, "the task's id", ending(case.last), *case.polls[-1:], case.last)


@judge("CP-14")
def silence_ends(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls that are never answered."""
    for case in about(view, "CP-14"):
        silent = [call for call in case.calls if call.event.lost == "timeout"]
        if silent:  # whoever calls again has ended the call that was not answered
            fine = not case.forced or bool(case.after(silent[0].event, case.calls))
            yield check(fine, f"an end within {case.limit:g} s", ending(case.last), silent[-1], case.last)


@judge("CP-15")
def survives_pages(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at answers that are not JSON: a read goes on, a create fails without breaking the client."""
    for case in about(view, "CP-15"):
        pages = [call for call in case.calls if call.status and not isinstance(call.got, dict)]
        if not pages:
            continue
        fine = not crashed(case.last) and "Traceback (most recent" not in case.last.data["stderr"]
        yield check(fine, "no crash", ending(case.last), pages[0], case.last)
        if pages[0].name == "getTask" and pages[0].status < 500:
            yield sound(case, rule.id, "the job survives", pages[0])
        elif pages[0].name == "getTask" and case.wrong:
            yield implied("CP-05", case.wrong, pages[0])


@judge("CP-16")
def patient_with_new(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at a first read that does not find the task."""
    for case in about(view, rule.id):
        missing = [poll for poll in case.polls[:1] if got(poll) == 404]
        if missing:
            if len(case.polls) > 1 or not _knows(view, case):
                yield check(len(case.polls) > 1, "read again", "never read again", missing[0], case.last)
            yield sound(case, rule.id, "the job survives", missing[0])


@judge("CP-17")
def revoked_stops(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what follows a read that was answered 401."""
    for case in about(view, rule.id):
        refused = [poll for poll in case.polls if got(poll) == 401]
        if not refused:
            continue
        more = case.after(refused[0].event, case.polls)
        yield check(not more, "no read after a 401", f"{len(more)} more", refused[0], *more[:1])
        fine = not case.completes and case.speaks_of("auth", rule.params["words"])
        yield check(fine, "reported as a problem of the key", ending(case.last), refused[0], case.last)
