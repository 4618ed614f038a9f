"""All figures of docs/benchmarks.md in one command: `python benchmarks/figures.py`, or with `--quick` within a quarter of an hour."""

import json
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, strftime
from typing import Any

import click
import paths
from advance import advances
from deployments import Databases
from footprint import footprint
from lasting import cold_starts, deliveries, growth, lag, recovery
from load import request_body
from page import page
from report import machine
from speeds import Extent, measure
from starts import starts

import kling_openapi

HERE = Path(__file__).parent
STORES = ("memory", "sqlite", "postgresql")
SHARED = STORES[1:]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    extent: Extent
    callbacks: int
    lag_seconds: int
    kills: int
    tasks: tuple[int, ...]
    accounts: tuple[int, ...]
    starts: int
    footprint: tuple[int, int]


_TASKS, _ACCOUNTS = (10**3, 10**4, 10**5, 10**6), (10**3, 10**4, 10**5)
FULL = Size(Extent(3, 5, 4), 4000, 10, 10, _TASKS, _ACCOUNTS, 10, (10**5, 50))
QUICK = Size(Extent(2, 2, 2), 2000, 2, 2, _TASKS, _ACCOUNTS, 5, (10**4, 5))
_MOST_IN_MEMORY = 10**5


def versions() -> dict[str, str]:
    """Return what the figures depend on."""
    packages = ("httptools", "uvloop", "granian", "sqlalchemy", "psycopg", "flask", "orjson")
    found = {name: version(name) for name in packages} | {"sqlite": sqlite3.sqlite_version}
    from cluster import programs

    folder = programs()
    tools = {"postgresql": [str(folder / "postgres"), "--version"] if folder else [], "wrk": ["wrk", "--version"]}
    for name, command in tools.items():
        said = subprocess.run(command, capture_output=True, text=True, check=False) if command else None
        number = re.search(r"\d+\.[\d.]*\d", said.stdout) if said else None
        found[name] = number.group() if number else "not installed"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found | {"python": platform.python_version(), "commit": commit.stdout.strip() or "unknown"}


def _plan(databases: Databases, size: Size, body: dict[str, Any], against: Path | None) -> dict[str, Callable[[], Any]]:
    """Return each measurement by its name."""
    grown = {kind: [n for n in size.tasks if kind != "memory" or n <= _MOST_IN_MEMORY] for kind in STORES}
    crowds = {kind: list(size.accounts) for kind in STORES}

    def growths(what: str, sizes: dict[str, list[int]]) -> dict[str, Any]:
        return {kind: growth(databases, kind, what, sizes[kind], body, size.extent) for kind in STORES}

    return {
        "paths": lambda: paths.measure(body, size.extent),
        "speeds": lambda: [asdict(pair) | {"share": pair.share()} for pair in measure(databases, body, size.extent)],
        "deliveries": lambda: {
            f"{kind} {couriers}": deliveries(databases, kind, couriers, size.callbacks, body, size.extent.rounds)
            for kind in SHARED
            for couriers in (1, 2)
        },
        "advances": lambda: advances(body),
        "lag": lambda: {kind: lag(databases, kind, size.lag_seconds, 1000, body) for kind in STORES},
        "recovery": lambda: {kind: recovery(databases, kind, size.kills, body) for kind in SHARED},
        "growth": lambda: growths("tasks", grown),
        "accounts": lambda: growths("accounts", crowds),
        "cold_starts": lambda: cold_starts(size.starts),
        "starts": lambda: starts(size.starts, against),
        "footprint": lambda: footprint(*size.footprint),
    }


def run(size: Size, only: frozenset[str], against: Path | None = None) -> dict[str, Any]:
    """Measure, and return everything; what could not be measured says why."""
    body = request_body(kling_openapi.read(kling_openapi.SERVICE))
    found: dict[str, Any] = {"machine": machine(), "versions": versions(), "date": strftime("%Y-%m-%d")}
    found |= {"quick": size is QUICK, "command": f"python benchmarks/figures.py{' --quick' if size is QUICK else ''}"}
    with ExitStack() as held:
        for name, measurement in _plan(Databases(held), size, body, against).items():
            if only and name not in only:
                continue
            began = perf_counter()
            click.echo(f"{name} ...", err=True)
            try:
                found[name] = measurement()
            except Exception as error:  # the rest is measured all the same, and the page says so
                found[name] = {"trouble": (str(error).strip() or type(error).__name__).splitlines()[-1][:300]}
                click.echo(f"  {found[name]['trouble']}", err=True)
            click.echo(f"  {perf_counter() - began:.0f} s", err=True)
            own = {"command": found["command"], "date": found["date"], "commit": found["versions"]["commit"]}
            found["measured"] = {**found.get("measured", {}), name: own}
    return found


@click.command()
@click.option("--quick", is_flag=True, help="Short samples: within some quarter of an hour, to see that all works.")
@click.option(
    "--only",
    default="",
    metavar="NAME,...",
    help="Of paths, speeds, deliveries, advances, lag, recovery, growth, accounts, cold_starts, starts, footprint.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), default=HERE / "figures.json", help="Every sample."
)
@click.option(
    "--page",
    "page_file",
    type=click.Path(path_type=Path),
    default=HERE.parent / "docs" / "benchmarks.md",
    help="The page.",
)
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkout whose starts are before.",
)
@click.option("--again", is_flag=True, help="Write the page anew from the samples that are there; measure nothing.")
def main(quick: bool, only: str, json_file: Path, page_file: Path, against: Path | None, again: bool) -> None:
    """Measure the fake on every store, each next to its floor, and write docs/benchmarks.md."""
    before = json.loads(json_file.read_text()) if json_file.exists() and (again or only) else {}
    names = frozenset(filter(None, only.split(",")))
    found = before if again else {**before, **run(QUICK if quick else FULL, names, against)}
    found["measured"] = {**before.get("measured", {}), **found.get("measured", {})}
    json_file.write_text(json.dumps(found, indent=1) + "\n")
    crashes = json.loads((HERE / "crashes.json").read_text())
    page_file.write_text(page(found, crashes))
    click.echo(f"wrote {page_file}")
    sys.exit(any(isinstance(part, dict) and "trouble" in part for part in found.values()))


if __name__ == "__main__":
    main()
