"""A clock that moved while something was under way gives bounds: no judge that compares times takes a bound for a moment."""

from dataclasses import replace
from typing import Any

import histories
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import CONTRACT

from kling_contract.history.events import Callback, Download, Exchange
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules

BOOK = [rule for rule in rules(CONTRACT).values() if not rule.for_clients]
GOOD = histories.good()
TIMED = (Exchange, Callback, Download)


def blamed(events: list[Any]) -> set[str]:
    """The rules that a history breaks."""
    return {found.rule.id for found in judge_all(events, CONTRACT, BOOK) if found.findings or found.broken}


def spans(events: list[Any]) -> list[int]:
    """Places of the events that take time."""
    return [place for place, event in enumerate(events) if isinstance(event, TIMED)]


@settings(max_examples=settings.default.max_examples // 5, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 5000), st.floats(0, 5000)), min_size=1, max_size=30))
def test_wider_bounds_never_blame(changes: list[tuple[int, float, float]]) -> None:
    """
    Whichever moments of a correct history are only known to lie in an interval that holds them, no rule is broken.
    """
    events, places = list(GOOD), spans(GOOD)
    for number, before, ended_before in changes:
        place = places[number % len(places)]
        event = events[place]
        since = event.at - before
        events[place] = replace(event, since=since, ended_since=max(since, event.ended_at - ended_before))
    assert blamed(events) == set()


def waiting(seconds: float) -> list[Any]:
    """The good history with the second attempt of one task so many seconds after the end of the first."""
    events = list(GOOD)
    attempts = [
        place for place in spans(events) if isinstance(events[place], Callback) and "/failing" in events[place].url
    ]
    first, second = (events[place] for place in attempts[:2])
    moved = first.ended_at + seconds - second.at
    events[attempts[1]] = replace(second, at=second.at + moved, ended_at=second.ended_at + moved)
    return events


@pytest.mark.parametrize(("seconds", "fine"), [(0.02, False), (0.99, False), (1.0, True)])
def test_a_retry_that_is_early_is_still_named(seconds: float, fine: bool) -> None:
    """
    Where the clock stood still, a retry is judged to the microsecond.
    """
    assert ("SC-08" in blamed(waiting(seconds))) is not fine


def test_an_end_during_a_move_is_no_moment() -> None:
    """
    The clock was moved by a second while the first attempt was unanswered: its end may be a second earlier than was read.
    """
    events = waiting(1.0)
    place = next(n for n in spans(events) if isinstance(events[n], Callback) and "/failing" in events[n].url)
    event = events[place]
    events[place] = replace(event, ended_at=event.ended_at + 1)
    assert "SC-08" in blamed(events)
    events[place] = replace(event, ended_at=event.ended_at + 1, ended_since=event.ended_at)
    assert "SC-08" not in blamed(events)
