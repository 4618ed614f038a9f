"""Bodies that are wrong by one step, derived from a model's file and a right body: each with the field that a refusal must name."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kling_openapi.model import Model
from kling_openapi.schemas import Judge, Steps, parts, resolved, spelled, values


class Absent:
    """Stands for a value that was taken out."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()
_MOST_REPEATED = 64


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
        changed = copy.deepcopy(self.right)
        holder: Any = changed
        for step in self.steps[:-1]:
            holder = holder[step]
        if self.value is ABSENT:
            del holder[self.steps[-1]]
        else:
            holder[self.steps[-1]] = self.value
        return changed


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place of a right body, with the schemas that hold there; the first is the plain one."""

    steps: Steps
    schemas: tuple[dict[str, Any], ...]
    value: Any

    def keyword(self, name: str) -> Any:
        """The value of the keyword *name*, the strictest where several schemas have it."""
        found = [it[name] for it in self.schemas if name in it]
        if not found:
            return None
        if isinstance(found[0], bool) or not isinstance(found[0], int | float):
            return found[-1]
        return max(found) if name.startswith("min") else min(found)


def near_misses(model: Model, body: dict[str, Any]) -> Iterator[NearMiss]:
    """Return the near misses of *body*, which is right: one past each bound, neighbours of each choice, wrong types,
    what is required taken out, what is not accepted put in, sums and totals missed by one."""
    components = model.components
    root = _Spot((), _active(model.schema, body, components), body)
    for spot in _spots(root, components):
        for value, keyword in _wrong(spot):
            yield _missed(body, spot.steps, value, keyword)
        if isinstance(spot.value, Mapping):
            for name in _required(spot):
                yield _missed(body, (*spot.steps, name), ABSENT, "required")
    yield from _sums(model, body)
    yield from _totals(model, body)


def _missed(body: dict[str, Any], steps: Steps, value: Any, keyword: str, param: str | None = None) -> NearMiss:
    return NearMiss(steps, value, body, param or spelled(steps), keyword)


def _active(schema: Any, value: Any, components: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the schemas that hold for *value*: the plain one, then those whose conditions it meets."""
    node = {"not": {}} if schema is False else resolved(schema, components)
    found = [node]
    for inner in node.get("allOf", ()):
        found += _active(inner, value, components)
    if "if" in node:
        branch = node.get("then" if Judge(node["if"], components).fits(value) else "else")
        if branch is not None:
            found += _active(branch, value, components)
    return tuple(found)


def _spots(spot: _Spot, components: Mapping[str, Any]) -> Iterator[_Spot]:
    """Return *spot* and every place below it, the fields that the body leaves out included."""
    yield spot
    if isinstance(spot.value, Mapping):
        names = dict.fromkeys(name for it in spot.schemas for name in it.get("properties", {}))
        for name in names:
            schemas = [it["properties"][name] for it in spot.schemas if name in it.get("properties", {})]
            yield from _below(spot, name, schemas, spot.value.get(name, ABSENT), components)
    elif isinstance(spot.value, list):
        schemas = [it["items"] for it in spot.schemas if "items" in it]
        for index, item in enumerate(spot.value):
            yield from _below(spot, index, schemas, item, components)


def _below(
    spot: _Spot, step: str | int, schemas: list[Any], value: Any, components: Mapping[str, Any]
) -> Iterator[_Spot]:
    active = tuple(one for schema in schemas for one in _active(schema, value, components))
    if active:
        yield from _spots(_Spot((*spot.steps, step), active, value), components)


def _required(spot: _Spot) -> list[str]:
    """Return the members that must be there, and are."""
    found = [name for it in spot.schemas for name in it.get("required", ())]
    for it in spot.schemas:
        for name, needed in it.get("dependentRequired", {}).items():
            found += needed if name in spot.value else []
    return [name for name in dict.fromkeys(found) if name in spot.value]


def _wrong(spot: _Spot) -> Iterator[tuple[Any, str]]:
    """Return wrong values for one place, each with the keyword that it breaks."""
    if not spot.steps:
        return
    if any(it.get("not") == {} for it in spot.schemas):
        if spot.value is ABSENT:
            yield "16:9", "not"
        return
    if spot.steps == ("model",):
        return  # an unknown model is not a near miss of this one
    choices = _choices(spot)
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


def _choices(spot: _Spot) -> list[Any]:
    enum = spot.keyword("enum")
    if enum:
        return list(enum)
    return [it["const"] for it in spot.keyword("oneOf") or () if "const" in it]


def _neighbours(choices: list[Any]) -> Iterator[Any]:
    """Return values that stand close to the choices without being one of them."""
    for choice in choices:
        if isinstance(choice, str):
            yield from (it for it in (choice.upper(), f" {choice}", choice[:-1]) if it not in choices)
        else:
            yield from (it for it in (choice + 1, choice - 1, str(choice)) if it not in choices)
    yield from ("", None, True, [choices[0]])


def _other_types(kind: Any, spot: _Spot) -> Iterator[Any]:
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


def _out_of_bounds(spot: _Spot) -> Iterator[tuple[Any, str]]:
    low, high = spot.keyword("minimum"), spot.keyword("maximum")
    if low is not None:
        yield low - 1, "minimum"
    if high is not None:
        yield high + 1, "maximum"


def _bad_text(spot: _Spot) -> Iterator[tuple[Any, str]]:
    most, pattern = spot.keyword("maxLength"), spot.keyword("pattern")
    if most is not None and pattern is None:
        yield from ((letter * (most + 1), "maxLength") for letter in ("a", "\u6c34", "\U0001f600"))
    if spot.keyword("minLength"):
        yield "", "minLength"
    if pattern is not None:
        web = ("first frame", "ftp://image.test/1.png", "//image.test/1.png", "data:image/png;base64,iVBORw0KGgo=")
        numbers = ("0", "-1", "1.5", "two")
        yield from ((it, "pattern") for it in ("", *(web if "tT" in pattern else numbers)))


def _bad_length(spot: _Spot) -> Iterator[tuple[Any, str]]:
    least, most = spot.keyword("minItems"), spot.keyword("maxItems")
    given = spot.value if isinstance(spot.value, list) else []
    if least and given:
        yield given[: least - 1], "minItems"
    if most is not None and given and most < _MOST_REPEATED:
        yield (given * (most + 1))[: most + 1], "maxItems"


def _sums(model: Model, body: dict[str, Any]) -> Iterator[NearMiss]:
    """Return bodies whose parts are one more, or one less, than the whole."""
    for rule in model.rules.sums:
        items = list(values(body, parts(rule.of)))
        total = model.value(body, rule.equals)
        for steps, value in items:
            for beyond in (1, -1):
                changed = int(value) + beyond
                if changed >= 1:
                    at_fault = spelled(steps) if changed > total else rule.of.partition("[]")[0]
                    yield _missed(body, steps, str(changed), "x-sums", at_fault)


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
        changed = _missed(body, steps, (items * wanted)[:wanted], "x-totals", rule.param)
        if not model.judge.problems(changed.body):  # else the list's own limit comes first
            yield changed
