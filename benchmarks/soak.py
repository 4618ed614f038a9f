"""Whether memory and disk stay as they are while tasks come and go: many creates on one account, which keeps its newest.

python benchmarks/soak.py                                   a million tasks in memory
python benchmarks/soak.py --store sqlite                    the same in a file
python benchmarks/soak.py --store postgresql --tasks 200000 --keeps 20000

Not on the page of figures, whose command it would make too long.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import click
from deployments import Databases, fake
from load import CREATE, LoadError, load_of, request_body, wrk
from report import MB
from speeds import FREE

import kling_openapi

_STEPS = 20
_SECONDS = 5
_MORE = 0.2
"""Share by which the last step may be above the first one at which the account was full."""


def disk(store: str) -> int:
    """Return the bytes of a store in a file, its log included; 0 for any other."""
    if not store.startswith("sqlite:///"):
        return 0
    path = Path(store.removeprefix("sqlite:///"))
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


@click.command()
@click.option("--store", type=click.Choice(["memory", "sqlite", "postgresql"]), default="memory", show_default=True)
@click.option("--tasks", default=1_000_000, show_default=True, type=click.IntRange(1), help="Tasks to create.")
@click.option(
    "--keeps", default=100_000, show_default=True, type=click.IntRange(1), help="Tasks that an account keeps."
)
def main(store: str, tasks: int, keeps: int) -> None:
    """Print what the fake takes as tasks pass through it; exit 1 where it grows after the account is full."""
    create = load_of("POST", CREATE, request_body(kling_openapi.read(kling_openapi.SERVICE)))
    full: tuple[float, float] | None = None
    with ExitStack() as held:
        databases = Databases(held)
        url = databases.new(store)
        options = ("--scenario", "completed queued=1 runs=1", "--set", f"task_retention_count={keeps}")
        serving = held.enter_context(fake(url, *options, databases=databases.watched(store)))
        made = shown = 0
        click.echo(f"{'tasks':>10} {'a second':>9} {'MB':>7} {'MB on disk':>11}")
        while made < tasks:
            try:
                result = wrk(serving.base, create, _SECONDS, FREE)
            except LoadError as error:
                raise click.ClickException(str(error)) from error
            if result["failed"]:
                raise click.ClickException(f"{result['failed']} creates were refused")
            made += result["requests"]
            now = serving.server.watched.rss() / MB, disk(url) / MB
            if full is None and made > keeps * 1.2:
                full = now
            if made * _STEPS // tasks > shown or made >= tasks:
                shown = made * _STEPS // tasks
                speed = result["requests"] / result["seconds"]
                click.echo(f"{made:>10,} {speed:>9,.0f} {now[0]:>7.0f} {now[1]:>11.0f}")
    if full is None:
        raise click.ClickException("the account was not full: more --tasks, or fewer --keeps")
    flat = all(last <= first * (1 + _MORE) for first, last in zip(full, now, strict=True))
    click.echo(
        f"{'flat' if flat else 'it grows'}: {full[0]:.0f} MB and {full[1]:.0f} MB on disk once the account was full"
    )
    sys.exit(not flat)


if __name__ == "__main__":
    main()
