"""`kling-contract compare A B`: the drift between two histories, or between two servers put through the same plan."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_contract.cli.money import agreement, caps, check_poll, confirmed, key_of, money_of
from kling_contract.cli.options import (
    ALLOW_HTTP,
    CALLBACKS,
    PATIENCE,
    POLL,
    ca_file,
    folder_option,
    option,
    options,
    timeout,
)
from kling_contract.comparing import driving, reports
from kling_contract.comparing.differences import Side, compare, side_of
from kling_contract.comparing.profile import profile_of, write_profile
from kling_contract.driving.control import Control
from kling_contract.driving.drivers import real
from kling_contract.driving.drivers.run_context import Options
from kling_contract.driving.drivers.running import Money, Wanted
from kling_contract.driving.drivers.steps import Plan
from kling_contract.driving.planning import print_real
from kling_contract.driving.sender import Sender
from kling_contract.driving.target import Asked, choose_mode, on_this_machine, origin_of, services_of
from kling_contract.history.events import HistoryError
from kling_contract.reading.contract import Contract, shipped
from kling_contract.reading.recordings import read
from kling_contract.reports.terminal import say
from kling_contract.rules.verdicts import REAL, SPENDING, SetupError, read_reasons

_FORM = "write one line a difference, `member:/task_info/can_cancel:absent: why it may be`"


@click.command()
@click.argument("a")
@click.argument("b")
@options(
    option("--api-key", default="", metavar="KEY",
           help="The account on both servers. Default: KLING_API_KEY or EVOLINK_API_KEY; on the loopback sk-test."),
    option("--api-key-b", default="", metavar="KEY", help="The account on B, where it is another."),
    option("--mode", type=click.Choice(["fake", *REAL]),
           help="What is sent. Default: everything between two fakes, else readonly: nothing that could be charged."),
    option("--image", default="", metavar="URL", help="A first frame that both servers can fetch."),
    timeout(30.0), POLL, PATIENCE, ca_file(), ALLOW_HTTP, CALLBACKS,
    option("--allow", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           help="YAML, `DIFFERENCE: reason` a line. One that is not needed fails the run."),
    option("--profile", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           help="Write a profile with which the fake (A) shows what B showed: `kling-mock serve --profile FILE`."),
    folder_option("--report", help="Write compare.json, compare.md and compare.html there."),
)  # fmt: skip
@caps
@agreement
def command(a: str, b: str, **given: Any) -> int:
    """Compare A and B, each a recorded history or the URL of a server. Exit 0 when they are equal, 1 when they differ.

    Live servers are put through the same plan. Steps are aligned by what was asked; ids, times, texts and balances are masked; shape,
    fixed values, rule verdicts and classes of time are compared. The last line is the number of differences that are not allowed.
    """
    contract, console = shipped(), Console()
    allowed = read_reasons(given["allow"], _FORM) if given["allow"] else {}
    mode = _mode((a, b), contract, given)
    keys = (given["api_key"], given["api_key_b"] or given["api_key"])
    sides = [_place(place, key, mode, given) for place, key in zip((a, b), keys, strict=True)]
    billed = [side.wanted for side in sides if side.billed]
    plan = driving.plan_for(billed or [sides[1].wanted], mode)
    if given["plan"]:
        print_real(plan, given["max_usd"], console)
        return 0
    if billed:
        _check_agreed(plan, mode, money_of(given), given["plan_hash"].strip(), console)
    for wanted in billed:
        check_poll(given["poll"], wanted.asked.base, contract)
    one, spent = _side(sides[0], mode, contract, console)
    other, _ = _side(sides[1].after(spent), mode, contract, console)
    found = compare(one, other, contract, allowed)
    reports.show(found, console)
    if given["report"]:
        reports.write(found, given["report"])
    if given["profile"]:
        left = write_profile(profile_of(found, one, other, contract), given["profile"])
        for line in left:
            say(console, line)
    return found.exit


@dataclass(frozen=True, slots=True)
class _Place:
    """One side as the user named it. billed: whether it is driven as a service that bills; not where it is a history or a fake."""

    name: str
    wanted: Wanted
    billed: bool

    def after(self, usd: float) -> "_Place":
        """The same with what is left of the money once *usd* dollars may be spent: the cap holds for both sides together."""
        money = self.wanted.money
        if money.max_usd is None:
            return self
        left = replace(money, max_usd=max(money.max_usd - usd, 0.0))
        return replace(self, wanted=replace(self.wanted, money=left))


def _is_url(place: str) -> bool:
    return "://" in place or not (Path(place).exists() or Path(place).suffix in (".jsonl", ".har", ".json"))


def _mode(places: tuple[str, ...], contract: Contract, given: dict[str, Any]) -> str:
    """What the plan of both is: that of the more careful one.

    Raises:
        SetupError: fakes are meant, and one may bill.
    """
    bases = [origin_of(place, allow_http=given["allow_http"]) for place in places if _is_url(place)]
    harmless = all(on_this_machine(base) or _is_fake(base, contract, given) for base in bases)
    if given["mode"] == "fake" and not harmless:
        raise SetupError("--mode fake is for fakes, and one of these may bill: use --mode readonly, refusals or paid")
    return given["mode"] or ("fake" if harmless else "readonly")


def _is_fake(base: str, contract: Contract, given: dict[str, Any]) -> bool:
    """Whether *base* offers the control protocol, and is not the service itself."""
    control = Control(base, Sender(verify=str(given["ca_file"] or ""))).info() is not None
    return control and choose_mode(base, None, control=True, services=services_of(contract)) == "fake"


def _place(place: str, key: str, mode: str, given: dict[str, Any]) -> _Place:
    contract = shipped()
    live = _is_url(place)
    base = origin_of(place, allow_http=given["allow_http"]) if live else services_of(contract)[0]
    billed = live and mode in REAL and not _is_fake(base, contract, given)
    images = {"image": given["image"]} if given["image"] else {}
    options = Options(
        seed=1, poll=given["poll"] or (real.POLL if mode in REAL else 0.2),
        patience=given["patience"] if given["patience"] is not None else real.PATIENCE if mode in REAL else 60.0,
        callback_base=given["callback_base"], callback_listen=given["callback_listen"], **images,
    )  # fmt: skip
    asked = Asked(
        url=base,
        key=key or (key_of(base) if live else ""),
        mode=mode if billed else None,
        allow_http=given["allow_http"],
    )
    wanted = Wanted(
        asked, options, money_of(given), ca_file=given["ca_file"], timeout=given["timeout"], assumptions=given["include_assumptions"],
        agreed=given["plan_hash"].strip(),
    )  # fmt: skip
    return _Place(place, wanted, billed)


def _check_agreed(plan: Plan, mode: str, money: Money, agreed: str, console: Console) -> None:
    """Refuse to spend without a cap, or what was not agreed to; on a terminal the user is asked.

    Raises:
        SetupError: there is no cap, or another plan was agreed to. Abort: they said no.
    """
    if mode in SPENDING and money.max_usd is None:
        raise SetupError(
            f"--mode {mode} needs --max-usd: the most dollars that the run may cost, on both sides together"
        )
    if mode == "paid" and agreed != plan.hash and (agreed or not confirmed(plan, money, console)):
        raise SetupError(
            "--mode paid needs --plan-hash: read the plan with --plan, then give the hash that it ends with"
        )


def _side(side: _Place, mode: str, contract: Contract, console: Console) -> tuple[Side, float]:
    """One side, read or driven, and the dollars that this may have cost.

    Raises:
        SetupError: it can be neither.
    """
    if not _is_url(side.name):
        try:
            return side_of(side.name, read(Path(side.name)), contract), 0.0
        except OSError as error:
            raise SetupError(f"{side.name}: {error.strerror}") from error
        except HistoryError as error:
            raise SetupError(str(error)) from error
    driven = driving.drive(side.wanted, mode)
    for line in driven.remarks:
        say(console, line, "dim")
    return side_of(side.wanted.asked.url, driven.events, contract), driven.usd
