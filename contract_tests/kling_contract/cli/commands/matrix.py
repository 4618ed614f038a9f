"""`kling-contract matrix REPORT...`: several runs on one page, rule by rule."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from kling_contract.cli.options import folder, variable
from kling_contract.reports import files, saved
from kling_contract.reports.summary import headline
from kling_contract.rules.verdicts import Run


@click.command()
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False, writable=True), callback=folder, required=True,
              envvar=variable("out"), metavar="DIR", help="Write report.html there.")  # fmt: skip
def command(reports: tuple[Path, ...], out: Path) -> int:
    """Show several reports side by side: one page with a row for each run, made from their report.json.

    REPORT is a report.json, or the folder that --report wrote.
    """
    console = Console()
    runs = [saved.read(path) for path in reports]
    named = [replace(run, target=name) for run, name in zip(runs, _names(reports, runs), strict=True)]
    for run in named:
        console.print(f"{run.target}: {headline(run)}", highlight=False, markup=False, soft_wrap=True)
    files.write_page(named, out)
    console.print(f"side by side: {out / 'report.html'}", style="dim", highlight=False, soft_wrap=True)
    return 1 if any(run.exit == 1 for run in runs) else 0


def _names(paths: Sequence[Path], runs: Sequence[Run]) -> list[str]:
    """The targets; what has the same name by its path as well."""
    names = [run.target or "recorded" for run in runs]
    return [f"{name} ({path})" if names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]
