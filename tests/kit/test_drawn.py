"""Drawn stories: what is found is made small, saved and played again; careful clients pass them all, quickly."""

import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contract_tests.commands.client import command
from contract_tests.contract import shipped
from contract_tests.lab.adapters.inprocess import load, play
from contract_tests.lab.behaviour import read
from contract_tests.lab.drawn import replay, search
from contract_tests.mutants.client.inprocess import correct, with_switch
from contract_tests.mutants.clients import ClientMutant
from contract_tests.mutants.clients import command as words_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "in_process_client.py"
PLANTED = {
    "repeats-a-lost-create": "CM-02",
    "creates-after-failure": "CM-01",
    "knows-no-dates": "CP-03",
    "believes-the-first-404": "CP-16",
    "reads-on-after-401": "CP-17",
    "never-gives-up": "CP-13",
    "hides-the-reason": "CD-10",
    "acts-on-every-callback": "CW-03",
}
"""A bug, and the rule that its smallest story is about."""
LONGEST = 5


def run(*arguments: str) -> tuple[int, str]:
    """`kling-contract client` with *arguments*: exit code and output."""
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, click.ClickException):
        raise result.exception
    return int(result.return_value or 0), result.output


def test_reference_client_passes_two_hundred() -> None:
    """
    200 stories for the reference client, with nothing wrong, in less than 30 s.
    """
    began = time.perf_counter()
    drawn = search(load(f"{EXAMPLE}:generate"), shipped(), stories=200, seed=1)

    assert drawn.breaches == ()
    assert drawn.stories == 200
    assert time.perf_counter() - began < 30


def test_own_client_passes() -> None:
    """
    The client that the mutants are made of has nothing wrong with it either.
    """
    assert search(correct, shipped(), stories=100, seed=2).breaches == ()


@pytest.mark.parametrize("switch", PLANTED)
def test_planted_bug_is_made_small(switch: str) -> None:
    """
    A planted bug is found, shrinks to five events or fewer, and its story shows it again, and nothing for a careful client.
    """
    broken = with_switch(switch)
    drawn = search(broken, shipped(), stories=400)

    assert drawn.failure is not None
    assert drawn.failure.rule == PLANTED[switch] == drawn.breaches[0].rule
    assert len(drawn.failure.events) <= LONGEST
    again = replay(drawn.failure, shipped(), lambda one: play(broken, one, shipped()))
    assert again.breaches == drawn.breaches
    assert replay(drawn.failure, shipped(), lambda one: play(correct, one, shipped())).failure is None


def test_one_seed_draws_the_same() -> None:
    """
    The same seed finds the same story after as many others.
    """
    first, second = (search(with_switch("dies-of-a-5xx"), shipped(), stories=100, seed=5) for _ in range(2))

    assert first.failure == second.failure
    assert first.stories == second.stories


def test_only_the_rules_asked_for() -> None:
    """
    A rule that is not asked for is not looked for.
    """
    assert search(with_switch("tells-another-id"), shipped(), stories=20, only=frozenset({"CM-01"})).failure is None


def test_command_saves_and_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The command line prints the story, saves it, and prints the command that plays it, which finds the same.
    """
    monkeypatch.chdir(tmp_path)
    name = "contract_tests.mutants.client.inprocess:knows_no_dates"
    code, said = run("--in-process", name, "--drawn", "300", "--report", "report")
    kept = tmp_path / "report" / "drawn-CP-03.yaml"

    assert code == 1
    assert read(kept).client == name
    assert (tmp_path / "report" / "report.json").is_file()
    again = f"--in-process {name} --replay report/drawn-CP-03.yaml"
    assert f"again: kling-contract client {again}" in said
    assert run(*again.split())[0] == 1
    fine = "contract_tests.mutants.client.inprocess:correct"
    assert run("--in-process", fine, "--replay", str(kept)) == (0, f"{kept}: nothing is wrong any more\n")


def test_command_says_when_nothing_is_wrong() -> None:
    """
    Without a finding there is one line, and exit code 0.
    """
    said = run("--in-process", "contract_tests.mutants.client.inprocess:correct", "--drawn", "20", "--seed", "3")

    assert said == (0, "20 drawn stories (seed 3): nothing is wrong\n")


@pytest.mark.e2e
@pytest.mark.parametrize(("switch", "code"), [("knows-no-dates", 1), ("", 0)])
def test_story_is_played_to_a_command(tmp_path: Path, switch: str, code: int) -> None:
    """
    A saved story is played to a command on a real port: the broken client is named, the careful one is not.
    """
    kept = tmp_path / "story.yaml"
    kept.write_text(
        "events:\n- {at: read, does: limit, wait: 1, form: date}\n- {at: link, does: cut}\n- {at: callback, does: twice, after: 9}\n"
    )
    words = words_of(ClientMutant("", switch, "", callbacks=True), shipped())
    assert words[0] == sys.executable

    found, said = run("--replay", str(kept), "--min-poll", "0.2", "--", *words)

    assert found == code, said
    assert ("CP-03" in said) == bool(code)
