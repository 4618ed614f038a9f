"""Pictures, videos and sounds that a create names: where they stand in the body, and what they must be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from kling_openapi.schemas import Judge, Steps, resolved, values

KINDS = ("image", "video", "audio")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a medium must be; None is no limit. Sides in pixels, `ratio` is width to height, both bounds included."""

    kind: str
    formats: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    max_bytes: int | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    min_width_px: int | None = None
    max_width_px: int | None = None
    ratio_min: Fraction | None = None
    ratio_max: Fraction | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    fps_min: float | None = None
    fps_max: float | None = None

    @classmethod
    def of(cls, kind: str, given: Mapping[str, Any]) -> "Limits":
        """Return the limits of an `x-image`, `x-video` or `x-audio`."""
        known = {field.name for field in fields(cls)}
        found = {name: value for name, value in given.items() if name in known}
        for name in ("formats", "suffixes"):
            found[name] = tuple(found.get(name, ()))
        for name in ("ratio_min", "ratio_max"):
            if name in found:
                found[name] = ratio(found[name])
        return cls(kind, **found)


class Facts(NamedTuple):
    """What a medium is; None is not known or not a property of its kind."""

    format: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    fps: float | None = None


class Medium(NamedTuple):
    """One medium that a body names: where it stands, its URL, and its limits in this body."""

    steps: Steps
    path: tuple[str, ...]
    url: str
    limits: Limits


def ratio(text: str) -> Fraction:
    """Return `"1:2.5"` as a number, width to height.

    Raises:
        ValueError: it is not two positive numbers with a colon between them.
    """
    left, colon, right = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not a ratio such as 16:9")
    found = Fraction(left) / Fraction(right) if Fraction(right) else Fraction(0)
    if found <= 0:
        raise ValueError(f"{text!r} is not a ratio such as 16:9")
    return found


def written(number: Fraction) -> str:
    """Return a ratio as people write it: `2.5:1`, `1:2.5`."""
    return f"{float(number):g}:1" if number >= 1 else f"1:{float(1 / number):g}"


def complaint(limits: Limits, facts: Facts) -> tuple[str, str] | None:
    """Return what is wrong with a medium, the cheapest check first: which limit (`format`, `bytes`, ...), and a sentence."""
    return next(_complaints(limits, facts), None)


def _complaints(limits: Limits, facts: Facts) -> Iterator[tuple[str, str]]:
    kind = limits.kind
    if facts.bytes is not None and limits.max_bytes is not None and facts.bytes > limits.max_bytes:
        yield "bytes", f"the {kind} has {facts.bytes} bytes; at most {limits.max_bytes} are allowed"
    if limits.formats and facts.format is not None and facts.format not in limits.formats:
        yield "format", f"the {kind} is {facts.format}; allowed formats: {', '.join(limits.formats)}"
    if facts.width and facts.height:
        yield from _shape(limits, facts.width, facts.height)
    for name, seen, low, high, unit in (
        ("seconds", facts.seconds, limits.min_seconds, limits.max_seconds, "seconds"),
        ("fps", facts.fps, limits.fps_min, limits.fps_max, "frames a second"),
    ):
        if seen is not None and not _within(seen, low, high):
            yield name, f"the {kind} has {seen:g} {unit}; allowed is {bounds(low, high)}"


def _shape(limits: Limits, width: int, height: int) -> Iterator[tuple[str, str]]:
    seen = f"the {limits.kind} is {width}x{height} pixels"
    if not _within(min(width, height), limits.min_side_px, None) or not _within(
        max(width, height), None, limits.max_side_px
    ):
        yield "sides", f"{seen}; allowed for each side is {bounds(limits.min_side_px, limits.max_side_px)}"
    if not _within(width, limits.min_width_px, limits.max_width_px):
        yield "sides", f"{seen}; allowed for the width is {bounds(limits.min_width_px, limits.max_width_px)}"
    found = Fraction(width, height)
    low, high = limits.ratio_min, limits.ratio_max
    if (low is not None and found < low) or (high is not None and found > high):
        allowed = " to ".join(written(bound) for bound in (low, high) if bound is not None)
        yield "ratio", f"{seen}, a ratio of {written(found)}; allowed is {allowed}"


def _within(seen: float, low: float | None, high: float | None) -> bool:
    return (low is None or seen >= low) and (high is None or seen <= high)


def bounds(low: float | None, high: float | None) -> str:
    """Return what lies between two bounds in words; one of them may be None."""
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


@dataclass(frozen=True, slots=True)
class _Condition:
    """Holds for a body in which what stands at `path` fits, or does not."""

    path: tuple[str, ...]
    judge: Judge
    wanted: bool

    def holds(self, body: Any) -> bool:
        """Return whether *body* is one of those."""
        return all(self.judge.fits(value) == self.wanted for _, value in values(body, self.path))


@dataclass(frozen=True, slots=True)
class _Place:
    path: tuple[str, ...]
    kind: str
    given: Mapping[str, Any]
    conditions: tuple[_Condition, ...]


class Slots:
    """Where a model's bodies name media."""

    def __init__(self, schema: Any, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas
        self._schema = schema

    @cached_property
    def _places(self) -> tuple[_Place, ...]:
        return tuple(self._walk(self._schema, (), ()))

    @cached_property
    def limits(self) -> dict[tuple[str, ...], Limits]:
        """The limits of each slot in any body, by its path: `("image_urls", "[]")`."""
        return {it.path: Limits.of(it.kind, it.given) for it in self._places if not it.conditions}

    @cached_property
    def special(self) -> dict[tuple[str, ...], tuple[Limits, ...]]:
        """The further limits that a slot has in some bodies only."""
        found: dict[tuple[str, ...], tuple[Limits, ...]] = {}
        for it in self._places:
            if it.conditions:
                found[it.path] = (*found.get(it.path, ()), Limits.of(it.kind, it.given))
        return found

    def of(self, body: Any) -> list[Medium]:
        """Return the media that *body* names, in the order of the schema, each with its limits in this body."""
        found = []
        for path, limits in self.limits.items():
            named = [(steps, url) for steps, url in values(body, path) if isinstance(url, str)]
            if named and path in self.special:
                limits = self._in(body, path)
            found += [Medium(steps, path, url, limits) for steps, url in named]
        return found

    def _in(self, body: Any, path: tuple[str, ...]) -> Limits:
        """Return the limits at *path* with those that hold in *body* alone."""
        here = [it for it in self._places if it.path == path and all(one.holds(body) for one in it.conditions)]
        given: dict[str, Any] = {}
        for it in here:
            given |= it.given
        return Limits.of(here[0].kind, given)

    def _walk(self, schema: Any, path: tuple[str, ...], conditions: tuple[_Condition, ...]) -> Iterator[_Place]:
        node = resolved(schema, self._schemas)
        for kind in KINDS:
            if f"x-{kind}" in node:
                yield _Place(path, kind, node[f"x-{kind}"], conditions)
        for name, inner in node.get("properties", {}).items():
            yield from self._walk(inner, (*path, name), conditions)
        if "items" in node:
            yield from self._walk(node["items"], (*path, "[]"), conditions)
        for inner in node.get("allOf", ()):
            yield from self._walk(inner, path, conditions)
        if "if" in node:
            judge = Judge(node["if"], self._schemas)
            for name, wanted in (("then", True), ("else", False)):
                yield from self._walk(node.get(name), path, (*conditions, _Condition(path, judge, wanted)))
