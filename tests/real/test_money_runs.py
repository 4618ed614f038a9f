"""Money, over seeded runs: two of each kind here, five hundred with `scripts/money-runs` (their result stands beside this file)."""

import json
from pathlib import Path

import pytest
from money_runs import KINDS, Outcome, one, repeated

RECORDED = Path(__file__).with_name("money-runs.json")


@pytest.mark.parametrize("seed", range(2 * len(KINDS)))
def test_nothing_passes_the_cap(seed: int) -> None:
    """Whatever the stand-in does, its own books stay within what the user allowed."""
    assert one(seed).problem == ""


def test_the_recorded_runs() -> None:
    """Five hundred runs or more, of every kind, none over its cap."""
    recorded = json.loads(RECORDED.read_text())
    assert recorded["runs"] >= 500
    assert (recorded["over_the_cap"], recorded["readonly_usd"], recorded["creates_sent_again"]) == (0, 0, 0)
    assert set(recorded["kinds"]) == set(KINDS)
    assert recorded["usd_charged"] > 0


def test_a_run_over_the_cap_would_be_seen() -> None:
    """The check can fail: on money, on a readonly run that costs, and on a create that is sent again."""
    bad = Outcome(1, "honest", "paid", 0.5, 0.6, 1, 0, "")
    assert "cap is $0.50" in bad.problem
    assert "readonly cost" in Outcome(1, "honest", "readonly", 9.0, 0.6, 1, 0, "").problem
    assert "sent again" in Outcome(1, "honest", "paid", 9.0, 0.6, 1, 1, "").problem
    row = {"method": "POST", "keyed": True}
    assert repeated([row, {**row, "lost": True}, row]) == 1
    assert repeated([row, {**row, "lost": True}]) == 0
