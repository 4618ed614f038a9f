"""Drawn stories: what is found is made small, saved and played again; careful clients pass them all, quickly."""

import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kling_contract.cli.commands.client import command
from kling_contract.judging import judge_history
from kling_contract.lab import shrinker as crowd
from kling_contract.lab.adapters.inprocess import load, play
from kling_contract.lab.behaviour import Behaviour, Event, read
from kling_contract.lab.drawn import Drawn, book_for, replay, search
from kling_contract.mutants.client.inprocess import correct, with_switch
from kling_contract.mutants.clients import ClientMutant
from kling_contract.mutants.clients import command as words_of
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import Choice, SetupError

EXAMPLE = Path(__file__).parents[2] / "examples" / "in_process_client.py"
PLANTED = {
    "repeats-a-lost-create": "CM-02",
    "creates-after-failure": "CM-01",
    "knows-no-dates": "CP-04",
    "believes-the-first-404": "CP-16",
    "reads-on-after-401": "CP-17",
    "never-gives-up": "CP-13",
    "hides-the-reason": "CD-12",
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


def run_raising(*arguments: str) -> None:
    """The same, for what is refused."""
    command.main(list(arguments), standalone_mode=False)


@pytest.mark.parametrize("stories", [50, pytest.param(500, marks=pytest.mark.long)])
def test_reference_client_passes(stories: int) -> None:
    """
    Many stories for the reference client, with nothing wrong.
    """
    drawn = search(load(f"{EXAMPLE}:generate"), shipped(), stories=stories, seed=1)

    assert drawn.breaches == ()
    assert drawn.stories == stories


def test_a_story_keeps_to_what_its_place_can_do(tmp_path: Path) -> None:
    """
    A saved story that asks for what cannot be is refused, with what there is.
    """
    story = tmp_path / "story.yaml"
    story.write_text("events: [{at: link, does: refuse, status: 200}]")

    with pytest.raises(SetupError, match="a link does not refuse; there are cut, expire, fail-server"):
        read(story)


def test_a_drawn_report_is_about_a_client() -> None:
    """
    What a drawn story shows is judged by the rules for clients alone.
    """
    run = judge_history(play(correct, Behaviour(), shipped()).events, Choice(), str)

    assert run.mode == "client"
    assert all(verdict.rule.for_clients for verdict in run.verdicts)


def test_own_client_passes() -> None:
    """
    The client that the mutants are made of has nothing wrong with it either.
    """
    assert search(correct, shipped(), stories=40, seed=2).breaches == ()


@pytest.mark.parametrize(
    "switch", [*list(PLANTED)[::2], *(pytest.param(one, marks=pytest.mark.long) for one in list(PLANTED)[1::2])]
)
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
    name = "kling_contract.mutants.client.inprocess:knows_no_dates"
    code, said = run("--in-process", name, "--drawn", "300", "--report", "report")
    kept = tmp_path / "report" / "drawn-CP-04.yaml"

    assert code == 1
    assert read(kept).client == name
    assert (tmp_path / "report" / "report.json").is_file()
    again = f"--in-process {name} --replay report/drawn-CP-04.yaml"
    assert f"again: kling-contract client {again}" in said
    assert run(*again.split())[0] == 1
    fine = "kling_contract.mutants.client.inprocess:correct"
    assert run("--in-process", fine, "--replay", str(kept)) == (0, f"{kept}: nothing is wrong any more\n")


def test_command_says_when_nothing_is_wrong() -> None:
    """
    Without a finding there is one line, and exit code 0.
    """
    said = run("--in-process", "kling_contract.mutants.client.inprocess:correct", "--drawn", "20", "--seed", "3")

    assert said == (0, "20 drawn stories (seed 3): nothing is wrong\n")


@pytest.mark.parametrize(
    "switch",
    [
        "knows-no-dates",
        "acts-on-every-callback",
        pytest.param("repeats-a-lost-create", marks=pytest.mark.long),
        pytest.param("dies-of-a-5xx", marks=pytest.mark.long),
    ],
)
def test_a_crowd_finds_what_one_after_the_other_finds(switch: str) -> None:
    """
    Stories side by side find a planted bug, make it as small as it gets, and give what shows it; a careful client passes.
    """
    broken, over = with_switch(switch), list[int]()
    play_it = partial(play, contract=shipped(), min_poll=0.2, deadline=30.0)
    found = crowd.search(partial(play_it, broken), shipped(), stories=200, report=lambda: over.append(1), at_once=1)
    fine = crowd.search(partial(play_it, correct), shipped(), stories=40, at_once=1)

    assert found.failure is not None
    assert len(found.failure.events) <= 2
    assert found.breaches[0].rule == found.failure.rule
    assert found.breaches == replay(found.failure, shipped(), partial(play_it, broken)).breaches
    assert fine == Drawn(40)
    assert len(over) == 200


def test_a_crowd_draws_by_seed() -> None:
    """
    One seed draws the same stories, none twice, another one others; none has a silent read or a long wait.
    """
    first, second = crowd.drawn(shipped(), 30, 1), crowd.drawn(shipped(), 30, 2)

    assert first == crowd.drawn(shipped(), 30, 1) != second
    assert len(set(first)) == 30
    events = [event for story in (*first, *second) for event in story.events]
    assert {event.wait for event in events if event.does == "limit"} == {1}
    assert not [event for event in events if (event.at, event.does) == ("read", "silence")]


def test_a_failure_that_does_not_come_again_is_none() -> None:
    """
    A story that fails once and then no more says something of the machine, not of the client.
    """
    late = iter([with_switch("dies-of-a-5xx")] * 5)
    found = crowd.search(lambda one: play(next(late, correct), one, shipped()), shipped(), stories=5, at_once=1)

    assert found == Drawn(5)


def test_a_pair_of_events_is_kept() -> None:
    """
    Where no event alone does it, events are left out one at a time.
    """

    def twice_unlucky(around: Any) -> Any:
        """Gives up at the second trouble."""
        troubles, send = [0], around.send

        def watched(*call: Any, **more: Any) -> Any:
            answer = send(*call, **more)
            troubles[0] += answer.status == 503
            if troubles[0] > 1:
                raise RuntimeError("too much")
            return answer

        around.send = watched
        return correct(around)

    failing = Event(at="read", does="fail-server", status=503)
    story = Behaviour(events=(Event(at="read", does="pending"), failing, Event(at="read", does="extra"), failing))
    lot = crowd._Shrinker(lambda one: play(twice_unlucky, one, shipped()), shipped(), book_for(shipped()), 1)
    (shown,) = lot.play([story])

    smallest, again = lot.smallest(story, shown, "CP-05")

    assert smallest.events == (failing, failing)
    assert "CP-05" in {breach.rule for breach in again.breaches}


@pytest.mark.e2e
def test_drawn_stories_for_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Any command is put through drawn stories: a planted bug is made small, saved, and found again by the printed command.
    """
    monkeypatch.chdir(tmp_path)
    words = words_of(ClientMutant("", "ignores-retry-after", ""), shipped())
    options = ("--min-poll", "0.2", "--drawn", "30", "--seed", "3", "--only", "CP-03,CP-04")

    code, said = run(*options, "--", *words)
    again = shlex.split(said.partition("again: kling-contract client ")[2])

    assert code == 1, said
    saved = next(tmp_path.glob("drawn-CP-0[34].yaml"))  # both rules speak of what it ignores
    assert len(read(saved).events) <= 2
    assert again[:4] == ["--min-poll", "0.2", "--replay", saved.name]
    assert run(*again)[0] == 1
    assert run("--drawn", "3", "--", *words_of(ClientMutant("", "", ""), shipped()))[0] == 0


@pytest.mark.e2e
@pytest.mark.parametrize("how", [("--drawn", "2"), ("--replay", "story.yaml")])
def test_a_command_that_calls_nobody_is_no_client(
    how: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing is wrong with what never happened, so that is said instead.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.yaml").write_text("events: []\n")

    with pytest.raises(SetupError, match="never called the lab: exit code 3, last line: I am broken"):
        run(*how, "--", sys.executable, "-c", "import sys; print('I am broken'); sys.exit(3)")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--drawn", "2", "--story", "happy", "--", "true"), "--story goes with the lab's own stories"),
        (("--in-process", "a:b", "--impersonate"), "--impersonate goes with the lab's own stories"),
        (("--drawn", "2", "--adapter", "jsonl", "--", "true"), "--adapter jsonl goes with the lab's own stories"),
        (("--drawn", "2", "--replay", "x.yaml", "--", "true"), "--replay plays one story"),
        (("--in-process", "a:b", "--", "true"), "--in-process names a function"),
        (("--min-poll", "nan", "--", "true"), "nan is not a finite number"),
        (("--deadline", "inf", "--", "true"), "inf is not a finite number"),
        (("--min-poll", "5", "--deadline", "1", "--", "true"), "--min-poll 5 leaves no time for a read before 1 s"),
        (("--min-poll", "1e9", "--", "true"), "leaves no time for a read before 600 s"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: tuple[str, ...], said: str) -> None:
    """
    An option that would do nothing, or that leaves a client no way to be right, is an error and not a surprise.
    """
    with pytest.raises(click.UsageError, match=re.escape(said)):
        run_raising(*words)


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
    assert ("CP-04" in said) == bool(code)
