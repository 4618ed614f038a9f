"""Judges of first frames (SV-21 to SV-25): what a picture must be. A label says what it is, since a history holds its URL alone."""

from collections.abc import Callable, Iterator

from kling_contract.history.labels import ImageFacts
from kling_contract.reading.documented import ImageLimits
from kling_contract.reading.view import Call, View
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.validation import judged


def _pictured(view: View, aspect: Callable[[ImageFacts, ImageLimits], bool | None]) -> Iterator[Check]:
    """A check for each create whose image is right or wrong in one aspect alone; *aspect* says None for neither."""
    for call in view.creates:
        image = call.probe.image
        good = aspect(image, view.contract.image) if image else None
        if image is None or good is None or call.flaws or not judged(call) or view.contract.other(call.sent):
            continue
        outcome, shown = what_became(view, call)
        what = f"{image.fault or image.format} of {image.width}x{image.height}, {image.size} bytes"
        if outcome is not None:
            yield check(outcome is good, f"{what} is {'taken' if good else 'refused'}", shown, call)


def what_became(view: View, call: Call) -> tuple[bool | None, str]:
    """Whether the image was taken: a 400 and a failed task say no, a completed task yes; None while it is not known."""
    if not call.accepted:
        return (False if 400 <= call.status < 500 else None), f"{call.status} {call.error.get('message', '')}"
    task = view.made_by(call)
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
            outcome, shown = what_became(view, call)
            if outcome is not None or call.status >= 500:
                yield check(outcome is False, f"{call.probe.image.fault}: refused", shown, call)
