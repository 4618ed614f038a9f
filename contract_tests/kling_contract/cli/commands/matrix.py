"""`kling-contract matrix REPORT...`: several runs on one page, rule by rule."""

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from kling_contract.cli.options import folder_option
from kling_contract.reports import files, saved
from kling_contract.reports.summary import distinct, headline
from kling_contract.reports.terminal import say


@click.command()
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...", type=click.Path(path_type=Path))
@folder_option("--out", required=True, help="Write report.html there.")
def command(reports: tuple[Path, ...], out: Path) -> int:
    """Show several reports side by side: one page with a row for each run, made from their report.json.

    REPORT is a report.json, or the folder that --report wrote.
    """
    console = Console()
    runs = [saved.read(path) for path in reports]
    names = distinct([run.target or "recorded" for run in runs], reports)
    named = [replace(run, target=name) for run, name in zip(runs, names, strict=True)]
    for run in named:
        say(console, f"{run.target}: {headline(run)}")
    files.write_page(named, out)
    say(console, f"side by side: {out / 'report.html'}", "dim")
    return 1 if any(run.exit == 1 for run in runs) else 0
