"""Resident memory of the fake with many tasks; the journal is capped as the fake caps it by default."""

import sys
from pathlib import Path

import click
from load import LoadError, create_tasks, request_body
from report import MB
from target_options import target_options, the_fake

import kling_openapi


@click.command()
@target_options
@click.option(
    "--tasks", default=100_000, show_default=True, type=click.IntRange(1, 10_000_000), help="Tasks to create."
)
@click.option("--limit", default=150.0, show_default=True, help="MB with all tasks that count as too much; issue 2.")
@click.option(
    "--contract", type=click.Path(path_type=Path), default=kling_openapi.SERVICE, help="Contract of the bodies."
)
def main(command: str, url: str | None, pid: int | None, pin: bool, tasks: int, limit: float, contract: Path) -> None:
    """Create tasks over HTTP and print what they cost; exit 1 above the limit."""
    body = request_body(kling_openapi.read(contract))
    with the_fake(command, url, pid, pin) as (base, process):
        try:
            create_tasks(base, body, 1)  # what the first request of all loads is not the tasks' cost
            before = process.rss()
            create_tasks(base, body, tasks)
        except LoadError as error:
            raise click.ClickException(str(error)) from error
        after = process.rss()
    click.echo(f"before  {before / MB:8.1f} MB")
    click.echo(f"after   {after / MB:8.1f} MB with {tasks:,} tasks")
    click.echo(f"a task  {(after - before) / tasks:8.0f} bytes")
    kept = after / MB < limit
    click.echo(f"{'kept' if kept else 'missed'}: under {limit:.0f} MB")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
