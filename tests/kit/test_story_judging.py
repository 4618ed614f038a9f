"""One look at the end of a drawn story finds what a look after each of its steps does, and names the same step."""

from itertools import islice
from typing import Any

import histories
import variations
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import CONTRACT

from kling_contract.driving.drivers.machine import Mark, first_wrong
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Level, rules

PARTS = histories.parts()
PLAN = variations.plan(PARTS)
BOOK = [
    rule
    for rule in rules(CONTRACT).values()
    if not rule.for_clients and rule.level is not Level.MAY and rule.id != "SB-09"
]
"""All that a story watches. SB-09 is about creates sent at once, which are one step, so that no story ends among them."""
LATE = 2000.0


@st.composite
def stories(draw: st.DrawFn) -> tuple[Any, ...]:
    """A part of the correct history, changed in one place or in none, from some event on delayed or not."""
    name = draw(st.sampled_from(sorted(PARTS)))
    events = list(PARTS[name])
    if draw(st.booleans()):
        event, whole = draw(st.sampled_from(PLAN[name]))
        changed = list(islice(variations.variations(events, event, whole=whole), draw(st.integers(1, 200))))
        events = changed[-1] if changed else events
    since = draw(st.integers(0, 2 * len(events)))
    return tuple(variations.later(event, LATE) if place >= since else event for place, event in enumerate(events))


def after_each_step(marks: list[Mark], events: tuple[Any, ...]) -> tuple[Mark, str, str] | None:
    """What is wrong first, by a look after each step."""
    for mark in marks:
        for judgement in judge_all(events[: mark.events], CONTRACT, BOOK):
            for found in judgement.findings:
                return mark, found.rule, f"{found.rule}: expected {found.expected}, seen {found.seen}"
        if mark.own:
            return mark, "", mark.own
    return None


@settings(max_examples=60, deadline=None, database=None)
@given(events=stories(), data=st.data())
def test_one_look_finds_what_a_look_after_each_step_does(events: tuple[Any, ...], data: st.DataObject) -> None:
    """The same step, the same rule and the same words, or nothing; with and without a disagreement about the balance."""
    ends = data.draw(st.lists(st.integers(1, len(events)), min_size=1, max_size=5, unique=True).map(sorted))
    wrong = data.draw(st.sampled_from([None, None, *range(len(ends))]))
    marks = [Mark(end, step, "the balance" if step == wrong else "") for step, end in enumerate(ends)]

    assert first_wrong(marks, events, CONTRACT, BOOK) == after_each_step(marks, events)


def test_an_end_that_came_too_late_is_found_at_the_step_that_showed_the_delay() -> None:
    """Although the whole story shows the task over."""
    events = PARTS["lifecycle"]
    found = []
    for since in range(len(events)):
        late = tuple(variations.later(event, LATE) if place >= since else event for place, event in enumerate(events))
        marks = [Mark(end, end) for end in range(1, len(late) + 1)]
        found.append(first_wrong(marks, late, CONTRACT, [rule for rule in BOOK if rule.id == "SL-17"]))
    assert {wrong[1] for wrong in found if wrong is not None} == {"SL-17"}
