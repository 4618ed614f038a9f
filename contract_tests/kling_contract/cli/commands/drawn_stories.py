"""`kling-contract client --in-process`, `--drawn` and `--replay`: drawn stories, for a Python function or for any command."""

import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from kling_contract.judging import finish, judge_history
from kling_contract.lab import behaviour
from kling_contract.lab import shrinker as shrinker
from kling_contract.lab.adapters import real_time
from kling_contract.lab.adapters.inprocess import Played, load, play
from kling_contract.lab.drawn import Drawn, replay, search
from kling_contract.lab.pace import deadline, pace_for
from kling_contract.lab.results import Adapter
from kling_contract.reading.contract import Contract
from kling_contract.reports.terminal import say
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Choice

STORIES = 200
"""How many are drawn, unless the user says."""
_LIMIT = 15.0
"""Seconds that a command is given at least: a drawn story may have it wait for several errors one after the other."""


def judge(name: str, given: dict[str, Any], choice: Choice, contract: Contract, console: Console) -> int:
    """Draw stories for the function *name* (or play the one of `--replay`), print what was found; return the exit code.

    Raises:
        SetupError: there is no such function or file.
    """
    client = load(name)
    again = _Again(["--in-process", name], [], choice, contract, console, given["report"])
    if given["replay"] is not None:
        story = behaviour.read(given["replay"])
        return again.shown(replay(story, contract, lambda one: play(client, one, contract)), given["replay"])
    seed = given["seed"] or 0
    drawn = search(client, contract, stories=given["drawn"] or STORIES, seed=seed, only=_counting(choice, contract))
    return again.found(drawn, seed, name)


def _counting(choice: Choice, contract: Contract) -> frozenset[str]:
    """The rules for clients that the user wants judged."""
    return frozenset(rule.id for rule in choice.book(contract) if rule.for_clients)


def judge_in_real_time(
    words: Sequence[str], adapter: Adapter, given: dict[str, Any], choice: Choice, contract: Contract, console: Console
) -> int:
    """Play the story of `--replay`, or `--drawn` ones, to a command in real time; return the exit code.

    Raises:
        SetupError: there is no such file, or the command cannot be started.
    """
    pause = pace_for(contract, given["min_poll"], None).hurried
    limit = given["deadline"] or max(_LIMIT, deadline(pause))
    stop = threading.Event()

    def play_it(one: behaviour.Behaviour) -> Played:
        return real_time.play(
            adapter, one, contract, stop, min_poll=pause, deadline=limit, impersonate=given["impersonate"]
        )

    options = ["--min-poll", f"{given['min_poll']:g}"] if given["min_poll"] else []
    options += ["--impersonate"] if given["impersonate"] else []
    again = _Again(options, ["--", *words], choice, contract, console, given["report"])
    try:
        if given["replay"] is not None:
            drawn = replay(behaviour.read(given["replay"]), contract, play_it)
            shrinker.check_that_it_calls([drawn.events])
            return again.shown(drawn, given["replay"])
        drawn = _drawn(play_it, given, choice, contract, console)
        return again.found(drawn, given["seed"] or 0, shlex.join(words))
    except BaseException:
        stop.set()
        raise


def _drawn(
    play_it: shrinker.Play, given: dict[str, Any], choice: Choice, contract: Contract, console: Console
) -> Drawn:
    """Draw stories, with a bar on a terminal."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("drawn stories", total=given["drawn"])
        return shrinker.search(
            play_it, contract, stories=given["drawn"], seed=given["seed"] or 0, only=_counting(choice, contract),
            report=lambda: progress.advance(bar),
        )  # fmt: skip


def _saved(failure: behaviour.Behaviour, folder: Path | None) -> Path:
    """The story in a file of its own: in the report's folder, else here."""
    place = folder or Path()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"drawn-{failure.rule}.yaml"
    path.write_text(failure.as_yaml(), encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class _Again:
    """Tells what came of a story, and how to play it again. before, after: what surrounds `--replay FILE` on the command line."""

    before: Sequence[str]
    after: Sequence[str]
    choice: Choice
    contract: Contract
    console: Console
    report: Path | None

    def found(self, drawn: Drawn, seed: int, client: str) -> int:
        """Tell what drawing with *seed* came to, and save the story that fails; return the exit code."""
        if drawn.failure is None:
            self.console.print(f"{drawn.stories} drawn stories (seed {seed}): nothing is wrong", highlight=False)
            return 0
        path = _saved(drawn.failure.model_copy(update={"client": client}), self.report)
        say(self.console, f"story {drawn.stories} of seed {seed} fails; the smallest that does, saved as {path}:\n")
        return self.shown(drawn, path)

    def shown(self, drawn: Drawn, path: Path) -> int:
        """Print the story, what is wrong with it, and the command that plays it; return the exit code."""
        if drawn.failure is None:
            say(self.console, f"{path}: nothing is wrong any more")
            return 0
        again = shlex.join(["kling-contract", "client", *self.before, "--replay", str(path), *self.after])
        say(self.console, drawn.failure.as_yaml())
        book = rules(self.contract)
        for breach in drawn.breaches:
            self.console.print(
                f"[bold red]{breach.rule}[/] {escape(book[breach.rule].sentence)}", highlight=False, soft_wrap=True
            )
            say(self.console, f"  expected  {breach.expected}\n  seen      {breach.seen}")
        say(self.console, f"\nagain: {again}")
        if self.report is not None:
            finish(judge_history(drawn.events, self.choice, lambda _: again, self.contract), self.report, self.console)
        return 1
