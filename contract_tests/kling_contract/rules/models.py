"""Judges of models (SM): a create is held to the file of the model that it names, and its task to what that file says it gives.

They look at creates of every model but the document's own, and at that one too where a run asks for it by its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kling_common.members import member
from kling_contract.history.events import Download, VideoFacts
from kling_contract.history.labels import MediumFacts
from kling_contract.reading import prices
from kling_contract.reading.ledger import reserved
from kling_contract.reading.media import facts_in, facts_of
from kling_contract.reading.view import Call, TaskRecord, View, once
from kling_contract.rules.billing import CENT, credits_used
from kling_contract.rules.frames import what_became
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.validation import judged, sound
from kling_openapi.media import Facts, Limits, complaint
from kling_openapi.model import Model, Quote
from kling_openapi.output import Size, pixels
from kling_openapi.schemas import parts, spelled

_OTHERS = frozenset({"model", "callback_url"})
"""Members that other rules speak of, whatever the model."""


@once
def _held(view: View) -> Iterator[tuple[Call, Model]]:
    """Creates with a JSON object, and the model whose file they are held to."""
    for call in view.creates:
        model = view.contract.held_to(call.sent) if isinstance(call.sent, dict) else None
        if model is not None:
            yield call, model


@judge("SM-01")
def wrong_is_refused(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with something wrong in them by their model's file."""
    for call, model in _held(view):
        flaws = [flaw for flaw in call.flaws if flaw.field not in _OTHERS]
        if flaws and len(flaws) == len(call.flaws) and judged(call):
            yield check(call.status == 400, f"400 by the file of {model.name}: {flaws[0]}", call.status, call)


@judge("SM-02")
def right_is_taken(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with nothing wrong in them, and of whose media nothing wrong is known."""
    right = {call.event.seq for call in sound(view)}
    for call, model in _held(view):
        if call.event.seq in right and _media_fit(model, call) and (call.accepted or _is_about_it(model, call)):
            seen = f"{call.status} {call.error.get('message', '')}"
            yield check(call.accepted, f"accepted by the file of {model.name}: {quoted(call.sent)}", seen, call)


def _media_fit(model: Model, call: Call) -> bool:
    """Whether every medium of which something is known is surely within its limits."""
    labels = {it.param: it for it in call.probe.media}
    return all(
        _fits(medium.limits, labels[spelled(medium.steps)]) is True
        for medium in model.media(call.sent)
        if spelled(medium.steps) in labels
    )


def _is_about_it(model: Model, call: Call) -> bool:
    """Whether a refusal is one of the body: not of a medium that nothing is known of, and in a recording not of something unnamed."""
    param = call.error.get("param")
    if isinstance(param, str) and param in _OTHERS:
        return False
    labels = {it.param for it in call.probe.media}
    unknown = {spelled(medium.steps) for medium in model.media(call.sent)} - labels
    tops = {name.partition("[")[0].partition(".")[0] for name in unknown}
    if isinstance(param, str) and (param in unknown or param in tops):
        return False
    return call.by_kit or isinstance(param, str)


def _fits(limits: Limits, known: MediumFacts) -> bool | None:
    """Whether a medium is within *limits*; None where the two readings of "MB" differ."""
    if known.fault or complaint(limits, facts_of(known)) is not None:
        return False
    most = limits.max_bytes
    return None if most is not None and known.size > round(most / 1024**2) * 1000**2 else True


@judge("SM-03")
def media_within_limits(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with one medium that is at a limit of the model's file, or beyond it."""
    for call, model in _held(view):
        if not call.probe.media or not call.probe.field or call.flaws or not judged(call):
            continue
        for medium in model.media(call.sent):
            known = next((it for it in call.probe.media if it.param == spelled(medium.steps)), None)
            if known is None or known.param != call.probe.field:
                continue
            right, (taken, seen) = _fits(medium.limits, known), what_became(view, call)
            if right is not None and (taken is not None or call.status >= 500):
                wanted = "taken" if right else "refused"
                expected = f"{medium.url} in {known.param} is {wanted} by the file of {model.name}"
                yield check(taken is right, expected, seen, call)


# What tasks give


@dataclass(frozen=True, slots=True)
class _Made:
    """A task of a create that its model's file allows, and what it comes to. by_shape: whether its ratio is known."""

    task: TaskRecord
    create: Call
    model: Model
    known: dict[tuple[str, ...], Facts]
    quote: Quote
    by_shape: bool


@once
def _made(view: View) -> Iterator[_Made]:
    for call, model in _held(view):
        task = view.made_by(call)
        if task is None or call.flaws:
            continue
        known = facts_in(model, call.sent, call.probe.media)
        if _length_known(model, call.sent, known):
            yield _Made(task, call, model, known, model.quote(call.sent, known), _shape_known(model, call.sent, known))


def _length_known(model: Model, body: dict[str, Any], known: dict[tuple[str, ...], Facts]) -> bool:
    """Whether nothing is missing for the length: a medium that it follows is known, or is not given."""
    path = model.output.follows
    return path is None or path in known or all(medium.path != path for medium in model.media(body))


def _shape_known(model: Model, body: dict[str, Any], known: dict[tuple[str, ...], Facts]) -> bool:
    """Whether the first thing that the ratio is taken from is known."""
    given = {medium.path for medium in model.media(body)}
    for source in model.output.ratio.get("from", ()):
        path = parts(source)
        if path in known:
            return True
        if path in given:
            return False
        if path not in model.slots.limits and model.value(body, source) is not None:
            return ":" in str(model.value(body, source))
    return "default" in model.output.ratio


@judge("SM-04")
def price_of_the_file(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what creates reserve, and at what completed tasks say that they cost."""
    for made in _made(view):
        amount = reserved(made.task)
        if amount is not None:
            right = prices.reserved(made.model, made.create.sent, made.known)
            expected = f"{right:g} credits reserved by the file of {made.model.name}"
            yield check(abs(amount - right) <= CENT, expected, f"{amount:g}", made.create)
        cost = credits_used(made.task)
        if cost is not None and made.task.end is not None and made.task.end.status == "completed":
            right = prices.charged(made.model, made.create.sent, made.known)
            expected = f"{right:g} credits used by the file of {made.model.name}"
            yield check(abs(cost - right) <= CENT, expected, f"{cost:g}", made.create, made.task.final)


@once
def _videos(view: View) -> Iterator[tuple[_Made, Size, Download, VideoFacts]]:
    """Tasks, the size that their videos should have, and each of those that a decoder opened."""
    for made in _made(view):
        size = made.quote.size
        if size is not None:
            yield from ((made, size, download, video) for download, video in made.task.videos)


@judge("SM-05")
def length_of_the_file(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what create answers say of the length, and at decoded videos."""
    for made in _made(view):
        said = member(made.create.got, "task_info", "video_duration")
        if said is not None and made.model.output.medium == "video":
            whole = int(made.quote.seconds + 0.5)  # a whole number by the schema, rounded half up
            yield check(said == whole, f"video_duration {whole}", quoted(said), made.create)
    for made, _size, download, video in _videos(view):
        near = abs(video.duration - made.quote.seconds) <= rule.params["seconds"]
        expected = f"a video of {made.quote.seconds:g} s by the file of {made.model.name}"
        yield check(near, expected, f"{video.duration:g} s", made.create, download)


@judge("SM-06")
def ratio_of_the_file(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at decoded videos whose ratio the create and its media tell."""
    for made, size, download, video in _videos(view):
        if not made.by_shape or not video.height:
            continue
        wanted, got = size.width / size.height, video.width / video.height
        expected = f"the ratio {size.width}:{size.height} by the file of {made.model.name}"
        near = abs(got - wanted) <= rule.params["share"] * wanted or size.pixels is not None
        yield check(near, expected, f"{video.width}x{video.height}", made.create, download)


@judge("SM-07")
def pixels_of_the_file(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the shorter side of decoded videos; at both sides where the file names pixels."""
    for made, size, download, video in _videos(view):
        seen = f"{video.width}x{video.height}"
        if size.pixels is not None and made.by_shape:
            width, height = pixels(size)
            fine = (video.width, video.height) == (width, height)
            yield check(fine, f"{width}x{height}", seen, made.create, download)
        elif size.pixels is None:
            fine = min(video.width, video.height) == size.short_side
            yield check(fine, f"{size.short_side} px on the shorter side", seen, made.create, download)


@judge("SM-08")
def result_of_the_file(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the ends of completed tasks."""
    for made in _made(view):
        end = made.task.end
        if end is None or end.status != "completed" or not end.full:
            continue
        links, data = end.body.get("results"), end.body.get("result_data")
        if made.model.output.medium == "video":
            count = len(links) if isinstance(links, list) else 0
            yield check(count == made.model.output.count, f"{made.model.output.count} links", f"{count} links", end)
        else:
            rows = data if isinstance(data, list) else [data]
            fine = not links and any(isinstance(row, dict) and row.get("element_id") for row in rows)
            seen = f"results {quoted(links)}, result_data {quoted(data)}"
            yield check(fine, f"an element_id and no link by the file of {made.model.name}", seen, end)
