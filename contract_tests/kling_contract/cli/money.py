"""The options that say what a run against a service that bills may cost, shared by the subcommands that can spend."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click
from rich.console import Console

from kling_contract.cli.options import Number, option, options
from kling_contract.driving.drivers.running import Money, Wanted, plan_of
from kling_contract.driving.drivers.steps import Plan
from kling_contract.driving.planning import print_real
from kling_contract.driving.target import on_this_machine, origin_of
from kling_contract.reading.contract import Contract

caps = options(
    option("--max-usd", type=Number(min=0), metavar="X",
           help="Most dollars that the run may cost at worst. Needed wherever something may be charged."),
    option("--usd-per-second", type=Number(min=0, min_open=True), metavar="X",
           help="What a second of video costs at worst. Default: twice the contract's price, which no document states."),
    option("--max-creates", type=click.IntRange(min=0), metavar="N",
           help="Most creates that may be accepted. Default: 1; with --mode refusals only --max-usd counts."),
    option("--max-seconds", type=Number(min=0), metavar="S", help="Most seconds of video that may be made."),
    option("--max-wall", type=Number(min=0), metavar="S",
           help="Seconds of real time after which nothing that may cost is sent."),
    option("--max-at-once", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
           help="Most tasks that may be under way at one time."),
)  # fmt: skip
"""Gives a command the options of `money_of`."""
agreement = options(
    option("--plan", is_flag=True, help="Print every call with its expected and its worst charge; send nothing."),
    option("--plan-hash", default="", metavar="HASH",
           help="The plan that you agree to, as --plan prints it. A paid run asks for a yes on a terminal, for this without one."),
    option("--include-assumptions", is_flag=True,
           help="Also send a service that bills what we only assume to be refused. It may be accepted, and charged."),
)  # fmt: skip
"""Gives a command the options plan, plan_hash and include_assumptions."""


def money_of(given: Mapping[str, Any]) -> Money:
    """The caps that the user gave."""
    return Money(
        given["max_usd"], given["usd_per_second"], given["max_creates"], given["max_seconds"], given["max_wall"],
        given["max_at_once"],
    )  # fmt: skip


def agreed(wanted: Wanted, console: Console) -> Wanted:
    """*wanted* once the user has agreed to what it may cost; on a terminal they are asked.

    Raises:
        Abort: they said no.
    """
    if wanted.asked.mode != "paid" or wanted.agreed or wanted.money.max_usd is None:
        return wanted
    plan = plan_of(wanted, "paid")
    return replace(wanted, agreed=plan.hash) if confirmed(plan, wanted.money, console) else wanted


def confirmed(plan: Plan, money: Money, console: Console) -> bool:
    """Show *plan* on a terminal and ask for a yes; False where there is no terminal to ask on.

    Raises:
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        return False
    print_real(plan, money.max_usd, console)
    return click.confirm(f"Send it to {plan.base}?", abort=True)


def check_poll(poll: float | None, base: str, contract: Contract) -> None:
    """Refuse to poll a service on another machine faster than it allows.

    Raises:
        click.UsageError: it would be.
    """
    if poll is not None and poll < contract.min_poll and not on_this_machine(base):
        raise click.UsageError(
            f"--poll {poll:g}: the service allows a read every {contract.min_poll:g} s; give that or more"
        )


def key_of(url: str) -> str:
    """Return the key of the environment; on the loopback, where any will do, one of ours.

    Raises:
        click.UsageError: there is none, and the target is on another machine.
    """
    found = os.environ.get("KLING_API_KEY") or os.environ.get("EVOLINK_API_KEY")
    if not found and not on_this_machine(origin_of(url, allow_http=True)):
        raise click.UsageError("--api-key is missing: name the account, or set KLING_API_KEY")
    return found or "sk-test"


def repeated(given: Mapping[str, Any]) -> list[str]:
    """The options of this page as words of a command line."""
    words = []
    for name in ("max_usd", "usd_per_second", "max_creates", "max_seconds", "max_wall", "plan_hash"):
        if given[name] not in (None, ""):
            words += ["--" + name.replace("_", "-"), str(given[name])]
    return [*words, *(["--include-assumptions"] if given["include_assumptions"] else [])]
