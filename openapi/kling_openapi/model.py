"""A model: what a create of it must be, what it costs and what it makes, as one file says."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from kling_openapi.media import Facts, Medium, Slots
from kling_openapi.money import Price, plain, rounded
from kling_openapi.output import Output, Size
from kling_openapi.rules import Rules
from kling_openapi.schemas import Judge, Problem, parts, resolved, values

POLICIES = ("x-price", "x-output", "x-expected-seconds", "x-sums", "x-totals", "examples")
"""What a model file says besides the schema of the create body."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a create comes to. `seconds` is what the task shows and the video has; credits as JSON shows them."""

    seconds: int | float
    reserved: int | float
    charged: int | float
    size: Size | None


class Model:
    """One model; everything is worked out when it is first asked for."""

    def __init__(self, name: str, schema: Mapping[str, Any], schemas: Mapping[str, Any], path: Path) -> None:
        self.name, self.schema, self.path = name, schema, path
        self._schemas = self.components = schemas
        self._defaults: dict[str, Any] = {}

    # Requests

    @cached_property
    def judge(self) -> Judge:
        """The create schema, compiled."""
        return Judge({key: value for key, value in self.schema.items() if key not in POLICIES}, self._schemas)

    @cached_property
    def _has_rules(self) -> bool:
        return "x-sums" in self.schema or "x-totals" in self.schema

    @cached_property
    def rules(self) -> Rules:
        """What JSON Schema cannot say: sums and totals."""
        return Rules(self.schema, self._schemas, self.default)

    def fits(self, body: Any) -> bool:
        """Return whether *body* is a create of this model."""
        return self.judge.fits(body) and (not self._has_rules or not self.rules.problems(body))

    def problems(self, body: Any) -> list[Problem]:
        """Return everything wrong with *body* as a create of this model, the plainest first."""
        return self.judge.problems(body) or self.rules.problems(body)

    @cached_property
    def fields(self) -> dict[str, dict[str, Any]]:
        """The fields of the create body, references followed."""
        return {name: resolved(it, self._schemas) for name, it in self.schema["properties"].items()}

    @cached_property
    def taken(self) -> frozenset[str]:
        """The names of the fields that the model takes; those that it names to refuse them are not among them."""
        return frozenset(name for name, it in self.fields.items() if it.get("not") != {})

    def at(self, path: str) -> dict[str, Any]:
        """Return the schema of the field at *path*; empty where there is none."""
        node: dict[str, Any] = resolved(self.schema, self._schemas)
        for step in parts(path):
            inner = node.get("items", {}) if step == "[]" else node.get("properties", {}).get(step, {})
            node = resolved(inner, self._schemas)
        return node

    def default(self, path: str) -> Any:
        """Return the documented default of the field at *path*; None where there is none."""
        if path not in self._defaults:
            self._defaults[path] = self.at(path).get("default")
        return self._defaults[path]

    def value(self, body: Any, path: str) -> Any:
        """Return the value of the field at *path* of *body*, its default where it is left out."""
        found = body.get(path) if path in body else next((it for _, it in values(body, parts(path))), None)
        return self.default(path) if found is None else found

    # Media

    @cached_property
    def slots(self) -> Slots:
        """Where a body names pictures, videos and sounds."""
        return Slots(self.schema, self._schemas)

    def media(self, body: Any) -> list[Medium]:
        """Return the media that *body* names, each with its limits in this body."""
        return self.slots.of(body)

    # Results

    @cached_property
    def price(self) -> Price:
        """What a task costs."""
        return Price.read(self.schema["x-price"])

    @cached_property
    def output(self) -> Output:
        """What a task gives."""
        return Output.read(self.schema["x-output"])

    @cached_property
    def sides(self) -> dict[str, int]:
        """Pixels of the shorter side of each tier."""
        field = self.output.short_side.get("from")
        choices = self.at(field).get("oneOf", ()) if field else ()
        return {str(it["const"]): it["x-short-side"] for it in choices if "x-short-side" in it}

    @property
    def expected_seconds(self) -> int:
        """How long a task takes by the pages' examples."""
        return int(self.schema.get("x-expected-seconds", 0))

    @property
    def examples(self) -> list[dict[str, Any]]:
        """Bodies that are right: the shortest first."""
        return list(self.schema.get("examples", ()))

    def quote(self, body: Any, facts: Mapping[tuple[str, ...], Facts] | None = None) -> Quote:
        """Return what a valid *body* comes to; *facts* are those of the first medium at each path, as far as they are known."""
        known = facts or {}

        def value(path: str) -> Any:
            return self.value(body, path)

        limits = self.slots.limits
        exact_seconds = self.output.length(value, known.get, limits)
        source = self._source(known)
        measured = self.output.follows in limits
        seconds = rounded(exact_seconds, "half_up") if measured else exact_seconds
        billed = exact_seconds if measured else seconds
        size = self.output.shape(value, known.get, limits, self.sides) if self.output.medium == "video" else None
        how = self.price.reserved(value, billed, source), self.price.charged(value, billed, source)
        return Quote(plain(seconds), plain(how[0]), plain(how[1]), size)

    def _source(self, known: Mapping[tuple[str, ...], Facts]) -> Decimal | None:
        """Return the seconds of the video that the price counts, where they are known."""
        path = self.output.follows
        facts = known.get(path) if path else None
        return None if facts is None or facts.seconds is None else Decimal(str(facts.seconds))
