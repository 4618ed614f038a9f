"""Judges of servers at their limits: what stands at a bound, and what stands just inside of it."""

from typing import Any

import pytest
from tape import CONTRACT, Tape

from kling_contract.rules.judging import Judgement
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules


def judged(rule_id: str, tape: Tape) -> Judgement:
    """What one judge says of what is on the tape."""
    (found,) = judge_all(tape.events, CONTRACT, [rules(CONTRACT)[rule_id]])
    assert not found.broken
    return found


@pytest.mark.parametrize(("spare", "looked"), [(0, 1), (1, 0), (2000, 0)])
def test_only_the_longest_callback_url_shows_that_it_is_taken(spare: int, looked: int) -> None:
    """SV-19: a shorter one that is accepted says nothing of the limit."""
    tape, start = Tape(), "https://h.example.com/"
    tape.create({"callback_url": start + "x" * (CONTRACT.callback_url_max - len(start) - spare)})

    assert judged("SV-19", tape).looked == looked


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"results": []}, False),
        ({"model": 7}, True),
        ({"results": 7}, True),
        ({"usage": 7}, True),
        ({"created": "x"}, True),
    ],
)
def test_a_task_whose_links_are_dead_may_list_none_and_is_held_to_the_rest(
    changes: dict[str, Any], wrong: bool
) -> None:
    """SS-01: from the moment at which they are dead."""
    tape = Tape()
    task = tape.create()
    tape.advance(60)
    tape.complete(task)
    tape.advance(CONTRACT.link_lifetime)
    tape.read({**task, **changes})

    assert bool(judged("SS-01", tape).findings) is wrong
