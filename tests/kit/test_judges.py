"""Every judge is silent on a correct history and names what is wrong with a bad one."""

from typing import Any

import histories
import orjson
import pytest
from faults import BAD, GOOD, mutated
from tape import CONTRACT

from kling_contract.history.events import Note, to_json
from kling_contract.history.labels import Topic
from kling_contract.rules.registry import judge_all, judges
from kling_contract.rules.rulebook import rules

BOOK = [rule for rule in rules(CONTRACT).values() if not rule.for_clients]


def judged(events: list[Any], *rule_ids: str) -> dict[str, Any]:
    """The judgements of *events* by rule id; of all rules when none is named."""
    book = [rule for rule in BOOK if rule.id in rule_ids or not rule_ids]
    return {found.rule.id: found for found in judge_all(events, CONTRACT, book)}


def test_correct_history_is_silent_and_complete() -> None:
    """
    A correct server trips no rule, no judge breaks, and every rule finds something to look at.
    """
    found = judged(GOOD)

    assert not [one.broken for one in found.values() if one.broken]
    assert not [finding for one in found.values() for finding in one.findings]
    assert not [rule_id for rule_id, one in found.items() if not one.looked]


@pytest.mark.parametrize("rule_id", sorted(BAD))
def test_fault_is_named(rule_id: str) -> None:
    """
    One fault in the correct history is found by the rule that speaks of it, with the events that show it.
    """
    pick, change, *every = BAD[rule_id]

    found = judged(mutated(pick, change, every=bool(every)), rule_id)[rule_id]

    assert not found.broken
    assert found.findings
    assert found.findings[0].events
    assert found.findings[0].expected


def test_every_server_rule_has_a_judge_and_a_fault() -> None:
    """
    The rulebook, the judges and this table speak of the same server rules; SS-03 is judged from notes, see below.
    """
    of_clients = {rule.id for rule in rules(CONTRACT).values() if rule.for_clients}

    assert {rule.id for rule in BOOK} == set(judges) - of_clients == {*BAD, "SS-03"}


def test_missing_feature_is_named() -> None:
    """
    A feature that was declared and then missed breaks SS-03.
    """
    note = Note(seq=len(GOOD) + 1, topic=Topic.MISSING_FEATURE, data={"feature": "clock", "reason": "404"})

    assert judged([*GOOD, note])["SS-03"].findings[0].expected == "the declared feature clock"


def test_same_history_same_verdicts() -> None:
    """
    Judging twice, and judging what was written and read again, gives the same bytes.
    """
    first, second = (repr(judge_all(events, CONTRACT, BOOK)) for events in (GOOD, list(reversed(GOOD))))

    assert first == second
    assert orjson.dumps([to_json(event) for event in GOOD]) == orjson.dumps(
        [to_json(event) for event in histories.good()]
    )
