"""Right bodies at the edge of what a model takes, derived from its file and a right body: each bound, each choice, each option left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kling_openapi.model import Model
from kling_openapi.schemas import Steps
from kling_openapi.spots import ABSENT, LETTERS, MOST_REPEATED, Spot, changed, choices_of, spots


@dataclass(frozen=True, slots=True)
class Edge:
    """One right body: *value* stands at *steps*."""

    steps: Steps
    value: Any
    body: dict[str, Any]


def edges(model: Model, body: dict[str, Any]) -> Iterator[Edge]:
    """Return the right bodies that are one step from *body*: those of them that would break another rule of the model are left out."""
    for spot in spots(model.schema, body, model.components):
        if not spot.steps or spot.steps == ("model",):
            continue
        for value in _right(spot):
            if value is ABSENT and spot.value is ABSENT:
                continue
            found = changed(body, spot.steps, value)
            if model.fits(found):
                yield Edge(spot.steps, value, found)


def _right(spot: Spot) -> Iterator[Any]:
    """Return values of one place that are at a bound, or plain; the model decides whether they are right in this body."""
    if any(it.get("not") == {} for it in spot.schemas):
        return
    if isinstance(spot.steps[-1], str):
        yield ABSENT
    choices = choices_of(spot)
    if choices:
        yield from choices
        return
    kind = spot.keyword("type")
    if kind in ("integer", "number"):
        yield from _numbers(spot)
    elif kind == "boolean":
        yield from (True, False)
    elif kind == "string" and spot.keyword("pattern") is None:
        yield from _texts(spot)
    elif kind == "array" and isinstance(spot.value, list) and spot.value:
        yield from _lists(spot)


def _numbers(spot: Spot) -> Iterator[Any]:
    bounds = [it for it in (spot.keyword("minimum"), spot.keyword("maximum")) if it is not None]
    yield from bounds
    default = spot.keyword("default")
    whole = default if default is not None else next(iter(bounds), None)
    if whole is not None:
        yield float(whole)  # 5.0 is an integer to JSON Schema


def _texts(spot: Spot) -> Iterator[str]:
    least, most = spot.keyword("minLength") or 0, spot.keyword("maxLength")
    yield from ("a" * least, "A quiet street"[: most or 14])
    if most is not None:
        yield from (letter * most for letter in LETTERS)


def _lists(spot: Spot) -> Iterator[list[Any]]:
    least, most = spot.keyword("minItems") or 0, spot.keyword("maxItems")
    yield spot.value[:least]
    if most is not None and most < MOST_REPEATED:
        yield (spot.value * most)[:most]


def shortest(model: Model, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return *body* made as cheap as one field alone can make it."""
    found: dict[str, Any] = dict(body)
    price = model.quote(found).reserved
    for edge in edges(model, dict(body)):
        if (other := model.quote(edge.body).reserved) < price:
            found, price = edge.body, other
    return found
