"""`kling-contract client --in-process`: drawn stories for a Python client, and `--replay` of one that failed."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from contract_tests.contract import Contract
from contract_tests.judging import finish, judge_history
from contract_tests.lab import behaviour
from contract_tests.lab.adapters.inprocess import InProcess, load
from contract_tests.lab.drawn import Drawn, replay, search
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
    if given["replay"] is not None:
        return _replayed(client, name, given["replay"], choice, contract, console, given["report"])
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
    return _told(drawn, name, path, choice, contract, console, given["report"])


def _saved(failure: behaviour.Behaviour, folder: Path | None) -> Path:
    """The story in a file of its own: in the report's folder, else here."""
    place = folder or Path()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"drawn-{failure.rule}.yaml"
    path.write_text(failure.told(), encoding="utf-8")
    return path


def _replayed(
    client: InProcess, name: str, path: Path, choice: Choice, contract: Contract, console: Console, report: Path | None
) -> int:
    drawn = replay(client, behaviour.read(path), contract)
    if drawn.failure is None:
        console.print(f"{path}: nothing is wrong any more", highlight=False)
        return 0
    return _told(drawn, name, path, choice, contract, console, report)


def _told(
    drawn: Drawn, name: str, path: Path, choice: Choice, contract: Contract, console: Console, report: Path | None
) -> int:
    """Print a failure: the story, what is wrong with it, and the command that plays it again."""
    again = shlex.join(["kling-contract", "client", "--in-process", name, "--replay", str(path)])
    assert drawn.failure is not None
    console.print(escape(drawn.failure.told()), highlight=False, soft_wrap=True)
    book = rules(contract)
    for breach in drawn.breaches:
        console.print(
            f"[bold red]{breach.rule}[/] {escape(book[breach.rule].sentence)}", highlight=False, soft_wrap=True
        )
        console.print(
            escape(f"  expected  {breach.expected}\n  seen      {breach.seen}"), highlight=False, soft_wrap=True
        )
    console.print(f"\nagain: {escape(again)}", highlight=False, soft_wrap=True)
    if report is not None:
        finish(judge_history(drawn.events, choice, lambda _: again, contract), report, console)
    return 1
