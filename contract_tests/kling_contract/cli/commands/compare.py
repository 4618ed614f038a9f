"""`kling-contract compare A B`: the drift between two histories, or between two servers put through the same plan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_contract.cli.money import agreement, caps, money_of
from kling_contract.cli.options import folder, variable
from kling_contract.comparing import driving, reports
from kling_contract.comparing.allowances import read_allowances
from kling_contract.comparing.differences import Side, compare, side_of
from kling_contract.comparing.profile import profile_of, write_profile
from kling_contract.driving.control import Control
from kling_contract.driving.drivers import real
from kling_contract.driving.drivers.run_context import Options
from kling_contract.driving.drivers.running import Wanted
from kling_contract.driving.planning import print_real
from kling_contract.driving.sender import Sender
from kling_contract.driving.target import Asked, choose_mode, origin_of, services_of
from kling_contract.history.events import HistoryError
from kling_contract.reading.contract import Contract, shipped
from kling_contract.reading.recordings import read
from kling_contract.rules.verdicts import REAL, SetupError


def _option(name: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(name, envvar=variable(name.removeprefix("--")), **more)


_OPTIONS = (
    _option("--api-key", default="", metavar="KEY", help="The account on both servers."),
    _option("--api-key-b", default="", metavar="KEY", help="The account on B, where it is another."),
    _option(
        "--mode",
        type=click.Choice(["fake", *REAL]),
        help="What is sent. Default: everything between two fakes, else readonly: nothing that could be charged.",
    ),
    _option("--image", default="", metavar="URL", help="A first frame that both servers can fetch."),
    _option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=30.0,
        show_default=True,
        metavar="S",
        help="Seconds for a whole exchange.",
    ),
    _option("--poll", type=click.FloatRange(min=0.01), metavar="S", help="Seconds between polls in real time."),
    _option(
        "--patience", type=click.FloatRange(min=0), metavar="S", help="Seconds that a task is waited for in real time."
    ),
    _option(
        "--ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Certificates to trust instead of the system's.",
    ),
    _option(
        "--allow",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="YAML, `DIFFERENCE: reason` a line. One that is not needed fails the run.",
    ),
    _option(
        "--profile",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write a profile with which the fake (A) shows what B showed: `kling-mock serve --profile FILE`.",
    ),
    _option(
        "--report",
        type=click.Path(path_type=Path, file_okay=False, writable=True),
        callback=folder,
        metavar="DIR",
        help="Write compare.json, compare.md and compare.html there.",
    ),
)


def _options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("a")
@click.argument("b")
@_options
@caps
@agreement
def command(a: str, b: str, **given: Any) -> int:
    """Compare A and B, each a recorded history or the URL of a server. Exit 0 when they are equal, 1 when they differ.

    Live servers are put through the same plan. Steps are aligned by what was asked; ids, times, texts and balances are masked; shape,
    fixed values, rule verdicts and classes of time are compared. The last line is the number of differences that are not allowed.
    """
    contract, console = shipped(), Console()
    allowed = read_allowances(given["allow"]) if given["allow"] else {}
    mode = _mode((a, b), given["mode"], contract)
    wanted = [
        _wanted(place, key, mode, given)
        for place, key in ((a, given["api_key"]), (b, given["api_key_b"] or given["api_key"]))
    ]
    if given["plan"]:
        print_real(driving.plan_for(wanted[1], mode), given["max_usd"], console)
        return 0
    one, other = (_side(place, one, mode, contract, console) for place, one in zip((a, b), wanted, strict=True))
    found = compare(one, other, contract, allowed)
    reports.show(found, console)
    if given["report"]:
        reports.write(found, given["report"])
    if given["profile"]:
        left = write_profile(profile_of(found, one, other, contract), given["profile"])
        for line in left:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return found.exit


def _is_url(place: str) -> bool:
    return "://" in place or not (Path(place).exists() or Path(place).suffix in (".jsonl", ".har", ".json"))


def _mode(places: tuple[str, ...], asked: str | None, contract: Contract) -> str:
    """What the plan of both is: that of the more careful one."""
    services = services_of(contract)
    bases = [origin_of(place) for place in places if _is_url(place)]
    harmless = [
        choose_mode(base, None, control=choose_mode(base, None, control=False, services=services) == "fake"
                    or Control(base, Sender()).info() is not None, services=services) == "fake"
        for base in bases
    ]  # fmt: skip
    if asked == "fake" and not all(harmless):
        raise SetupError("--mode fake is for fakes, and one of these may bill: use --mode readonly, refusals or paid")
    return asked or ("fake" if all(harmless) else "readonly")


def _wanted(place: str, key: str, mode: str, given: dict[str, Any]) -> Wanted:
    billed = mode in REAL
    image = {"image": given["image"]} if given["image"] else {}
    options = Options(
        seed=1, poll=given["poll"] or (real.POLL if billed else 0.2),
        patience=given["patience"] if given["patience"] is not None else real.PATIENCE if billed else 60.0, **image,
    )  # fmt: skip
    url = place if _is_url(place) else services_of(shipped())[0]
    return Wanted(
        Asked(url=url, key=key, mode=None), options, money_of(given), ca_file=given["ca_file"], timeout=given["timeout"],
        assumptions=given["include_assumptions"], agreed=given["plan_hash"],
    )  # fmt: skip


def _side(place: str, wanted: Wanted, mode: str, contract: Contract, console: Console) -> Side:
    """One side, read or driven.

    Raises:
        SetupError: it can be neither.
    """
    if not _is_url(place):
        try:
            return side_of(place, read(Path(place)), contract)
        except OSError as error:
            raise SetupError(f"{place}: {error.strerror}") from error
        except HistoryError as error:
            raise SetupError(str(error)) from error
    if not wanted.asked.key:
        raise SetupError(f"{place} is a server, and --api-key says with which account it is asked")
    driven = driving.drive(_careful(wanted, mode, contract), mode)
    for line in driven.remarks:
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    return side_of(origin_of(place), driven.events, contract)


def _careful(wanted: Wanted, mode: str, contract: Contract) -> Wanted:
    """*wanted* in the mode that its target is driven in: a fake as a fake, whatever the other side is.

    Raises:
        SetupError: money may be spent, and there is no cap or no agreed plan.
    """
    base = origin_of(wanted.asked.url)
    if choose_mode(base, None, control=False, services=services_of(contract)) == "fake" or mode == "fake":
        return wanted
    if mode in ("refusals", "paid") and wanted.money.max_usd is None:
        raise SetupError(f"--mode {mode} needs --max-usd: the most dollars that the run may cost")
    if mode == "paid" and wanted.agreed != driving.plan_for(wanted, mode).hash:
        raise SetupError(
            "--mode paid needs --plan-hash: read the plan with --plan, then give the hash that it ends with"
        )
    return replace(wanted, asked=replace(wanted.asked, mode=mode))
