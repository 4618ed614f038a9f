"""`kling_contract.judge`: a history judged from Python."""

from pathlib import Path

import histories
import pytest

from kling_contract import Result, SetupError, judge
from kling_contract.history.events import jsonl


def test_a_file_and_its_events_give_the_same_verdicts(tmp_path: Path) -> None:
    """Of a path as of events; the file's name is the target where the history names none."""
    events = histories.good()
    path = tmp_path / "history.jsonl"
    path.write_bytes(jsonl(events))

    of_file, of_events = judge(path), judge(events)

    assert [(one.rule.id, one.result) for one in of_file.verdicts] == [
        (one.rule.id, one.result) for one in of_events.verdicts
    ]
    assert of_file.exit == 0
    assert any(one.result is Result.PASS for one in of_file.verdicts)


def test_rules_can_be_chosen() -> None:
    """By id; an id that does not exist is said."""
    assert [one.rule.id for one in judge(histories.good(), only=["SV-01"]).verdicts] == ["SV-01"]
    with pytest.raises(SetupError, match="XX-01"):
        judge(histories.good(), only=["XX-01"])
