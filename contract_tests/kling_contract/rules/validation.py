"""Judges of validation (SV): what a create must take and must refuse.

What is wrong with a body is read from the contract, so any history with such a create is judged, whoever sent it. Only
the facts of an image need a label, since a history holds its URL alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kling_common.members import member
from kling_contract.history.labels import Expect
from kling_contract.reading.addresses import is_public_neighbour, split
from kling_contract.reading.view import INCONCLUSIVE, MISSING, Call, TaskRecord, View, once
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule, rules
from kling_contract.rules.wire import STEPS_ASIDE
from kling_openapi import family


@once
def sound(view: View) -> Iterator[Call]:
    """Creates with nothing wrong in their body, sent to be answered and not refused for key, balance or rate."""
    for call in view.creates:
        right = isinstance(call.sent, dict) and not call.flaws and set(call.sent) <= view.contract.fields_of(call.sent)
        turned_away = call.probe.expect in _TURNED_AWAY or call.probe.image is not None
        if right and judged(call) and not turned_away:
            yield call


_TURNED_AWAY = (Expect.NO_ACCESS, Expect.NO_BALANCE, Expect.UNAUTHORIZED)
"""Probes whose refusal has another reason than their body, whatever its status."""


def judged(call: Call) -> bool:
    """Whether an answer says something of the body."""
    return call.status not in STEPS_ASIDE and not call.faulty and call.sent_header("idempotency-key") is None


def own(view: View, calls: Iterable[Call]) -> Iterator[Call]:
    """Those of *calls* that are creates of the document's own model, or of none that is known."""
    return (call for call in calls if view.contract.other(call.sent) is None)


def flawed(view: View, field: str, *keywords: str) -> Iterator[Call]:
    """Creates whose only flaws are those *keywords* of *field*."""
    for call in view.creates:
        found = {(flaw.field, flaw.keyword) for flaw in call.flaws}
        if found and found <= {(field, keyword) for keyword in keywords} and judged(call):
            yield call


def misused(view: View, rule: Rule, *keywords: str) -> Iterator[Call]:
    """Creates of the document's own model whose only flaws are those *keywords* of the member that *rule* is about."""
    return own(view, flawed(view, rule.params["field"], *keywords))


def _refused(calls: Iterable[Call], field: str) -> Iterator[Check]:
    for call in calls:
        sent = call.asked(field)
        shown = f"{field} {quoted(sent)}" if sent is not MISSING else f"no {field}"
        yield check(call.status == 400, f"400 for {shown}", call.status, call)


def _taken(view: View, calls: Iterable[Call], field: str, what: Callable[[Call], str]) -> Iterator[Check]:
    for call in calls:
        if not call.accepted and _about_another(view, call, field):
            continue
        yield check(call.accepted, f"{what(call)} is accepted", f"{call.status} {call.error.get('message', '')}", call)


def _about_another(view: View, call: Call, field: str) -> bool:
    """Whether a refusal is not about *field*: it names another member, or, in a recording, no member."""
    param, contract = call.error.get("param"), view.contract
    if not call.by_kit and param != field:
        return True  # what a recorded refusal was about is known from its param alone
    if not isinstance(param, str) or param == field:
        return False
    known = contract.member(param)
    if "x-image" in known:
        return True  # whether an image is taken is judged where the image is known
    if any(rules(contract)[rule].params["field"] == param for rule in _ORDINARY & {*call.probe.rules}):
        return True
    value = call.asked(param)
    if param == "callback_url":
        return value is not MISSING  # SV-19, SV-20, SV-32, SV-34 and SV-35 try what is right in one
    return _is_probed(known, value)


_ORDINARY = frozenset({"SV-06", "SV-10"})
"""Rules for which the kit tries ordinary values of a member besides the bounds."""


def _is_probed(known: dict[str, Any], value: Any) -> bool:
    """Whether *value* is one with which another rule tries the member *known*: left out, at a bound, or one of the choices."""
    if value is MISSING:
        return bool(known) and "default" not in known
    if isinstance(value, str):
        return len(value) == known.get("maxLength") or value in [it.get("const") for it in known.get("oneOf", ())]
    return isinstance(value, float) or ("minimum" in known and value in (known["minimum"], known.get("maximum")))


LOOKS_INTERNAL = re.compile(r"localhost|127\.0\.0\.1|10\.0\.0\.1|192\.168\.0\.1|172\.16\.0\.1")


def _is_neighbour(view: View, url: Any) -> bool:
    """Whether *url* leads to a plain public IPv4 address."""
    parts = split(url) if isinstance(url, str) else None
    return parts is not None and is_public_neighbour(parts.hostname or "", view.contract.internal)


@judge("SV-01")
def model_needed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates without model."""
    yield from _refused(flawed(view, "model", "required"), "model")


@judge("SV-02")
def model_known(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at creates of another model; a 403 for it is an answer, not a missing permission."""
    allowed = rule.params["statuses"]
    for call in view.creates:
        found = {(flaw.field, flaw.keyword) for flaw in call.flaws}
        named = call.asked("model")
        sibling = isinstance(named, str) and named in family().models  # which a server may serve
        other = found and found <= {("model", "const"), ("model", "type")} and not sibling
        if other and not call.faulty and call.status not in INCONCLUSIVE - set(allowed):
            yield check(call.status in allowed, f"one of {allowed} for {quoted(named)}", call.status, call)


_WRONG = {
    "SV-03": ("required",),
    "SV-04": ("type", "pattern", "format"),
    "SV-07": ("type",),
    "SV-08": ("minimum",),
    "SV-09": ("maximum",),
    "SV-16": ("not",),
}
"""Rules that say how the member that they are about must not be, and the keywords by which the contract says so."""


def wrong_member(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at creates in which only the rule's member is wrong, by the keywords of that rule alone."""
    yield from _refused(misused(view, rule, *_WRONG[rule.id]), rule.params["field"])


for _rule in _WRONG:
    judge(_rule)(wrong_member)


@judge("SV-05")
def prompt_optional(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at right creates without a prompt."""
    field = rule.params["field"]
    without = (call for call in own(view, sound(view)) if call.asked(field) is MISSING)
    yield from _taken(view, without, field, lambda _: f"no {field}")


@judge("SV-06")
def prompt_length(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at prompts of the greatest length and beyond."""
    longest = (call for call in own(view, sound(view)) if _is_tried(view, rule, call))
    yield from _lengths(view, rule.params["field"], misused(view, rule, "maxLength"), longest)


def _lengths(view: View, field: str, beyond: Iterable[Call], longest: Iterable[Call]) -> Iterator[Check]:
    """That a text *beyond* the limit is refused, and the *longest* one is taken."""

    def shown(call: Call) -> str:
        return f"a {field} of {_length(call.asked(field))} characters"

    for call in beyond:
        yield check(call.status == 400, f"400 for {shown(call)}", call.status, call)
    yield from _taken(view, longest, field, shown)


def _is_tried(view: View, rule: Rule, call: Call) -> bool:
    """Whether a prompt is one of the greatest length, or one of ordinary length with which the kit tries its characters."""
    length = _length(call.asked(rule.params["field"]))
    return length == view.contract.prompt_max or (length > 0 and rule.id in call.probe.rules)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else -1


@judge("SV-10")
def duration_bounds(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at right creates with either bound, and with what the kit tries between; one written with a point is SV-31's."""
    field = rule.params["field"]
    bounds = (view.contract.duration_min, view.contract.duration_max)
    whole = (call for call in own(view, sound(view)) if not isinstance(call.asked(field), float))
    calls = (call for call in whole if call.asked(field) in bounds or rule.id in call.probe.rules)
    yield from _taken(view, calls, field, lambda call: f"{field} {call.asked(field)}")


@judge("SV-11")
def duration_integer(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at durations of another type; one that is out of bounds as well is refused for either."""
    calls = misused(view, rule, "type", "minimum", "maximum")
    wrong = (call for call in calls if any(flaw.keyword == "type" for flaw in call.flaws))
    yield from _refused(wrong, rule.params["field"])


@judge("SV-12")
def duration_default(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at tasks made without a duration: what they say of themselves, and how long their video plays."""
    field = rule.params["field"]
    default = view.contract.duration_default
    for task in _made_without(view, field):
        said = member(task.create.got, "task_info", "video_duration") if task.create else None
        if said is not None:
            yield check(said == default, f"task_info.video_duration {default}", quoted(said), task.create)
        for download, video in task.videos:
            near = abs(video.duration - default) <= rule.params["seconds"]
            yield check(near, f"a video of {default} s", f"{video.duration:g} s", task.create, download)


def _made_without(view: View, field: str) -> Iterator[TaskRecord]:
    for task in view.tasks.values():
        if task.create is None or not isinstance(task.create.sent, dict) or view.contract.other(task.create.sent):
            continue
        if field not in task.create.sent:
            yield task


@judge("SV-13")
def no_4k(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the one quality that the document names as not supported."""
    calls = (call for call in _other_choice(view, rule) if call.asked(rule.params["field"]) == rule.params["value"])
    yield from _refused(calls, rule.params["field"])


@judge("SV-14")
def no_other_quality(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at any other value of quality, whatever its type."""
    calls = (call for call in _other_choice(view, rule) if call.asked(rule.params["field"]) != rule.params["but"])
    yield from _refused(calls, rule.params["field"])


def _other_choice(view: View, rule: Rule) -> Iterator[Call]:
    return misused(view, rule, "oneOf", "type", "enum")


@judge("SV-15")
def qualities_taken(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at right creates by quality, and at the video's short side where none was asked for."""
    field = rule.params["field"]
    named = (call for call in own(view, sound(view)) if call.asked(field) in view.contract.qualities)
    yield from _taken(view, named, field, lambda call: f"{field} {call.asked(field)}")
    side = view.contract.qualities[view.contract.quality_default]
    for task in _made_without(view, field):
        for download, video in task.videos:
            short = min(video.width, video.height)
            yield check(short == side, f"{side} px on the short side", f"{short} px", task.create, download)


@judge("SV-17")
def callback_https(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs that are not https, and at values that are no URL."""
    yield from _refused(flawed(view, "callback_url", "scheme", "type", "format", "pattern"), "callback_url")


@judge("SV-18")
def callback_public(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs whose host is internal, in any spelling; one behind an @ is SV-33's."""
    calls = (call for call in flawed(view, "callback_url", "internal") if not before_at(call.asked("callback_url")))
    yield from _refused(calls, "callback_url")


def before_at(url: Any) -> str:
    """What stands before the @ of a URL's host; empty where there is none."""
    parts = split(url) if isinstance(url, str) else None
    return parts.netloc.rpartition("@")[0] if parts else ""


@judge("SV-33")
def callback_behind_at(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs whose internal host stands behind an @."""
    calls = (call for call in flawed(view, "callback_url", "internal") if before_at(call.asked("callback_url")))
    yield from _refused(calls, "callback_url")


@judge("SV-19")
def callback_length(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs of the greatest length and beyond."""
    longest = (call for call in sound(view) if _length(call.asked("callback_url")) == view.contract.callback_url_max)
    yield from _lengths(view, "callback_url", flawed(view, "callback_url", "maxLength"), longest)


@judge("SV-20")
def callback_neighbours(view: View, _: Rule) -> Iterator[Check]:
    """Looks at right creates whose callback host is a public IPv4 address."""
    for call in sound(view):
        url = call.asked("callback_url")
        if _is_neighbour(view, url):
            yield check(call.accepted, f"{url} is accepted", call.status, call)
