"""Judges of validation, second part (SV-27 to SV-30): what refusals leave behind, bodies that are no object, the ratio."""

from collections.abc import Iterator

from kling_common.members import member
from kling_contract.reading.ledger import windows
from kling_contract.reading.view import INCONCLUSIVE, MISSING, Call, View, is_task
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.validation import LOOKS_INTERNAL, before_at, judged, own, sound
from kling_contract.rules.wire import STEPS_ASIDE

PLAIN = "a user name"
"""What the driver calls something before an @ that looks like nothing else."""


@judge("SV-27")
def refusal_leaves_nothing(view: View, _: Rule) -> Iterator[Check]:
    """Looks at answers of 400, at the account's list of tasks around them, and at its credits."""
    for call in view.creates:
        if call.status == 400 and not call.faulty:
            yield check(not is_task(call.got), "no task in a refusal", "a task in the answer", call)
    for window in windows(view):
        refused = [call for call in window.calls if call.name == "createVideo" and call.status == 400]
        if refused and window.quiet and all(_is_still(call) for call in window.calls):
            yield check(window.spent == 0, "credits unmoved", f"{window.spent:g} credits gone", *refused, window.after)
    yield from lists_around(view, 400)


def _is_still(call: Call, status: int = 400) -> bool:
    """Whether a call moves nothing by rights: a create refused with *status*, or anything that is no create."""
    return call.name != "createVideo" or call.status == status


def lists_around(view: View, status: int) -> Iterator[Check]:
    """The total of two lists of one account with nothing but creates refused with *status* between them."""
    for who in view.whos:
        before: Call | None = None
        refused: list[Call] = []
        for call in (call for call in view.calls if call.event.who == who):
            if call.name == "createVideo":
                refused.append(call)
            total = _total(call)
            if total is None:
                continue
            still = refused and all(_is_still(made, status) for made in refused)
            if before is not None and before.event.url == call.event.url and still:
                wanted = _total(before)
                yield check(total == wanted, f"{wanted} tasks", f"{total} tasks", before, *refused, call)
            before, refused = call, []


def _total(call: Call) -> int | None:
    total = call.body.get("total") if call.name == "listTasks" else None
    return total if isinstance(total, int) else None


@judge("SV-28")
def refusal_repeats(view: View, _: Rule) -> Iterator[Check]:
    """Looks at refused bodies that one account sent more than once."""
    first: dict[tuple[str, str], Call] = {}
    for call in view.creates:
        if call.status in INCONCLUSIVE or call.status < 400 or call.faulty or not call.event.request.body.size:
            continue
        earlier = first.setdefault((call.event.who, call.event.request.body.sha256), call)
        if earlier is not call:
            yield check(_refusal(call) == _refusal(earlier), _refusal(earlier), _refusal(call), earlier, call)


def _refusal(call: Call) -> str:
    return f"{call.status} code {call.error.get('code')} param {call.error.get('param')}"


@judge("SV-29")
def body_is_object(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates whose body is no JSON object: another value, nothing, or no JSON."""
    for call in view.creates:
        body = call.event.request.body
        cut = call.sent is MISSING and (body.truncated or body.unseen)
        no_object = not isinstance(call.sent, dict) and not cut
        if no_object and call.status not in STEPS_ASIDE and not call.faulty:
            yield check(call.status == 400, f"400 for {(body.text or 'bytes')[:40]!r}", call.status, call)


@judge("SV-26")
def image_unreachable(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at images that cannot be fetched."""
    code = rule.params["code"]
    for call in view.creates:
        if call.probe.image is None or call.probe.image.fault != "unreachable" or not judged(call):
            continue
        task = view.made_by(call)
        if task is None:
            yield check(call.status == 400, f"400, or a task that fails with {code}", call.status, call)
        elif task.end is not None:
            seen = member(task.end.body, "error", "code")
            failed = task.end.status == "failed" and seen == code
            yield check(failed, f"a task that fails with {code}", f"{task.end.status} {seen or ''}", call, task.end)


@judge("SV-31")
def whole_number_in_any_spelling(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at right creates whose duration is written with a point."""
    field = rule.params["field"]
    for call in own(view, sound(view)):
        value = call.asked(field)
        if isinstance(value, float):
            yield check(call.accepted, f"{field} {value} is accepted", call.status, call)


@judge("SV-32")
def looks_do_not_count(view: View, _: Rule) -> Iterator[Check]:
    """Looks at right creates whose callback URL contains an internal address where none counts: in its name, path or query."""
    for call in sound(view):
        url = call.asked("callback_url")
        if isinstance(url, str) and (LOOKS_INTERNAL.search(url) or "SV-32" in call.probe.rules) and not before_at(url):
            yield check(call.accepted, f"{url} is accepted", call.status, call)


@judge("SV-34")
def user_does_not_count(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at right creates whose callback URL has something before its @: all are accepted, or all are refused.

    Recorders hide what stands there, so the driver says what it was.
    """
    calls = [call for call in sound(view) if before_at(call.asked("callback_url")) and rule.id in call.probe.rules]
    plain = next((call for call in calls if call.probe.value == PLAIN), None)
    for call in calls:
        if plain is not None and call is not plain:
            expected = f"{plain.status}, as for a user name"
            yield check(call.accepted == plain.accepted, expected, f"{call.status} for {call.probe.value}", plain, call)


@judge("SV-35")
def public_urls_are_taken(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at right creates with the public callback URLs of the kit that are written in another way than most."""
    for call in sound(view):
        if rule.id in call.probe.rules:
            yield check(call.accepted, f"{call.asked('callback_url')} is accepted", call.status, call)


@judge("SV-30")
def video_ratio(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at decoded videos of tasks whose first frame is known."""
    for task in view.tasks.values():
        image = task.probe.image
        for download, video in task.videos:
            if image and image.height and video.height:
                wanted, got = image.width / image.height, video.width / video.height
                near = abs(got - wanted) <= rule.params["share"] * wanted
                expected = f"the ratio of {image.width}x{image.height}"
                yield check(near, expected, f"{video.width}x{video.height}", task.create, download)
