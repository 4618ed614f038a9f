"""Judges of validation (SV): what a create must take and must refuse.

What is wrong with a body is read from the contract, so any history with such a create is judged, whoever sent it. Only
the facts of an image need a label, since a history holds its URL alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kling_contract.history.labels import Expect, ImageFacts
from kling_contract.reading.addresses import is_public_neighbour, split
from kling_contract.reading.contract import ImageLimits
from kling_contract.reading.view import INCONCLUSIVE, MISSING, Call, TaskRecord, View
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.wire import STEPS_ASIDE
from kling_openapi import family


def sound(view: View) -> Iterator[Call]:
    """Creates with nothing wrong in their body, sent to be answered and not refused for key, balance or rate."""
    for call in view.creates:
        unnamed = isinstance(call.sent, dict) and set(call.sent) - view.contract.request_fields
        if (
            isinstance(call.sent, dict)
            and not call.flaws
            and not unnamed
            and judged(call)
            and call.probe.image is None
            and call.probe.expect not in _TURNED_AWAY
        ):
            yield call


_TURNED_AWAY = (Expect.NO_ACCESS, Expect.NO_BALANCE, Expect.UNAUTHORIZED)
"""Probes whose refusal has another reason than their body, whatever its status."""


def judged(call: Call) -> bool:
    """Whether an answer says something of the body."""
    return call.status not in STEPS_ASIDE and not call.faulty and call.sent_header("idempotency-key") is None


def flawed(view: View, field: str, *keywords: str) -> Iterator[Call]:
    """Creates whose only flaws are those *keywords* of *field*."""
    for call in view.creates:
        found = {(flaw.field, flaw.keyword) for flaw in call.flaws}
        if found and found <= {(field, keyword) for keyword in keywords} and judged(call):
            yield call


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
    if param == "image_start":
        return True  # whether an image is taken is judged where the image is known
    value = call.asked(param)
    watched = {
        "prompt": value is MISSING or _length(value) == contract.prompt_max,
        "duration": isinstance(value, float) or value in (contract.duration_min, contract.duration_max),
        "quality": isinstance(value, str) and value in contract.qualities,
        "callback_url": _length(value) == contract.callback_url_max or _looks_public(view, value),
    }
    return watched.get(param, False)


LOOKS_INTERNAL = re.compile(r"localhost|127\.0\.0\.1|10\.0\.0\.1|192\.168\.0\.1|172\.16\.0\.1")


def _looks_public(view: View, url: Any) -> bool:
    return _is_neighbour(view, url) or bool(LOOKS_INTERNAL.search(str(url)))


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


@judge("SV-03")
def image_needed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates without image_start."""
    yield from _refused(flawed(view, "image_start", "required"), "image_start")


@judge("SV-04")
def image_is_url(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates whose image_start is no http(s) URL."""
    yield from _refused(flawed(view, "image_start", "type", "pattern", "format"), "image_start")


@judge("SV-05")
def prompt_optional(view: View, _: Rule) -> Iterator[Check]:
    """Looks at right creates without a prompt."""
    yield from _taken(
        view, (call for call in sound(view) if call.asked("prompt") is MISSING), "prompt", lambda _: "no prompt"
    )


@judge("SV-06")
def prompt_length(view: View, _: Rule) -> Iterator[Check]:
    """Looks at prompts of the greatest length and beyond."""
    for call in flawed(view, "prompt", "maxLength"):
        length = len(call.asked("prompt"))
        yield check(call.status == 400, f"400 for a prompt of {length} characters", call.status, call)
    longest = (call for call in sound(view) if _length(call.asked("prompt")) == view.contract.prompt_max)
    yield from _taken(view, longest, "prompt", lambda call: f"a prompt of {_length(call.asked('prompt'))} characters")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else -1


@judge("SV-07")
def prompt_is_text(view: View, _: Rule) -> Iterator[Check]:
    """Looks at prompts that are no string."""
    yield from _refused(flawed(view, "prompt", "type"), "prompt")


@judge("SV-08")
def duration_low(view: View, _: Rule) -> Iterator[Check]:
    """Looks at durations below the least."""
    yield from _refused(flawed(view, "duration", "minimum"), "duration")


@judge("SV-09")
def duration_high(view: View, _: Rule) -> Iterator[Check]:
    """Looks at durations above the greatest."""
    yield from _refused(flawed(view, "duration", "maximum"), "duration")


@judge("SV-10")
def duration_bounds(view: View, _: Rule) -> Iterator[Check]:
    """Looks at right creates with either bound."""
    bounds = (view.contract.duration_min, view.contract.duration_max)
    calls = (call for call in sound(view) if call.asked("duration") in bounds)
    yield from _taken(view, calls, "duration", lambda call: f"duration {call.asked('duration')}")


@judge("SV-11")
def duration_integer(view: View, _: Rule) -> Iterator[Check]:
    """Looks at durations of another type."""
    yield from _refused(flawed(view, "duration", "type"), "duration")


@judge("SV-12")
def duration_default(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at tasks made without a duration: what they say of themselves, and how long their video plays."""
    default = view.contract.duration_default
    for task in _made_without(view, "duration"):
        said = _said_duration(task)
        if said is not None:
            yield check(said == default, f"task_info.video_duration {default}", quoted(said), task.create)
        for download in task.downloads:
            if download.video and not download.video.error:
                near = abs(download.video.duration - default) <= rule.params["seconds"]
                yield check(near, f"a video of {default} s", f"{download.video.duration:g} s", task.create, download)


def _made_without(view: View, field: str) -> Iterator[TaskRecord]:
    for task in view.tasks.values():
        if task.create is not None and isinstance(task.create.sent, dict) and field not in task.create.sent:
            yield task


def _said_duration(task: TaskRecord) -> Any:
    info = task.create.got.get("task_info") if task.create else None
    return info.get("video_duration") if isinstance(info, dict) else None


@judge("SV-13")
def no_4k(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the one quality that the document names as not supported."""
    calls = (call for call in _other_quality(view) if call.asked("quality") == rule.params["value"])
    yield from _refused(calls, "quality")


@judge("SV-14")
def no_other_quality(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at any other value of quality, whatever its type."""
    calls = (call for call in _other_quality(view) if call.asked("quality") != rule.params["but"])
    yield from _refused(calls, "quality")


def _other_quality(view: View) -> Iterator[Call]:
    return flawed(view, "quality", "oneOf", "type", "enum")


@judge("SV-15")
def qualities_taken(view: View, _: Rule) -> Iterator[Check]:
    """Looks at right creates by quality, and at the video's short side where none was asked for."""
    named = (call for call in sound(view) if call.asked("quality") in view.contract.qualities)
    yield from _taken(view, named, "quality", lambda call: f"quality {call.asked('quality')}")
    side = view.contract.qualities[view.contract.quality_default]
    for task in _made_without(view, "quality"):
        for download in task.downloads:
            if download.video and not download.video.error:
                short = min(download.video.width, download.video.height)
                yield check(short == side, f"{side} px on the short side", f"{short} px", task.create, download)


@judge("SV-16")
def no_aspect_ratio(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with aspect_ratio."""
    yield from _refused(flawed(view, "aspect_ratio", "not"), "aspect_ratio")


@judge("SV-17")
def callback_https(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs that are not https, and at values that are no URL."""
    yield from _refused(flawed(view, "callback_url", "scheme", "type", "format", "pattern"), "callback_url")


@judge("SV-18")
def callback_public(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs whose host is internal, in any spelling."""
    yield from _refused(flawed(view, "callback_url", "internal"), "callback_url")


@judge("SV-19")
def callback_length(view: View, _: Rule) -> Iterator[Check]:
    """Looks at callback URLs of the greatest length and beyond."""
    for call in flawed(view, "callback_url", "maxLength"):
        length = _length(call.asked("callback_url"))
        yield check(call.status == 400, f"400 for a callback_url of {length} characters", call.status, call)
    longest = (call for call in sound(view) if _length(call.asked("callback_url")) == view.contract.callback_url_max)
    yield from _taken(
        view,
        longest,
        "callback_url",
        lambda call: f"a callback_url of {_length(call.asked('callback_url'))} characters",
    )


@judge("SV-20")
def callback_neighbours(view: View, _: Rule) -> Iterator[Check]:
    """Looks at right creates whose callback host is a public IPv4 address."""
    for call in sound(view):
        url = call.asked("callback_url")
        if _is_neighbour(view, url):
            yield check(call.accepted, f"{url} is accepted", call.status, call)


def _pictured(view: View, aspect: Callable[[ImageFacts, ImageLimits], bool | None]) -> Iterator[Check]:
    """A check for each create whose image is right or wrong in one aspect alone; *aspect* says None for neither."""
    for call in view.creates:
        image = call.probe.image
        good = aspect(image, view.contract.image) if image else None
        if image is None or good is None or call.flaws or not judged(call):
            continue
        outcome, shown = _outcome(view, call)
        what = f"{image.fault or image.format} of {image.width}x{image.height}, {image.size} bytes"
        if outcome is not None:
            yield check(outcome is good, f"{what} is {'taken' if good else 'refused'}", shown, call)


def _outcome(view: View, call: Call) -> tuple[bool | None, str]:
    """Whether the image was taken: a 400 and a failed task say no, a completed task yes; None while it is not known."""
    if not call.accepted:
        return (False if 400 <= call.status < 500 else None), f"{call.status} {call.error.get('message', '')}"
    task = next((task for task in view.tasks.values() if task.create is call), None)
    end = task.end if task else None
    if end is None:
        return None, "a task without an end"
    return end.status == "completed", f"a task that ended as {end.status}"


def sides_right(image: ImageFacts, limits: ImageLimits) -> bool:
    """Whether both sides are long enough."""
    return min(image.width, image.height) >= limits.min_side


def ratio_right(image: ImageFacts, limits: ImageLimits) -> bool:
    """Whether width to height lies within both bounds, which are included."""
    return limits.ratio_min * image.height <= image.width <= limits.ratio_max * image.height


def size_right(image: ImageFacts, limits: ImageLimits) -> bool | None:
    """Whether it is small enough in either reading of the limit; None in between."""
    if image.size <= limits.safe_bytes:
        return True
    return False if image.size > limits.max_bytes else None


def _sane(image: ImageFacts, limits: ImageLimits, *but: str) -> bool:
    """Whether everything *but* the named aspects is right."""
    found = {
        "sides": sides_right(image, limits),
        "ratio": ratio_right(image, limits),
        "size": size_right(image, limits),
        "format": image.format in limits.formats,
        "fault": not image.fault,
    }
    return all(value for name, value in found.items() if name not in but)


@judge("SV-21")
def image_sides(view: View, _: Rule) -> Iterator[Check]:
    """Looks at images with the least side, or less, and all else right."""

    def aspect(image: ImageFacts, limits: ImageLimits) -> bool | None:
        near = min(image.width, image.height) <= limits.min_side
        inside = limits.ratio_min * image.height < image.width < limits.ratio_max * image.height
        return sides_right(image, limits) if near and inside and _sane(image, limits, "sides") else None

    yield from _pictured(view, aspect)


@judge("SV-22")
def image_ratio(view: View, _: Rule) -> Iterator[Check]:
    """Looks at images at a bound of the ratio, or beyond, and all else right."""

    def aspect(image: ImageFacts, limits: ImageLimits) -> bool | None:
        ratio = image.width / image.height if image.height else 0
        near = not limits.ratio_min < ratio < limits.ratio_max
        return ratio_right(image, limits) if near and _sane(image, limits, "ratio") else None

    yield from _pictured(view, aspect)


@judge("SV-23")
def image_size(view: View, _: Rule) -> Iterator[Check]:
    """Looks at images just under and over the limit: the upper half of what is fine, and what is not."""

    def aspect(image: ImageFacts, limits: ImageLimits) -> bool | None:
        near = image.size > limits.safe_bytes / 2
        return size_right(image, limits) if near and _sane(image, limits, "size") else None

    yield from _pictured(view, aspect)


@judge("SV-24")
def image_format(view: View, _: Rule) -> Iterator[Check]:
    """Looks at images of any format with all else right."""

    def aspect(image: ImageFacts, limits: ImageLimits) -> bool | None:
        return image.format in limits.formats if _sane(image, limits, "format") else None

    yield from _pictured(view, aspect)


@judge("SV-25")
def image_broken(view: View, _: Rule) -> Iterator[Check]:
    """Looks at truncated images and at bytes that are no image."""
    for call in view.creates:
        if call.probe.image and call.probe.image.fault in ("truncated", "not-an-image") and judged(call):
            outcome, shown = _outcome(view, call)
            if outcome is not None or call.status >= 500:
                yield check(outcome is False, f"{call.probe.image.fault}: refused", shown, call)
