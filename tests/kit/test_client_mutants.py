"""The broken clients: their table is whole, a handful of every group is named, and correct clients are let alone."""

from pathlib import Path

import pytest

from kling_contract.lab.stories import load
from kling_contract.mutants.client_trials import client_rules, tried
from kling_contract.mutants.clients import CORRECT, MUTANTS, ClientMutant
from kling_contract.mutants.selftest import bare
from kling_contract.mutants.table import listed
from kling_contract.reading.contract import shipped
from kling_contract.rules.rulebook import rules

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "contract_tests" / "kling_contract" / "mutants" / "client"
PAGE = ROOT / "docs" / "mutants.md"
HANDFUL = ("CQ-03", "CP-16", "CW-10")
WHOLE = ("CQ-03", "CQ-09", "CM-02", "CM-11", "CP-10", "CP-16", "CD-03", "CW-07", "CW-10")
"""A handful of every group, of each level."""
STORIES = tuple(load(shipped()).values())


def test_every_client_rule_has_a_mutant() -> None:
    """
    No rule about clients is left without proof that it can fail, and no mutant is about anything else.
    """
    assert list(dict.fromkeys(mutant.rule for mutant in MUTANTS)) == [rule.id for rule in client_rules()]


def test_switches_are_unique_and_real() -> None:
    """
    Each mutant throws a switch of its own, and the client has no switch that no mutant throws.
    """
    names = [mutant.switch for mutant in MUTANTS]
    source = "".join(path.read_text(encoding="utf-8") for path in CLIENT.glob("*.py"))

    assert len(set(names)) == len(names)
    assert [name for name in names if f'"{name}"' not in source] == []
    thrown = {part.partition('"')[0] for part in source.split('does("')[1:]}
    assert thrown <= set(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.switch)
def test_mutant_is_written_out(mutant: ClientMutant) -> None:
    """
    Each has a story that says what is wrong, and stories that can show its rule.
    """
    plays = mutant.plays(STORIES)

    assert mutant.story[0].islower()
    assert not mutant.story.endswith(".")
    assert plays
    assert all(mutant.rule in story.rules for story in plays)
    assert set(mutant.stories) <= {story.name for story in plays}


def test_correct_clients_play_everything() -> None:
    """
    Between them, the correct clients play every story that a command can be asked for.
    """
    played = {story.name for client in CORRECT for story in client.plays(STORIES)}

    assert {story.name for story in STORIES} - played == {"refused-ratio"}


def test_page_tells_of_every_mutant() -> None:
    """
    The page in the docs has each mutant, its rule and its story.
    """
    about_clients = {rule.id for rule in client_rules()}
    published = {entry for entry in listed(PAGE.read_text(encoding="utf-8")) if entry[0] in about_clients}

    assert published == {(mutant.rule, mutant.switch, mutant.story) for mutant in MUTANTS}


@pytest.mark.e2e
@pytest.mark.parametrize("chosen", [HANDFUL, pytest.param(WHOLE, marks=pytest.mark.long)], ids=len)
def test_a_handful_is_named(chosen: tuple[str, ...]) -> None:
    """
    Each of a handful is named for its rule, by its own stories; the self-test, which CI runs as well, names all.
    """
    rows = tried([mutant for mutant in MUTANTS if mutant.rule in chosen])

    assert [row.problem for row in rows if row.problem] == []
    assert {row.rule for row in rows} == set(chosen)
    assert [rule.id for rule in bare(rows, [rules(shipped())[rule] for rule in chosen])] == []


@pytest.mark.e2e
def test_harmless_mutant_is_no_proof() -> None:
    """
    A mutant whose switch changes nothing fails the self-test, and so does a correct client that is blamed.
    """
    harmless = ClientMutant("CQ-09", "changes-nothing", "changes nothing")
    blamed = ClientMutant("", "names-a-library", "no switch, it says", stories=("happy",))
    nothing, blame = tried([harmless, blamed])

    assert nothing.problem == "CQ-09 is not named, but nothing"
    assert blame.problem.startswith("a correct client is blamed: CQ-13")
