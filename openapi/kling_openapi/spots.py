"""Places of a right body, with the schemas that hold there: what near misses and bounds are derived from."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kling_openapi.schemas import Judge, Steps, resolved


class Absent:
    """Stands for a value that was taken out."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()

MOST_REPEATED = 64
LETTERS = ("a", "\u6c34", "\U0001f600")
"""One, three and four bytes of UTF-8: a limit counts characters."""


@dataclass(frozen=True, slots=True)
class Spot:
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


def holding(schema: Any, value: Any, components: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the schemas that hold for *value*: the plain one, then those whose conditions it meets."""
    node = {"not": {}} if schema is False else resolved(schema, components)
    found = [node]
    for inner in node.get("allOf", ()):
        found += holding(inner, value, components)
    if "if" in node:
        branch = node.get("then" if Judge(node["if"], components).fits(value) else "else")
        if branch is not None:
            found += holding(branch, value, components)
    return tuple(found)


def spots(schema: Any, body: Any, components: Mapping[str, Any]) -> Iterator[Spot]:
    """Return every place of *body*, which *schema* describes, the fields that the body leaves out included."""
    yield from _within(Spot((), holding(schema, body, components), body), components)


def _within(spot: Spot, components: Mapping[str, Any]) -> Iterator[Spot]:
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
    spot: Spot, step: str | int, schemas: list[Any], value: Any, components: Mapping[str, Any]
) -> Iterator[Spot]:
    found = tuple(one for schema in schemas for one in holding(schema, value, components))
    if found:
        yield from _within(Spot((*spot.steps, step), found, value), components)


def choices_of(spot: Spot) -> list[Any]:
    """Return the values that the place may have, where the schema lists them."""
    enum = spot.keyword("enum")
    if enum:
        return list(enum)
    return [it["const"] for it in spot.keyword("oneOf") or () if "const" in it]


def changed(body: Any, steps: Steps, value: Any) -> Any:
    """Return a copy of *body* with *value* at *steps*; ABSENT takes out what stands there."""
    found = copy.deepcopy(body)
    holder = found
    for step in steps[:-1]:
        holder = holder[step]
    if value is ABSENT:
        del holder[steps[-1]]
    else:
        holder[steps[-1]] = value
    return found
