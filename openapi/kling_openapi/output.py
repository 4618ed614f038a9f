"""What a model makes: how long, how large, in which shape, as its file says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kling_openapi.media import Facts, ratio
from kling_openapi.money import exact
from kling_openapi.schemas import parts

Value = Callable[[str], Any]
Seen = Callable[[tuple[str, ...]], Facts | None]
"""Gives what is known of the first medium at a path; None where the body names none or nothing is known."""


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a video: width to height as two numbers, the shorter side in pixels, or exact pixels where a page names them."""

    width: int
    height: int
    short_side: int
    pixels: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What the tasks of one model give: `medium` is `video`, or `element` for an id and no link."""

    medium: str
    count: int = 1
    seconds: Mapping[str, Any] = field(default_factory=dict)
    ratio: Mapping[str, Any] = field(default_factory=dict)
    short_side: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "Output":
        """Return the output that an `x-output` tells."""
        return cls(**{member.name: given[member.name] for member in fields(cls) if member.name in given})

    @property
    def follows(self) -> tuple[str, ...] | None:
        """The path of the medium that the video is as long as; None where a field says how long."""
        source = self.seconds.get("from")
        return parts(source) if source else None

    def length(self, value: Value, seen: Seen, slots: Mapping[tuple[str, ...], Any]) -> Decimal:
        """Return the seconds of the video that a body gives."""
        source = self.seconds.get("from")
        if source is not None and parts(source) in slots:
            facts = seen(parts(source))
            if facts is not None and facts.seconds is not None:
                return exact(facts.seconds)
        elif source is not None and value(source) is not None:
            return exact(value(source))
        return exact(self.seconds.get("default", 0))

    def shape(self, value: Value, seen: Seen, slots: Mapping[tuple[str, ...], Any], sides: Mapping[str, int]) -> Size:
        """Return the shape of the video that a body gives; *sides* are the pixels of each tier."""
        tier = str(value(self.short_side["from"])) if "from" in self.short_side else ""
        short = sides.get(tier, self.short_side.get("default", 720))
        width, height = next(self._shapes(value, seen, slots), (16, 9))
        pixels = self._pixels(tier, Fraction(width, height))
        return Size(width, height, short, pixels)

    def _shapes(self, value: Value, seen: Seen, slots: Mapping[tuple[str, ...], Any]) -> Iterator[tuple[int, int]]:
        """Return width and height of everything that gives the ratio, in the file's order."""
        for source in self.ratio.get("from", ()):
            path = parts(source)
            if path in slots:
                facts = seen(path)
                if facts is not None and facts.width and facts.height:
                    yield facts.width, facts.height
                continue
            given = value(source)
            if isinstance(given, str) and ":" in given:
                yield ratio(given).as_integer_ratio()
        if "default" in self.ratio:
            yield ratio(self.ratio["default"]).as_integer_ratio()

    def _pixels(self, tier: str, wanted: Fraction) -> tuple[int, int] | None:
        table = self.sizes.get(tier)
        if not table:
            return None
        width, height = table[min(table, key=lambda name: abs(float(ratio(name)) - float(wanted)))]
        return width, height


def pixels(size: Size) -> tuple[int, int]:
    """Return width and height of a video: the shorter side exact, the other one the nearest even number that keeps the ratio."""
    if size.pixels is not None:
        return size.pixels
    short, long = sorted((size.width, size.height))
    long_side = 2 * ((size.short_side * long + short) // (2 * short))
    return (long_side, size.short_side) if size.width >= size.height else (size.short_side, long_side)
