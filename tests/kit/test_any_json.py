"""No judge breaks, whatever JSON stands in whichever field: a server's nonsense is a finding or nothing, never an error of the kit."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import histories
import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tape import CONTRACT

from kling_common.masking import Mask
from kling_contract.history.events import Callback, Exchange, body_of
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules

BOOK = list(rules(CONTRACT).values())
GOOD = histories.good()
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8)
JSON = st.recursive(
    LEAVES | st.sampled_from(["720p", "completed", "task-unified-1-aaaaaaaa", 1e308, 10**300, -1, "", "https://[::1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("id"), inner, max_size=3),
    max_leaves=6,
)
MASK = Mask(b"any")


def parts(events: list[Any]) -> list[tuple[int, str, tuple[Any, ...]]]:
    """Every place of the history where JSON stands: event, message, and the path of a member; an empty path is all of it."""
    found = []
    for number, event in enumerate(events):
        if not isinstance(event, Exchange | Callback):
            continue
        for name in ("request", "answer"):
            message = getattr(event, name)
            if message is not None:
                found += [(number, name, path) for path in _paths(_json(message))]
    return found


def _json(message: Any) -> Any:
    try:
        return orjson.loads(message.body.content)
    except orjson.JSONDecodeError:
        return None


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """*value* with *new* at *path*."""
    if not path:
        return new
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {**value, first: put(value[first], rest, new)}
    return [put(inner, rest, new) if number == first else inner for number, inner in enumerate(value)]


PLACES = parts(GOOD)
UNHASHABLE = [place for place in PLACES if place[2] == ("quality",)]


def judged(changes: list[tuple[int, Any]]) -> list[str]:
    """Why judges broke on the good history with the JSON at some places replaced."""
    events = list(GOOD)
    for place, value in changes:
        number, name, path = PLACES[place % len(PLACES)]
        event = events[number]
        message = getattr(event, name)
        before = _json(message)
        if not all(True for _ in path) or (path and before is None):
            continue
        try:
            data = orjson.dumps(put(before, path, value))
        except (KeyError, TypeError, IndexError, orjson.JSONEncodeError):
            continue  # another change took the place away, or no JSON of ours holds the number
        events[number] = replace(event, **{name: replace(message, body=body_of(data, MASK))})
    return [f"{found.rule.id}: {found.broken}" for found in judge_all(events, CONTRACT, BOOK) if found.broken]


@settings(max_examples=settings.default.max_examples // 5, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PLACES) - 1), JSON), min_size=1, max_size=40))
@example([(PLACES.index(place), ["720p"]) for place in UNHASHABLE])
@example([(number, [1]) for number in range(len(PLACES))])
@example([(number, {"id": [1]}) for number in range(0, len(PLACES), 3)])
def test_no_judge_breaks(changes: list[tuple[int, Any]]) -> None:
    """
    Lists, objects, null and huge numbers in any member of any message: every judge ends.
    """
    assert judged(changes) == []
