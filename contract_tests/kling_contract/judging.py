"""From a history to its reports: what every subcommand does after it has something to judge."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kling_contract.history.events import AnyEvent
from kling_contract.reading.contract import Contract, shipped
from kling_contract.reading.recordings import read
from kling_contract.reports import terminal
from kling_contract.rules.notes import check_notes
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.verdicts import CLIENT, DRIVEN, Choice, Run, decide, run_facts


def judge(
    recording: "Path | str | Iterable[AnyEvent]",
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    strict: bool = False,
    contract: Contract | None = None,
) -> Run:
    """Judge a recorded history: a file (JSON Lines, HAR, the fake's journal) or its events.

    *only* and *skip* are rule ids; under *strict* a broken SHOULD fails the run. `Run.exit` is the exit code of `kling-contract check`,
    `Run.verdicts` has one entry a rule.

    >>> run = judge("run.har", skip=["SW-01"])                 # doctest: +SKIP
    >>> [found.rule.id for found in run.verdicts if found.result == Result.FAIL]  # doctest: +SKIP

    Raises:
        OSError: the file cannot be read.
        HistoryError: it is no history.
        SetupError: a rule id does not exist, or no rule is left.
    """
    path, events = (
        (Path(recording), recorded(Path(recording))) if isinstance(recording, str | Path) else (None, recording)
    )
    choice = Choice(only=frozenset(only), skip=frozenset(skip), strict=strict)
    run = judge_history(events, choice, again("check", [str(path)] if path is not None else []), contract)
    return run if run.target or path is None else replace(run, target=path.name)


def recorded(path: Path) -> list[AnyEvent]:
    """Return the events of a recording, whose notes hold what judges read in them.

    Raises:
        HistoryError: it is not one; one line that names the file. OSError: it cannot be read.
    """
    events = read(path)
    check_notes(events, str(path))
    return events


def judge_history(
    events: Iterable[AnyEvent], choice: Choice, rerun: Callable[[str], str], contract: Contract | None = None
) -> Run:
    """The run that *events* amount to under *choice*; *rerun* gives the command that repeats one rule.

    Raises:
        SetupError: *choice* names a rule that does not exist, or leaves none.
    """
    contract = contract or shipped()
    kept = tuple(events)
    book = [rule for rule in choice.book(contract) if fits(rule, str(run_facts(kept).get("mode", "")))]
    return decide(kept, judge_all(kept, contract, book), contract, choice, rerun)


def fits(rule: Rule, mode: str) -> bool:
    """Whether *rule* is judged in a history of *mode*: a client's or a server's, or both in a recording of others."""
    if mode == CLIENT:
        return rule.for_clients
    return not rule.for_clients or mode not in DRIVEN


def finish(run: Run, folder: Path | None, console: Console) -> int:
    """Print *run*, write its report files into *folder*, and answer the exit code.

    Raises:
        SetupError: the report cannot be written.
    """
    terminal.show(run, console)
    if folder is not None:
        from kling_contract.reports import files  # and Jinja, which only reports need

        files.write(run, folder)
        terminal.say(console, f"report: {folder / 'report.html'}", "dim")
    return run.exit


def again(command: str, arguments: Iterable[str]) -> Callable[[str], str]:
    """A giver of rerun commands: `kling-contract COMMAND ARGUMENTS --only RULE`."""
    start = shlex.join(["kling-contract", command, *arguments])
    return lambda rule_id: f"{start} --only {rule_id}"
