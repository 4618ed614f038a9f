"""`kling_contract.judge`: a history judged from Python."""

from pathlib import Path

import histories
import pytest

from kling_contract import SetupError, Verdict, judge
from kling_contract.history.events import write_jsonl


def test_a_file_and_its_events_give_the_same_verdicts(tmp_path: Path) -> None:
    """Of a path as of events; the file's name is the target where the history names none."""
    events = histories.good()
    path = tmp_path / "history.jsonl"
    write_jsonl(path, events)

    of_file, of_events = judge(path), judge(events)

    assert [(one.rule.id, one.verdict) for one in of_file.outcomes] == [
        (one.rule.id, one.verdict) for one in of_events.outcomes
    ]
    assert of_file.exit == 0
    assert any(one.verdict is Verdict.PASS for one in of_file.outcomes)


def test_rules_can_be_chosen() -> None:
    """By id; an id that does not exist is said."""
    assert [one.rule.id for one in judge(histories.good(), only=["SV-01"]).outcomes] == ["SV-01"]
    with pytest.raises(SetupError, match="XX-01"):
        judge(histories.good(), only=["XX-01"])
