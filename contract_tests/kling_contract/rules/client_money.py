"""Judges of what a client may cost (CM)."""

import re
from collections.abc import Iterator

from kling_common.members import member
from kling_contract.reading.ledger import reserved_by
from kling_contract.reading.view import Call, View, is_task
from kling_contract.rules.cases import Case, about, cases, completes, ending, got, outcome
from kling_contract.rules.client_pacing import hammered, obeys
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.waiting import asked_until

REFUSED = (400, 401, 402, 403, 404)
IDEMPOTENCY = "idempotency-key"


def again(case: Case, create: Call) -> list[Call]:
    """Creates that repeat *create*: in the lab, where one video is asked for, any; in a recording, those with the same body."""
    later = case.after(create.event, case.creates)
    digest = create.event.request.body.sha256
    if case.note is not None:
        return later
    same = (call for call in later if call.posted and create.posted)
    return [call for call in same if call.event.request.body.sha256 == digest]


def lost(create: Call) -> bool:
    """Whether the client cannot know what became of a create: no whole answer, or one that names no task."""
    unreadable = create.accepted and create.shown and not is_task(create.got)
    return bool(create.event.lost) or create.event.answer is None or unreadable


def _alone(view: View) -> Iterator[Case]:
    """Cases of one request: only there a second create is a repetition."""
    return (case for case in cases(view) if case.flow == "once")


def _not_again(case: Case, create: Call, what: str) -> Iterator[Check]:
    """That *create* was not sent again but with its own Idempotency-Key. A client that was ended by force might have."""
    key = create.sent_header(IDEMPOTENCY)
    wild = [call for call in again(case, create) if not key or call.sent_header(IDEMPOTENCY) != key]
    if wild or not case.forced:
        seen = f"sent again {'without' if not key else 'with another'} Idempotency-Key" if wild else ""
        yield check(not wild, f"{what}: not sent again", seen, create, *wild[:1])


@judge("CM-01")
def one_create(view: View, _: Rule) -> Iterator[Check]:
    """Looks at requests whose first create went well."""
    for case in _alone(view):
        if case.note is not None and case.creates and got(case.creates[0]) == 200 and is_task(case.creates[0].got):
            made = case.accepted
            if not case.failed and (len(made) > 1 or not case.forced):
                yield check(len(made) <= 1, "one accepted create", f"{len(made)} accepted creates", *made)


@judge("CM-02")
def lost_not_repeated(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what follows a create whose reply did not arrive."""
    for case in _alone(view):
        for create in case.creates:
            if lost(create) and create.status < 500:
                yield from _not_again(case, create, f"the reply was lost ({create.event.lost or 'unreadable'})")


@judge("CM-03")
def failure_not_repeated(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what follows a create that was answered 5xx."""
    for case in _alone(view):
        for create in case.creates:
            if got(create) >= 500:
                yield from _not_again(case, create, f"answered {got(create)}")


@judge("CM-04")
def limited_waits(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the next create after one that was answered 429, with seconds to wait."""
    for case in _alone(view):
        yield from obeys(case, case.creates, rule)


@judge("CM-05")
def refusal_not_repeated(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what follows a create that was refused; whoever reads the balance after a 402 may have found it topped up."""
    for case in _alone(view):
        for create in case.creates:
            if got(create) not in REFUSED:
                continue
            digest = create.event.request.body.sha256
            more = [call for call in again(case, create) if call.event.request.body.sha256 == digest]
            if more and got(create) == 402 and _looked(case, create, more[0]):
                continue
            if more or not case.forced:
                seen = "sent again unchanged" if more else ""
                yield check(not more, f"answered {got(create)}: not sent again", seen, create, *more[:1])


def _looked(case: Case, create: Call, following: Call) -> bool:
    """Whether the balance was read between two creates."""
    between = [call for call in case.after(create.event, case.calls) if call.event.mono < following.event.mono]
    return any(call.name == "getCredits" for call in between)


@judge("CM-06")
def failure_is_final(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates after a task was seen to have failed."""
    for case in _alone(view):
        ended = [call for call in case.polls if call.body.get("status") == "failed"]
        if not ended:
            continue
        more = case.after(ended[0].event, case.creates)
        if case.note is None:  # another request of the same user is no repetition
            earlier = (create for create in case.creates if create.posted and create.event.mono < ended[0].event.mono)
            bodies = {create.event.request.body.sha256 for create in earlier}
            more = [call for call in more if call.posted and call.event.request.body.sha256 in bodies]
        if more or not case.forced:
            seen = "created again" if more else ""
            yield check(not more, "no create after a failed task", seen, ended[0], *more[:1])


@judge("CM-13")
def limit_is_survived(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at a create that was answered 429 once, with enough time left for another."""
    for case in about(view, rule.id):
        limited = [create for create in case.creates if got(create) == 429]
        until = asked_until(limited[0]) if limited else None
        if until is None or case.forced:
            continue
        left = case.creates[0].event.at + (case.facts.deadline or until) - until
        more = case.after(limited[0].event, case.creates)
        if more or left > 0:
            yield check(more, "sent again after the wait", ending(case.last), limited[0], case.last)


@judge("CM-14")
def limit_is_respected(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at creates that are answered 429 again and again."""
    for case in about(view, rule.id):
        limited = [create for create in case.creates if got(create) == 429]
        if not limited:
            continue
        yield from hammered(limited, rule)
        fine = len(limited) <= rule.params["most"] and not case.forced
        yield check(fine, "an end of the attempts", f"{len(limited)} creates, {ending(case.last)}", *limited[-1:])


@judge("CM-07")
def lost_is_unknown(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the word of a client whose create was lost for good."""
    for case in about(view, "CM-07"):
        ours = [create for create in case.creates if create.event.lost or got(create) == 504]
        mended = any(got(create) == 200 and is_task(create.got) for create in case.creates)
        if ours and not mended and outcome(case.last):
            # Whoever looked for the task and names it knows more than that, which is better still.
            ids = {create.got["id"] for create in case.accepted}
            fine = outcome(case.last) == "unknown" or member(case.last.data, "said", "task_id") in ids
            yield check(fine, "outcome unknown", ending(case.last), ours[-1], case.last)


@judge("CM-08")
def resumed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the second run of a command whose first was killed after its create."""
    for case in about(view, "CM-08"):
        if len(case.results) == 2 and case.results[0].data["ended"] == "on purpose" and case.accepted:
            made, second = case.accepted, case.last
            expected = "the task resumed, nothing new created"
            yield check(len(made) == 1, expected, f"{len(made)} tasks created", *made, second)
            yield check(completes(second), "the resumed task completed", ending(second), second)


@judge("CM-09")
def id_survives(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the output and the files of a killed command for the id of its task."""
    for case in about(view, "CM-09"):
        first = case.results[0]
        if first.data["ended"] == "on purpose" and case.accepted:
            places = first.data["places"].get(str(case.accepted[0].got["id"]), [])
            yield check(places, "the task's id in the output or a file", "it stands nowhere", case.accepted[0], first)


@judge("CM-10")
def one_for_two(view: View, _: Rule) -> Iterator[Check]:
    """Looks at two commands for one file at once."""
    for case in about(view, "CM-10"):
        made = case.accepted
        saved = [one.ended_mono for one in case.downloads if one.status == 200 and not one.lost]
        one_after_the_other = any(end <= create.event.mono for end in saved for create in made[1:])
        if made and not one_after_the_other:
            yield check(len(made) == 1, "one create for one file", f"{len(made)} accepted creates", *made)


@judge("CM-11")
def balance_is_named(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what a client says after a 402."""
    for case in about(view, "CM-11"):
        answered = [call for call in case.creates if got(call) == 402]
        if answered:
            fine = case.speaks_of("balance", rule.params["words"])
            yield check(fine, "a word of the balance", ending(case.last), answered[0], case.last)


@judge("CM-12")
def charge_is_shown(view: View, _: Rule) -> Iterator[Check]:
    """Looks for the reserved or used credits in what a client says."""
    for case in about(view, "CM-12"):
        for create in case.accepted:
            reserved = reserved_by(create.got)
            if reserved is not None:
                shown = re.search(rf"(?<![\w.]){re.escape(f'{reserved:g}')}(?!\w)", case.words)
                yield check(shown, f"{reserved:g} credits shown", "no charge shown", create, case.last)


@judge("CM-15")
def lost_is_remembered(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at three runs of one command: the first create's reply was lost, and the second run could not connect."""
    for case in about(view, rule.id):
        ours = [create for create in case.accepted if lost(create)]
        if not ours or len(case.results) != len(("lost", "refused", "again")):
            continue
        key = ours[0].sent_header(IDEMPOTENCY)
        wild = [call for call in case.accepted[1:] if not key or call.sent_header(IDEMPOTENCY) != key]
        if wild or not case.forced:
            seen = f"a second task, created {'without' if not key else 'under another'} Idempotency-Key" if wild else ""
            yield check(not wild, "nothing created under another key", seen, ours[0], *wild[:1])
