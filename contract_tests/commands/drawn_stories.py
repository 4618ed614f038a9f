"""`kling-contract client --in-process`: drawn stories for a Python client, and `--replay` of one that failed."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from contract_tests.contract import Contract
from contract_tests.judging import finish, judge_history
from contract_tests.lab import behaviour
from contract_tests.lab.adapters import aloud
from contract_tests.lab.adapters.inprocess import load, play
from contract_tests.lab.drawn import Drawn, replay, search
from contract_tests.lab.pace import deadline
from contract_tests.lab.told import Adapter
from contract_tests.rules.rulebook import rules
from contract_tests.verdicts import Choice, book_of

STORIES = 200
"""How many are drawn, unless the user says."""


def judge(name: str, given: dict[str, Any], choice: Choice, contract: Contract, console: Console) -> int:
    """Draw stories for the function *name* (or play the one of `--replay`), print what was found; answers the exit code.

    Raises:
        SetupError: there is no such function or file.
    """
    client = load(name)
    again = _Again(["--in-process", name], [], choice, contract, console, given["report"])
    if given["replay"] is not None:
        story = behaviour.read(given["replay"])
        return again.told(replay(story, contract, lambda one: play(client, one, contract)), given["replay"])
    only = frozenset(rule.id for rule in book_of(contract, choice) if rule.for_clients)
    seed = given["seed"] or 0
    drawn = search(client, contract, stories=given["drawn"] or STORIES, seed=seed, only=only)
    if drawn.failure is None:
        console.print(f"{drawn.stories} drawn stories (seed {seed}): nothing is wrong", highlight=False)
        return 0
    path = _saved(drawn.failure.model_copy(update={"client": name}), given["report"])
    console.print(
        f"story {drawn.stories} of seed {seed} fails; the smallest that does, saved as {path}:\n", highlight=False
    )
    return again.told(drawn, path)


def judge_aloud(
    words: Sequence[str], adapter: Adapter, given: dict[str, Any], choice: Choice, contract: Contract, console: Console
) -> int:
    """Play the story of `--replay` to a command, in real time; answers the exit code.

    Raises:
        SetupError: there is no such file, or the command cannot be started.
    """
    pause = given["min_poll"] or contract.min_poll
    limit = given["deadline"] or deadline(pause)
    story = behaviour.read(given["replay"])
    again = _Again(["--min-poll", f"{pause:g}"], ["--", *words], choice, contract, console, given["report"])
    return again.told(
        replay(story, contract, lambda one: aloud.play(adapter, one, contract, min_poll=pause, deadline=limit)),
        given["replay"],
    )


def _saved(failure: behaviour.Behaviour, folder: Path | None) -> Path:
    """The story in a file of its own: in the report's folder, else here."""
    place = folder or Path()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"drawn-{failure.rule}.yaml"
    path.write_text(failure.told(), encoding="utf-8")
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

    def told(self, drawn: Drawn, path: Path) -> int:
        """Print the story, what is wrong with it, and the command that plays it; answers the exit code."""
        if drawn.failure is None:
            self._say(f"{path}: nothing is wrong any more")
            return 0
        again = shlex.join(["kling-contract", "client", *self.before, "--replay", str(path), *self.after])
        self._say(drawn.failure.told())
        book = rules(self.contract)
        for breach in drawn.breaches:
            self.console.print(
                f"[bold red]{breach.rule}[/] {escape(book[breach.rule].sentence)}", highlight=False, soft_wrap=True
            )
            self._say(f"  expected  {breach.expected}\n  seen      {breach.seen}")
        self._say(f"\nagain: {again}")
        if self.report is not None:
            finish(judge_history(drawn.events, self.choice, lambda _: again, self.contract), self.report, self.console)
        return 1

    def _say(self, text: str) -> None:
        self.console.print(escape(text), highlight=False, soft_wrap=True)
