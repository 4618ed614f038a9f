"""Processes that are killed under load lose nothing: a few kills on each store; crashes.py runs more."""

from collections.abc import Callable

import pytest
from crashes import run


@pytest.mark.e2e
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_is_lost_when_processes_are_killed(kind: str, kills: int, new_url: Callable[[str], str]) -> None:
    """Every accepted task is there, every callback arrived, none too often, and the balances add up."""
    report = run(new_url(kind), kills=kills, seed=7)

    assert not report.problems
    assert report.accepted
