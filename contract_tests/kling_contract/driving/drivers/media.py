"""Pictures, videos and sounds to probe a model's limits with: what they are, and the URLs under which a fake makes them.

`image.test`, `video.test` and `audio.test` are hosts of which a fake makes what their URLs ask for (`docs/impersonation.md`).
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from kling_contract.history.labels import MediumFacts
from kling_openapi.media import Limits, Medium
from kling_openapi.model import Model
from kling_openapi.schemas import spelled

_HOSTS = {"image": "https://image.test", "video": "https://video.test", "audio": "https://audio.test"}
_MADE = {
    "image": ("jpeg", "png", "gif", "webp", "bmp", "tiff"),
    "video": ("mp4", "mov", "mkv", "avi"),
    "audio": ("wav",),
}
"""Formats that the hosts make."""
_TYPICAL = 100_000
"""Bytes of an ordinary picture, roughly: far from every limit."""
_FPS = 24
_URLS = {
    "image": re.compile(r"https://image\.test/(?P<width>\d+)x(?P<height>\d+)\.(?P<format>png|jpe?g)"),
    "video": re.compile(
        r"https://video\.test/(?P<width>\d+)x(?P<height>\d+)-(?P<seconds>[\d.]+)s\.(?P<format>mp4|mov)"
    ),
    "audio": re.compile(r"https://audio\.test/(?P<seconds>[\d.]+)s\.(?P<format>wav)"),
}


def known(model: Model, body: Mapping[str, Any]) -> tuple[MediumFacts, ...]:
    """Return what is known of the media that *body* names: those that the three hosts make."""
    found = ((medium, _URLS[medium.limits.kind].fullmatch(medium.url)) for medium in model.media(body))
    return tuple(_read(medium, match) for medium, match in found if match)


def _read(medium: Medium, match: re.Match[str]) -> MediumFacts:
    seen = match.groupdict()
    name = "jpeg" if seen["format"] == "jpg" else seen["format"]
    return MediumFacts(
        param=spelled(medium.steps),
        format=name,
        size=_TYPICAL,
        width=int(seen.get("width", 0)),
        height=int(seen.get("height", 0)),
        seconds=float(seen.get("seconds", 0)),
        fps=_FPS if medium.limits.kind == "video" else 0,
    )


def url_of(kind: str, facts: MediumFacts) -> str:
    """Return the URL under which a fake makes a medium with those *facts*."""
    plain = {"image": "jpg", "video": "mp4", "audio": "wav"}[kind]
    suffix = facts.format if facts.format in ("png", "mov") else plain
    options = [] if facts.format in (suffix, "jpeg") else [f"as={facts.format}"]
    options += [f"bytes={facts.size}"] if facts.size != _TYPICAL else []
    options += [f"fps={facts.fps:g}"] if facts.fps not in (0, _FPS) else []
    options += {"truncated": ["truncated"], "unreachable": ["status=404"]}.get(facts.fault, [])
    sides = f"{facts.width}x{facts.height}"
    name = {"image": sides, "video": f"{sides}-{facts.seconds:g}s", "audio": f"{facts.seconds:g}s"}[kind]
    return f"{_HOSTS[kind]}/{name}.{suffix}" + (f"?{'&'.join(options)}" if options else "")


def bent(medium: Medium) -> Iterator[MediumFacts]:
    """Return media at each limit of *medium*, and one step beyond each."""
    kind, limits = medium.limits.kind, medium.limits
    plain = _plain(medium)
    yield plain
    yield from (replace(plain, format=name) for name in _MADE[kind])
    yield from (replace(plain, size=size) for size in _sizes(limits))
    if kind != "audio":
        yield from (
            replace(plain, width=width, height=height) for width, height in _shapes(limits, 2 - (kind == "image"))
        )
    yield from (replace(plain, seconds=it) for it in _around(limits.min_seconds, limits.max_seconds))
    yield from (replace(plain, fps=it) for it in _around(limits.fps_min, limits.fps_max))
    yield from (replace(plain, fault=fault) for fault in ("truncated", "unreachable"))


def _plain(medium: Medium) -> MediumFacts:
    """Return an ordinary medium of its kind, within every limit."""
    limits = medium.limits
    seconds = min(max(5.0, limits.min_seconds or 0), limits.max_seconds or 5.0)
    made = [name for name in _MADE[limits.kind] if not limits.formats or name in limits.formats]
    facts = MediumFacts(param=spelled(medium.steps), format=made[0], size=_TYPICAL)
    if limits.kind == "audio":
        return replace(facts, seconds=seconds)
    sides = replace(facts, width=1280, height=720)
    return sides if limits.kind == "image" else replace(sides, seconds=seconds, fps=_FPS)


def _sizes(limits: Limits) -> tuple[int, ...]:
    """Return a size that is fine in either reading of "MB", and one that is too large in both."""
    most = limits.max_bytes
    return () if most is None else (fine_bytes(most), most + 1)


def fine_bytes(most: int) -> int:
    """Return the largest size that is fine in either reading of "MB"; between this and *most* nothing is judged."""
    return round(most / 1024**2) * 1000**2


def _shapes(limits: Limits, step: int) -> Iterator[tuple[int, int]]:
    """Return widths and heights at each limit and *step* pixels beyond it."""
    low, high = limits.ratio_min, limits.ratio_max
    side = limits.min_side_px
    if side is not None:
        yield from ((side, side), (side - step, side), (side, side - step))
    base = side or 300
    if high is not None:
        wide = int(base * high)
        yield from ((wide, base), (wide + step, base))
    if low is not None:
        tall = int(base / low)
        yield from ((base, tall), (base, tall + step))
    if limits.max_side_px is not None:
        most = limits.max_side_px
        short = max(base, _even(most / high) if high is not None else base)
        yield from ((most, short), (most + step, short))
    for width in (limits.min_width_px, limits.max_width_px):
        if width is not None:
            beyond = width - step if width == limits.min_width_px else width + step
            yield from ((width, 720), (beyond, 720))


def _around(low: float | None, high: float | None) -> list[float]:
    """Return both bounds and what is one beyond each, where there are any."""
    below = [] if low is None else [low, low - 1]
    return [*below, *([] if high is None else [high, high + 1])]


def _even(number: Fraction) -> int:
    return 2 * math.ceil(number / 2)
