"""Cases of the model that a run asks for, all derived from its file: what it takes, which media, and what its tasks give."""

from collections.abc import Iterator
from typing import Any

import orjson

from kling_contract.driving.bodies import with_media
from kling_contract.driving.drivers.media import bent, known, url_of
from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.session import Session
from kling_contract.history.labels import Expect, MediumFacts, Probe
from kling_contract.reading.media import quote
from kling_openapi.edges import edges
from kling_openapi.model import Model
from kling_openapi.schemas import steps_of
from kling_openapi.spots import changed

_MOST_SECONDS = 10
"""Seconds of the longest video that a case waits for and decodes."""
_MOST_SIDE = 1080
"""Pixels of the largest, likewise."""
_LONGEST_TEXT = 200
"""Characters of a member that a drawn story may have: its steps are printed."""


def _asked(context: RunContext) -> Model:
    assert context.contract.asked is not None
    return context.contract.asked


def right_ones(context: RunContext) -> list[dict[str, Any]]:
    """Return the right bodies at the edge of what the model takes, each once: every example, and one step from it."""
    model = _asked(context)
    found: dict[bytes, dict[str, Any]] = {}
    for example in model.examples:
        right = with_media(model, {name: it for name, it in example.items() if name != "callback_url"}, context.media)
        for body in (right, *(edge.body for edge in edges(model, right))):
            found.setdefault(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), body)
    return [body for body in found.values() if "callback_url" not in body]


def accepted(context: RunContext, session: Session) -> None:
    """Every right body at the edge of what the model takes."""
    for body in right_ones(context):
        probe = Probe(rules=("SM-02", "SM-04"), expect=Expect.ACCEPTED, media=known(_asked(context), body))
        session.create(body, probe=probe)


def media_probes(model: Model) -> Iterator[tuple[dict[str, Any], tuple[MediumFacts, ...], MediumFacts]]:
    """Return creates with one picture, video or sound at a limit or beyond it: body, what all its media are, and which one is bent."""
    seen = set()
    for example in model.examples:
        right = {name: it for name, it in example.items() if name != "callback_url"}
        others = known(model, right)
        for medium in model.media(right):
            if (medium.path, medium.limits) in seen:
                continue
            seen.add((medium.path, medium.limits))
            for facts in bent(medium):
                body = changed(right, medium.steps, url_of(medium.limits.kind, facts))
                yield body, (*(it for it in others if it.param != facts.param), facts), facts


def media(context: RunContext, session: Session) -> None:
    """A create for each medium at a limit and beyond it; the accepted ones are followed to their end."""
    ids = []
    for body, facts, one in media_probes(_asked(context)):
        url = next(it.url for it in _asked(context).media(body) if it.steps == steps_of(one.param))
        seen = session.create(body, probe=Probe(rules=("SM-03",), field=one.param, value=url, media=facts))
        if seen.task_id:
            ids.append(seen.task_id)
    context.until_end(session, *ids, step=30.0)


def outputs(context: RunContext, session: Session) -> None:
    """One task for each length, shape and size that the model makes, and their videos."""
    model = _asked(context)
    ids = []
    for body in _varied(model, right_ones(context)):
        probe = Probe(rules=("SM-05", "SM-06", "SM-07", "SM-08"), media=known(model, body))
        seen = session.create(body, probe=probe)
        if seen.task_id:
            ids.append(seen.task_id)
    for end in context.until_end(session, *ids).values():
        session.fetch(end, look=True)


def _varied(model: Model, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of *bodies* whose videos differ, as far as they are short and small enough to be looked at."""
    found: dict[Any, dict[str, Any]] = {}
    for body in bodies:
        made = quote(model, body, known(model, body))
        small = made.size is None or made.size.short_side <= _MOST_SIDE
        if made.seconds <= _MOST_SECONDS and small:
            found.setdefault((made.seconds, made.size), body)
    return list(found.values())


def members(context: RunContext) -> list[dict[str, Any]]:
    """Return members that each make another right create of the model's cheapest one, for drawn stories."""
    base = context.body()
    found: list[dict[str, Any]] = [{}]
    for edge in edges(_asked(context), base):
        name = str(edge.steps[0])
        if name != "callback_url" and len(repr(edge.body.get(name))) <= _LONGEST_TEXT:
            found.append({name: edge.body.get(name)})
    return found


SCRIPTS = (
    Script("model-accepted", ("SM-02", "SM-04"), accepted),
    Script("model-outputs", ("SM-05", "SM-06", "SM-07", "SM-08"), outputs),
)
MEDIA = Script("model-media", ("SM-03",), media)
"""Needs a target that makes what the three hosts are asked for."""
