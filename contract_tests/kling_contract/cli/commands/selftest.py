"""`kling-contract selftest`: every rule against its mutants."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_contract.cli.options import folder_option, ids, option
from kling_contract.mutants.client_trials import client_rules, try_clients
from kling_contract.mutants.selftest import Half, Row, Wish, bare, server_rules, try_servers
from kling_contract.mutants.servers import BY_NAME
from kling_contract.mutants.serving import fake, served
from kling_contract.mutants.table import page, shown, write
from kling_contract.reports.terminal import say
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.verdicts import SetupError

_SLOWEST = 10
"""Mutants that the end of the output names for the time they took."""
_WIDTH = 140
"""Characters of a line where no terminal says how many there are: a CI's log has room for the table."""


@click.command()
@option("--only", callback=ids, multiple=True, metavar="ID,...", help="Mutants of these rules alone.")
@click.option("--servers/--no-servers", default=True, show_default=True, help="Broken servers.")
@click.option("--clients/--no-clients", default=True, show_default=True, help="Broken clients.")
@folder_option("--report", help="Write selftest.json and mutants.md there.")
@click.option(
    "--write",
    "published",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the table as a page of Markdown; needs all rules.",
)
@click.option(
    "--full", is_flag=True, help="Drive each broken server with every case, not with those alone that concern it."
)
@click.option(
    "--workers", type=click.IntRange(0, 64), default=0, metavar="N", help="Mutants at once; 0: one a processor."
)
@click.option("--serve", metavar="NAME", help="Serve one broken server until interrupted, and try nothing.")
def command(
    only: frozenset[str], report: Path | None, published: Path | None, serve: str | None, **given: Any
) -> int:  # fmt: skip
    """Prove that every rule can fail: try each deliberately broken server and client, and see that the kit names its rule.

    A rule that no mutant breaks fails the self-test, and so does a mutant that is not named, or a correct one that is.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    if serve is not None:
        return _serve(serve, console)
    if published is not None and only:
        raise SetupError("--write publishes the whole table, so it takes no --only")
    halves = _halves(only, servers=given.pop("servers"), clients=given.pop("clients"))
    began = time.perf_counter()
    tried = _tried([half for half, _ in halves], Wish(only=only, **given), console)
    rows = [row for found in tried for row in found]
    lacking = [rule for found, (_, book) in zip(tried, halves, strict=True) for rule in bare(found, book)]
    return _told(rows, lacking, console, time.perf_counter() - began, report, published)


def _halves(only: frozenset[str], *, servers: bool, clients: bool) -> list[tuple[Half, list[Rule]]]:
    """What is to be tried, and the rules that it proves; a half of which no rule is asked for is left out.

    Raises:
        SetupError: a rule does not exist, or nothing is left.
    """
    book = [*server_rules(), *client_rules()]
    unknown = sorted(only - {rule.id for rule in book})
    if unknown:
        raise SetupError(f"no such rule: {', '.join(unknown)}; `kling-contract rules` lists them")
    every = ((servers, try_servers, server_rules(only)), (clients, try_clients, client_rules(only)))
    found: list[tuple[Half, list[Rule]]] = [(half, wanted) for asked, half, wanted in every if asked and wanted]
    if not found:
        raise SetupError("nothing is left to try")
    return found


def _tried(halves: Sequence[Half], wish: Wish, console: Console) -> list[list[Row]]:
    """Return the rows of each of *halves*, which are tried side by side: clients sleep most of the time."""
    done: list[Row] = []
    with console.status("trying mutants") as status, ThreadPoolExecutor(1) as pool:

        def tell(row: Row) -> None:
            done.append(row)
            status.update(f"{len(done)} mutants tried; last {row.rule} {row.name}")
            if row.problem:
                say(console, f"{row.rule} {row.name}: {row.problem}", "red")

        *others, last = halves
        ahead = [pool.submit(half, wish, tell) for half in others]
        found = last(wish, tell)
        return [*(one.result() for one in ahead), found]


def _told(
    rows: list[Row], lacking: list[Rule], console: Console, seconds: float, report: Path | None, published: Path | None
) -> int:
    console.print(shown(rows))
    slowest = sorted(rows, key=lambda row: row.seconds, reverse=True)[:_SLOWEST]
    times = ", ".join(f"{row.name} {row.seconds:.1f} s" for row in slowest)
    say(console, f"the slowest: {times}", "dim")
    bad = [row for row in rows if row.problem]
    for rule in lacking:
        say(console, f"{rule.id}: no mutant proves that it can fail. {rule.sentence}", "red")
    proven = len({row.rule for row in rows if row.rule and not row.problem})
    fine = not bad and not lacking
    end = "every rule is named for its mutants" if fine else f"{len(bad)} mutants prove nothing"
    say(console, f"{proven} rules, {len(rows)} servers and clients, {seconds:.0f} s: {end}", "bold")
    if report is not None:
        write(rows, report)
    if published is not None:
        published.write_text(page(rows), encoding="utf-8")
    return 0 if fine else 1


def _serve(name: str, console: Console) -> int:
    """Serve one mutant until it is interrupted.

    Raises:
        SetupError: there is none of that name, or its fake does not start.
    """
    if name not in BY_NAME:
        raise SetupError(f"no such mutant: {name}; there are {', '.join(BY_NAME)}")
    mutant = BY_NAME[name]
    with fake() as correct, served(mutant, correct) as there:
        say(console, f"{name} ({mutant.rule}: {mutant.story}) listening on {there.url}")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0
