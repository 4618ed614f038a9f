"""How scenario files and settings are written: durations, spans, counted calls, holes, and a scenario named in one line."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

Span = tuple[float, float]
"""Seconds from and to, between which a task's own are drawn."""

Calls = tuple[tuple[float, float], ...]
"""Which calls, counted from 1: pairs of first and last."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"\d+(?:\.\d+)?|(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_LONGEST = 36_525 * _UNITS["d"]
_CALLS = re.compile(r"([1-9]\d{0,8})(?:\.\.([1-9]\d{0,8})?)?")
_COUNT = re.compile(r"\d{1,9}")
_HOLE = re.compile(r"\{([a-z][a-z_]*)\}")

TAG = re.compile(r"\[\[([a-z][a-z0-9-]*)((?:\s+[a-z_]+=[^\s\]]+)*)\s*\]\]")
"""A scenario named in a prompt: `[[failed code=service_error]]`."""


def seconds(text: str | float) -> float:
    """A duration such as `24h`, `1h30m`, `1.5s`, `250ms` or a bare number of seconds, at most a century.

    Raises:
        ValueError: it is not one of these.
    """
    match = None if isinstance(text, bool) else _DURATION.fullmatch(str(text).strip())
    length = sum(float(number) * _UNITS[unit or "s"] for number, unit in _PART.findall(match[0])) if match else inf
    if length > _LONGEST:
        raise ValueError(f"{_short(text)} is not a duration; write it like 5s, 250ms, 2m or 24h")
    return length


def span(value: Any) -> Span:
    """`5s`, `40s..80s` or `never` as a pair of seconds."""
    if value == "never":
        return (inf, inf)
    if isinstance(value, tuple) and len(value) == 2:
        low, high = value
    else:
        first, dots, last = str(value).partition("..")
        low, high = seconds(first), seconds(last if dots else first)
    if low > high:
        raise ValueError(f"{_short(value)} runs backwards; write the shorter time first")
    return (low, high)


def calls(value: Any) -> Calls:
    """`[1, 3]`, `[2..4]` or `[2..]` as pairs of first and last call; a bare one stands for a list of one."""
    items = value if isinstance(value, list | tuple) else [value]
    pairs = []
    for item in items:
        match = _CALLS.fullmatch(str(item))
        if not match:
            raise ValueError(f"{_short(item)} does not count calls; write 1, 2..4 or 2..")
        first = float(match[1])
        last = float(match[2]) if match[2] else (inf if ".." in str(item) else first)
        if last < first:
            raise ValueError(f"{_short(item)} runs backwards; write the earlier call first")
        pairs.append((first, last))
    return tuple(pairs)


def count(value: Any) -> float:
    """A whole number, or `never` or `forever` for one without end."""
    if value in ("never", "forever") or value == inf:
        return inf
    if isinstance(value, bool) or not _COUNT.fullmatch(str(value)):
        raise ValueError(f"{_short(value)} is not a count; write a whole number, or never or forever for no end")
    return int(str(value))


def holes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every `{name}` in *value*, keys included, with the place it stands in."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from holes(key, (*path, key))
            yield from holes(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from holes(item, (*path, index))
    elif isinstance(value, str):
        yield from ((hole, path) for hole in _HOLE.findall(value))


def filled(value: Any, params: Mapping[str, Any]) -> Any:
    """*value* with its holes filled; one that is the whole text gives the param with its type."""
    if isinstance(value, dict):
        return {filled(key, params): filled(item, params) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, params) for item in value]
    if not isinstance(value, str):
        return value
    whole = _HOLE.fullmatch(value)
    if whole and whole[1] in params:
        return params[whole[1]]
    return _HOLE.sub(lambda hole: written(params.get(hole[1], hole[0])), value)


def parse_choice(text: str) -> tuple[str, dict[str, str]]:
    """Name and params of a choice such as `failed code=service_error at=40`; values as they are written.

    Raises:
        ValueError: it does not read like that.
    """
    name, *pairs = text.split() or [""]
    params: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"{_short(pair)} is not a param; write it like code=service_error")
        params[key] = value
    return name, params


def write_choice(name: str, params: Mapping[str, Any]) -> str:
    """The one spelling of a choice; `parse_choice` reads it.

    Raises:
        ValueError: a value has blanks in it.
    """
    for key, value in params.items():
        if str(value).split() != [str(value)]:
            raise ValueError(f"{key}={_short(value)}: a value is one word without blanks")
    return " ".join([name, *(f"{key}={written(params[key])}" for key in sorted(params))])


def written(value: Any) -> str:
    """A param's value as it stands in a choice."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed(text: Any, default: Any) -> Any:
    """What was written for a param as a value of its default's type, where it reads like one; else as it is."""
    if not isinstance(text, str) or isinstance(default, str):
        return written(text) if isinstance(default, str) else text
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text, text)
    for kind in (int, float) if isinstance(default, float) else (int,):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
