"""`kling-contract check FILE...`: judge what was recorded earlier, or by other tools."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_contract.cli.options import chosen, common
from kling_contract.history.events import AnyEvent, HistoryError
from kling_contract.judging import again, finish, judge_history, recorded
from kling_contract.reports import files
from kling_contract.reports.summary import distinct
from kling_contract.reports.terminal import say
from kling_contract.rules.verdicts import CLIENT, Choice, Run, SetupError


@click.command()
@click.argument("recordings", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@common
def command(recordings: tuple[Path, ...], report: Path | None, **options: Any) -> int:
    """Judge recorded histories: JSON Lines, HAR, or the fake's journal.

    Each file is judged by itself; with several, --report makes a folder for each and one page for all.
    """
    choice = chosen(**options)
    console = Console()
    runs = [_judge(path, choice) for path in recordings]
    codes = []
    for path, run in zip(recordings, runs, strict=True):
        if len(runs) > 1:
            console.rule(str(path))
        codes.append(finish(run, _folder(report, path, recordings), console))
    if report is not None and len(runs) > 1:
        names = [run.target if run.mode == CLIENT else path.name for path, run in zip(recordings, runs, strict=True)]
        names = distinct(names, recordings)
        files.write_page([replace(run, target=name) for run, name in zip(runs, names, strict=True)], report)
        console.rule()
        say(console, f"side by side: {report / 'report.html'}", "dim")
    return _worst(codes)


def _judge(path: Path, choice: Choice) -> Run:
    try:
        events: Iterable[AnyEvent] = recorded(path)
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except HistoryError as error:
        raise SetupError(f"{error}; a recording is JSON Lines of the kit, a HAR file, or the fake's journal") from error
    run = judge_history(events, choice, again("check", [str(path)]))
    return run if run.target else replace(run, target=path.name)


def _folder(report: Path | None, path: Path, every: tuple[Path, ...]) -> Path | None:
    """The folder of one file's report; numbered where two files share a name."""
    if report is None or len(every) == 1:
        return report
    return report / f"{every.index(path) + 1}-{path.stem}"


def _worst(codes: list[int]) -> int:
    """Broken before stopped before nothing judged; nothing judged only when that is so of every file."""
    return next((code for code in (1, 3) if code in codes), 2 if set(codes) == {2} else 0)
