"""`kling-contract client --real --max-usd X -- COMMAND`: one happy story through the recording proxy, its plan first."""

import os
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_common.authority import NoAuthority
from kling_contract.cli.money import money_of
from kling_contract.driving.target import choose_mode, origin_of, services_of
from kling_contract.history.events import Recorder
from kling_contract.judging import finish, judge_history
from kling_contract.lab import real
from kling_contract.lab.adapters.command import CommandAdapter
from kling_contract.lab.adapters.jsonl import JsonlAdapter
from kling_contract.lab.results import Adapter
from kling_contract.lab.run import MakeAdapter
from kling_contract.reading.contract import Contract
from kling_contract.reports.terminal import say
from kling_contract.rules.verdicts import Choice, SetupError

_FAKE_IMAGE = "https://image.test/1280x720.jpg"
_UNFIT = ("drawn", "replay", "in_process", "impersonate")


def judge(
    words: tuple[str, ...], given: dict[str, Any], name: str, choice: Choice, contract: Contract, console: Console
) -> int:
    """Run the client of *words* against the real service, and judge it by what was recorded.

    Raises:
        UsageError: an option that is of no use here. SetupError: no cap, no key, no first frame, or no client.
    """
    unfit = next((option for option in _UNFIT if given.get(option)), "")
    if unfit or given["names"]:
        raise click.UsageError(
            f"--real runs the story happy alone; --{(unfit or 'story').replace('_', '-')} does not go with it"
        )
    wanted = _wanted(given, name, contract)
    for line in real.plan_lines(wanted, contract):
        say(console, line)
    recorder = Recorder(keys=[wanted.key])
    try:
        remarks = real.run(wanted, _making(words, given, contract), contract, recorder)
    except NoAuthority as error:
        raise SetupError(str(error)) from error
    for line in remarks:
        say(console, line)
    options = ["--real", "--max-usd", str(given["max_usd"]), "--upstream", wanted.upstream, "--image", wanted.image]
    start = ["kling-contract", "client", *options]
    run = judge_history(
        recorder.events, choice, lambda rule: shlex.join([*start, "--only", rule, "--", *words]), contract
    )
    return finish(run, given["report"], console)


def _wanted(given: dict[str, Any], name: str, contract: Contract) -> real.RealWanted:
    money = money_of(given)
    if money.max_usd is None:
        raise SetupError("--real needs --max-usd: the most dollars that the client may spend")
    base = origin_of(given["upstream"] or services_of(contract)[0], allow_http=given["allow_http"])
    key = given["api_key"] or os.environ.get("KLING_API_KEY") or os.environ.get("EVOLINK_API_KEY") or ""
    if not key:
        raise SetupError("--real needs --api-key, or KLING_API_KEY or EVOLINK_API_KEY in the environment")
    local = choose_mode(base, None, control=False, services=services_of(contract)) == "fake"
    if not given["image"] and not local:
        raise SetupError("--real needs --image: the URL of a first frame that the service can fetch")
    return real.RealWanted(
        name=name, upstream=base, key=key, image=given["image"] or _FAKE_IMAGE, money=money,
        allow_http=given["allow_http"], min_poll=given["min_poll"], deadline=given["deadline"] or contract.give_up,
    )  # fmt: skip


def _making(words: tuple[str, ...], given: dict[str, Any], contract: Contract) -> MakeAdapter:
    """How the adapter is made."""

    def make(folder: Path, environment: Mapping[str, str]) -> Adapter:
        if given["adapter"] == "command":
            return CommandAdapter(words, contract)
        return JsonlAdapter(words, folder, environment, kit=version("klingkit"))

    return make
