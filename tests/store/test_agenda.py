"""The agenda of an account in memory: whatever is put on it comes off in order of time, as from one sorted list."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_mock.store.agenda import Agenda

_numbers = count()


@dataclass(order=True)
class Thing:
    """What is due; those of one moment have an order of their own."""

    number: int = field(default_factory=lambda: next(_numbers))


MOMENTS = st.one_of(
    st.floats(0, 4e9),
    st.floats(1.7e9, 1.7e9 + 2),
    st.sampled_from([1.7e9, 1.7e9 + 0.125, float("inf"), 1e300, 0.0]),
)


STEPS = st.lists(st.one_of(MOMENTS, st.none()), max_size=60)


@given(before=STEPS, dropped=st.integers(1, 5), after=STEPS)
def test_it_is_a_sorted_list(before: list[float | None], dropped: int, after: list[float | None]) -> None:
    """Put on in any order and taken off at any time (None), before and after some are dropped."""
    agenda, listed = Agenda(), []

    def go(steps: list[float | None]) -> None:
        for at in steps:
            if at is not None:
                due: Any = (at, Thing())
                agenda.push(due)
                listed.append(due)
            elif listed:
                listed.sort()
                assert agenda.pop() == listed.pop(0)
            assert agenda.first == (min(listed)[0] if listed else None)
            assert bool(agenda) is bool(listed)

    go(before)
    agenda.keep(lambda due: due[1].number % dropped == 0)  # type: ignore[union-attr]
    listed = [due for due in listed if due[1].number % dropped == 0]
    assert agenda.first == (min(listed)[0] if listed else None)
    go(after)

    assert [agenda.pop() for _ in listed] == sorted(listed)
    assert agenda.first is None
    with pytest.raises(IndexError):
        agenda.pop()


def test_what_is_cleared_is_gone() -> None:
    """And it can be used again."""
    agenda = Agenda()
    for at in (5.0, 1.0, 9.0):
        agenda.push((at, Thing()))  # type: ignore[arg-type]
    agenda.clear()
    agenda.push((7.0, Thing()))  # type: ignore[arg-type]

    assert (agenda.pop()[0], agenda.first) == (7.0, None)
