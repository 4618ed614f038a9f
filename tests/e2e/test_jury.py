"""The jury's clients and servers in the stories that are about them: no MUST against a right one, every defect named."""

import pytest
from tests.jury.bench import quick, quick_servers
from tests.jury.playing import members

pytestmark = pytest.mark.e2e


def test_right_clients_break_nothing_and_broken_ones_are_named() -> None:
    """
    All but those that hang until the lab ends them, at once.
    """
    wrong = {
        run.member.name: run.wrong for run in quick([one for one in members("client") if not one.slow]) if run.wrong
    }

    assert wrong == {}


def test_right_servers_break_nothing_and_broken_ones_are_named() -> None:
    """
    Servers that nobody here wrote the fake from, by the scripts that are about them.
    """
    assert {run.member.name: run.wrong for run in quick_servers(members("server")) if run.wrong} == {}
