"""Judges of a client's webhook receiver (CW)."""

from collections.abc import Iterator

from kling_common.members import member
from kling_contract.reading.view import Attempt, View, is_task
from kling_contract.rules.attempts import took
from kling_contract.rules.cases import Case, about
from kling_contract.rules.client_polling import right, sound
from kling_contract.rules.judging import Check, check, implied, judge
from kling_contract.rules.rulebook import Rule

FORGED = "callback-forged"
"""The scenario whose callback goes to the registered URL and says what is not so."""


def genuine(case: Case) -> list[Attempt]:
    """Callbacks that the service sent."""
    return [attempt for attempt in case.attempts if attempt.event.who]


def forged(case: Case) -> list[Attempt]:
    """Callbacks that the kit forged."""
    return [attempt for attempt in case.attempts if not attempt.event.who]


def late(view: View, case: Case) -> list[Attempt]:
    """Callbacks that were not answered in time: the service sends them again, so that they are handled more than once."""
    return [attempt for attempt in genuine(case) if took(attempt) >= view.contract.timeout]


def secret(case: Case) -> bool:
    """Whether the client put something of its own into its callback URL: who knows that was given it."""
    asked = [create.asked("callback_url") for create in case.creates]
    return any(isinstance(url, str) and url[:200] != case.facts.callback_url for url in asked)


def once(view: View, case: Case) -> Iterator[Check]:
    """That the task's end had one effect: one whole download, and one effect reported where any is."""
    shown = genuine(case)
    slow = late(view, case)
    if slow:
        yield implied("CW-01", "a callback that was not answered in time came again", *slow[:1])
        return
    whole = [one for one in case.downloads if one.status == 200 and not one.lost and not one.asked_range]
    yield check(len(whole) <= 1, "one download", f"{len(whole)} downloads", *shown[:2], *whole)
    for note in case.results:
        effects = member(note.data, "said", "effects")
        if effects is not None:
            yield check(effects == 1, "one effect", f"{effects} effects", *shown[:2], note)


@judge("CW-01")
def answers_in_time(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callbacks that found a receiver."""
    for case in about(view, "CW-01"):
        for attempt in genuine(case):
            if attempt.answered or took(attempt) >= view.contract.timeout:
                seen = f"{attempt.answered or 'no answer'} after {took(attempt):.1f} s"
                yield check(attempt.delivered and took(attempt) < view.contract.timeout, "2xx in time", seen, attempt)


@judge("CW-02")
def answers_before_work(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the answer to a callback whose video takes its time: it must not take half as long."""
    for case in about(view, "CW-02"):
        slow = float(str(case.facts.params.get("lasts", "inf")).removesuffix("s"))
        if slow_to_answer := late(view, case):
            yield implied("CW-01", f"no answer in {view.contract.timeout:g} s", slow_to_answer[0])
            continue
        for attempt in genuine(case):
            if attempt.answered:
                limit = slow * rule.params["share"]
                expected = f"an answer before the video, in {limit:g} s"
                yield check(took(attempt) < limit, expected, f"after {took(attempt):.2f} s", attempt)


@judge("CW-03")
@judge("CW-05")
def one_effect(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at a callback that came twice, or would have; and at tasks whose end a read and a callback show."""
    for case in about(view, rule.id):
        if genuine(case):
            yield from once(view, case)
            yield right(case, rule.id)


@judge("CW-04")
def early_is_kept(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a callback that came before the create's own reply."""
    for case in about(view, "CW-04"):
        for attempt in genuine(case)[:1]:
            yield check(attempt.delivered, "2xx", attempt.answered or "no answer", attempt)
            yield right(case, "CW-04")


@judge("CW-06")
def reading_wins(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callbacks that contradict what a read shows."""
    for case in about(view, "CW-06"):
        forgery = case.facts.scenario == FORGED and secret(case)
        if any(attempt.answered for attempt in genuine(case)) and not forgery:
            yield _with(case, "CW-06", genuine(case)[0])


def _with(case: Case, rule_id: str, attempt: Attempt) -> Check:
    return sound(case, rule_id, f"{case.facts.summary}: what a read shows counts", attempt)


def _answer(attempt: Attempt) -> int | str:
    """The status that an attempt was answered with; where it was not, how it ended."""
    return attempt.answered or attempt.event.ended


@judge("CW-07")
def unknown_is_nothing(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a forged callback for an unknown task."""
    for case in about(view, "CW-07"):
        for attempt in forged(case):
            yield check(0 < attempt.answered < 500, "an answer, and no crash", _answer(attempt), attempt)
            yield _with(case, "CW-07", attempt)


@judge("CW-08")
def confirms(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callbacks that say a task is completed while it is not."""
    for case in about(view, "CW-08"):
        for attempt in (*forged(case), *genuine(case))[:1]:
            if not attempt.answered or (attempt.event.who and secret(case)):
                continue
            fetched = case.elsewhere
            expected = "nothing done on the callback's word"
            yield check(not fetched, expected, "its link was fetched", attempt, *fetched[:1])
            yield _with(case, "CW-08", attempt)


@judge("CW-09")
def rubbish_is_refused(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at bodies that are not JSON or far too large; a large one may be cut off."""
    for case in about(view, "CW-09"):
        for attempt in forged(case):
            large = attempt.event.request.body.size > rule.params["bytes"]
            if attempt.event.method == "POST" and (large or not is_task(attempt.body)):
                fine = 400 <= attempt.answered < 500 or (large and attempt.event.ended == "cut")
                what = f"{attempt.event.request.body.size} bytes" if large else "no JSON"
                yield check(fine, f"{what}: refused with 4xx", _answer(attempt), attempt)
                yield _with(case, "CW-09", attempt)


@judge("CW-10")
def only_post(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a GET on the receiver's path."""
    for case in about(view, "CW-10"):
        for attempt in forged(case):
            if attempt.event.method != "POST":
                expected = f"{attempt.event.method}: 405, or another 4xx"
                yield check(400 <= attempt.answered < 500, expected, _answer(attempt), attempt)


@judge("CW-11")
def polling_suffices(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a task whose callback never comes."""
    for case in about(view, "CW-11"):
        if case.polls or case.accepted:
            yield right(case, "CW-11")


@judge("CW-12")
def takes_what_it_answers(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a callback that cannot be confirmed just now: 5xx asks for another, 2xx promises to see to it."""
    for case in about(view, "CW-12"):
        answered = [attempt for attempt in genuine(case) if attempt.answered]
        if any(attempt.delivered for attempt in answered):
            yield _with(case, "CW-12", answered[0])
        elif answered:
            fine = all(attempt.answered >= 500 for attempt in answered)
            yield check(fine, "5xx", answered[0].answered, answered[0])


@judge("CW-13")
def fetches_nothing_strange(view: View, _: Rule) -> Iterator[Check]:
    """Looks at whatever a client fetched from the host that a callback named."""
    for case in about(view, "CW-13"):
        for attempt in (*forged(case), *genuine(case))[:1]:
            if attempt.event.who and secret(case):
                continue
            strange = [call for call in case.elsewhere if call.event.method in ("GET", "HEAD")]
            seen = strange[0].event.url if strange else ""
            yield check(not strange, "nothing fetched from a host that a callback names", seen, attempt, *strange[:1])
