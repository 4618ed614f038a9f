"""Bodies that are wrong by one step, derived from a model's file and a right body: each with the field that a refusal must name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kling_openapi.model import Model
from kling_openapi.schemas import Steps, parts, spelled, values
from kling_openapi.spots import ABSENT, LETTERS, MOST_REPEATED, Spot, changed, choices_of, spots


@dataclass(frozen=True, slots=True)
class NearMiss:
    """One wrong body: *value* stands at *steps* in place of what was right, and *param* is the field at fault."""

    steps: Steps
    value: Any
    right: dict[str, Any]
    param: str
    keyword: str

    @property
    def body(self) -> dict[str, Any]:
        """The wrong body, a new one each time."""
        found: dict[str, Any] = changed(self.right, self.steps, self.value)
        return found


def near_misses(model: Model, body: dict[str, Any]) -> Iterator[NearMiss]:
    """Return the near misses of *body*, which is right: one past each bound, neighbours of each choice, wrong types,
    what is required taken out, what is not accepted put in, sums and totals missed by one."""
    for spot in spots(model.schema, body, model.components):
        for value, keyword in _wrong(spot):
            yield _missed(body, spot.steps, value, keyword)
        if isinstance(spot.value, Mapping):
            for name in _required(spot):
                yield _missed(body, (*spot.steps, name), ABSENT, "required")
    yield from _sums(model, body)
    yield from _totals(model, body)


def _missed(body: dict[str, Any], steps: Steps, value: Any, keyword: str, param: str | None = None) -> NearMiss:
    return NearMiss(steps, value, body, param or spelled(steps), keyword)


def _required(spot: Spot) -> list[str]:
    """Return the members that must be there, and are."""
    found = [name for it in spot.schemas for name in it.get("required", ())]
    for it in spot.schemas:
        for name, needed in it.get("dependentRequired", {}).items():
            found += needed if name in spot.value else []
    return [name for name in dict.fromkeys(found) if name in spot.value]


def _wrong(spot: Spot) -> Iterator[tuple[Any, str]]:
    """Return wrong values for one place, each with the keyword that it breaks."""
    if not spot.steps:
        return
    if any(it.get("not") == {} for it in spot.schemas):
        if spot.value is ABSENT:
            yield "16:9", "not"
        return
    if spot.steps == ("model",):
        return  # an unknown model is not a near miss of this one
    choices = choices_of(spot)
    if choices:
        yield from ((it, "choice") for it in _neighbours(choices))
        return
    kind = spot.keyword("type")
    yield from ((it, "type") for it in _other_types(kind, spot))
    if kind in ("integer", "number"):
        yield from _out_of_bounds(spot)
    elif kind == "string":
        yield from _bad_text(spot)
    elif kind == "array":
        yield from _bad_length(spot)


def _neighbours(choices: list[Any]) -> Iterator[Any]:
    """Return values that stand close to the choices without being one of them."""
    for choice in choices:
        if isinstance(choice, str):
            yield from (it for it in (choice.upper(), f" {choice}", choice[:-1]) if it not in choices)
        else:
            yield from (it for it in (choice + 1, choice - 1, str(choice)) if it not in choices)
    yield from ("", None, True, [choices[0]])


def _other_types(kind: Any, spot: Spot) -> Iterator[Any]:
    """Return values of another type than *kind*."""
    yield None
    if kind == "string":
        yield from (5, True, ["a"], {"url": "a"})
    elif kind in ("integer", "number"):
        yield from (str(spot.keyword("minimum") or 5), True, [5])
        if kind == "integer":
            yield (spot.keyword("minimum") or 1) + 0.5
    elif kind == "boolean":
        yield from ("true", 1, 0)
    elif kind == "array":
        first = spot.value[0] if isinstance(spot.value, list) and spot.value else "a"
        yield from (first, {"0": first})
    elif kind == "object":
        yield from ("a", [], 5)


def _out_of_bounds(spot: Spot) -> Iterator[tuple[Any, str]]:
    low, high = spot.keyword("minimum"), spot.keyword("maximum")
    if low is not None:
        yield low - 1, "minimum"
    if high is not None:
        yield high + 1, "maximum"


def _bad_text(spot: Spot) -> Iterator[tuple[Any, str]]:
    most, pattern = spot.keyword("maxLength"), spot.keyword("pattern")
    if most is not None and pattern is None:
        yield from ((letter * (most + 1), "maxLength") for letter in LETTERS)
    if spot.keyword("minLength"):
        yield "", "minLength"
    if pattern is not None:
        web = ("first frame", "ftp://image.test/1.png", "//image.test/1.png", "data:image/png;base64,iVBORw0KGgo=")
        numbers = ("0", "-1", "1.5", "two")
        yield from ((it, "pattern") for it in ("", *(web if "tT" in pattern else numbers)))


def _bad_length(spot: Spot) -> Iterator[tuple[Any, str]]:
    least, most = spot.keyword("minItems"), spot.keyword("maxItems")
    given = spot.value if isinstance(spot.value, list) else []
    if least and given:
        yield given[: least - 1], "minItems"
    if most is not None and given and most < MOST_REPEATED:
        yield (given * (most + 1))[: most + 1], "maxItems"


def _sums(model: Model, body: dict[str, Any]) -> Iterator[NearMiss]:
    """Return bodies whose parts are one more, or one less, than the whole."""
    for rule in model.rules.sums:
        items = list(values(body, parts(rule.of)))
        total = model.value(body, rule.equals)
        for steps, value in items:
            for beyond in (1, -1):
                other = int(value) + beyond
                if other >= 1:
                    at_fault = spelled(steps) if other > total else rule.of.partition("[]")[0]
                    yield _missed(body, steps, str(other), "x-sums", at_fault)


def _totals(model: Model, body: dict[str, Any]) -> Iterator[NearMiss]:
    """Return bodies with one item more than several fields may have together."""
    for rule in model.rules.totals:
        if rule.when is not None and not rule.when.fits(body):
            continue
        counts = {path: len(list(values(body, parts(path)))) for path in rule.of}
        path = next((it for it in reversed(rule.of) if it.endswith("[]") and counts[it]), None)
        if path is None:
            continue
        steps, items = next(values(body, parts(path.removesuffix("[]"))))
        wanted = rule.most + 1 - sum(counts.values()) + len(items)
        missed = _missed(body, steps, (items * wanted)[:wanted], "x-totals", rule.param)
        if not model.judge.problems(missed.body):  # else the list's own limit comes first
            yield missed
