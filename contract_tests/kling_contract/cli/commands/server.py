"""`kling-contract server URL`: drive a server, judge what it did."""

import os
import secrets
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_contract.cli.extras import require_kit
from kling_contract.cli.money import agreed, agreement, caps, check_poll, key_of, money_of, repeated
from kling_contract.cli.options import (
    ALLOW_HTTP,
    CALLBACKS,
    PATIENCE,
    POLL,
    ca_file,
    chosen,
    common,
    option,
    options,
    timeout,
)
from kling_contract.cli.progress import shown_progress
from kling_contract.driving.drivers import real
from kling_contract.driving.drivers.run_context import QUICK, Options
from kling_contract.driving.drivers.running import Wanted, for_servers, make_history, plan_of
from kling_contract.driving.planning import print_plan
from kling_contract.driving.target import Asked, origin_of
from kling_contract.judging import finish, judge_history
from kling_contract.reading.contract import shipped
from kling_contract.reading.families import chosen as chosen_contract
from kling_contract.reports.terminal import say
from kling_contract.rules.verdicts import REAL


@click.command()
@click.argument("url")
@options(
    option("--api-key", default="", metavar="KEY",
           help="The account that the run uses. Default: KLING_API_KEY or EVOLINK_API_KEY; on the loopback sk-test."),
    option("--second-key", default="", metavar="KEY", help="Another account, to see that the two are apart."),
    option("--denied-key", default="", metavar="KEY", help="A key that may not use the model."),
    option("--mode", type=click.Choice(["fake", "readonly", "refusals", "paid"]),
            help="fake: on this machine, or with a control protocol. readonly, the default for every other target: the key goes on reads "
            "alone, so nothing can be charged. refusals: also creates that must be refused. paid: one cheapest task."),
    option("--quick", is_flag=True, help="The scripted run alone, without what takes a server long."),
    option("--real-time", is_flag=True, help="Without a clock to steer: wait for what needs real time."),
    option("--features", default="auto", metavar="auto|none|LIST", help="Parts of the control protocol to use."),
    option("--control-token", default="", metavar="TOKEN", help="What a fake asks of control calls from other machines."),
    option("--model", metavar="NAME", help="Judge by creates of this model, held to its file. Default: the document's own."),
    option("--contract", type=click.Path(path_type=Path, exists=True), metavar="PATH",
           help="Your own contract, a model file, or a folder of model files."),
    option("--image", default="", metavar="URL", help="A picture, for a first frame too, that the target can fetch."),
    option("--video", default="", metavar="URL", help="A video that the target can fetch, for models that take one."),
    option("--audio", default="", metavar="URL", help="A sound, likewise."),
    ca_file(), ALLOW_HTTP, timeout(30.0), POLL, PATIENCE,
    option("--replay", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
           help="Play a saved story (story.json of a report) and nothing else."),
    CALLBACKS,
    option("--callback-ca", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           help="Receive callbacks over HTTPS, and write the authority to trust there."),
    option("--evidence", metavar="NAME", help="Keep the run as evidence/<date>-NAME: only a run against the service itself is any."),
    option("--evidence-folder", type=click.Path(path_type=Path, file_okay=False), default=Path("evidence"), show_default=True,
           metavar="DIR", help="Where evidence is kept."),
)  # fmt: skip
@caps
@agreement
@common
def command(url: str, report: Path | None, plan: bool, **given: Any) -> int:
    """Judge the server at URL: every departure from the contract that can be seen from outside.

    A target that is not on this machine and offers no control protocol is taken for the real service: nothing is spent
    without --mode refusals or paid and --max-usd. `docs/real-service.md` has the whole way.
    """
    require_kit("judging a server")
    given["api_key"] = given["api_key"] or key_of(url)
    choice = for_servers(chosen(**given))
    console = Console()
    # In CI nothing is left to chance: the same commit draws the same calls.
    fresh = 0 if os.environ.get("CI") else secrets.randbelow(2**32)
    seed = given["seed"] if given["seed"] is not None else fresh
    wanted = _wanted(url, seed, {**given, "report": report})
    if plan:
        print_plan(wanted, console)
        return 0
    if given["evidence"]:
        from kling_contract.reports import evidence

        evidence.check_name(given["evidence"])
        evidence.check_target(wanted.asked.base, wanted.contract)
    wanted = agreed(wanted, console)
    with shown_progress(console) as parts:
        made = make_history(replace(wanted, options=replace(wanted.options, parts=parts)), choice)
    for line in made.remarks:
        say(console, line, "dim")
    run = judge_history(made.recorder.events, choice, _again(url, seed, given, made.target.accounts), wanted.contract)
    if given["evidence"]:
        from kling_contract.reports import evidence

        kept = evidence.Kept(given["evidence"], plan_of(wanted, run.mode).document())
        folder = evidence.write(run, kept, given["evidence_folder"], wanted.contract)
        say(console, f"evidence: {folder}", "dim")
    return finish(run, report, console)


def _wanted(url: str, seed: int, given: dict[str, Any]) -> Wanted:
    mode = given["mode"]
    if mode in REAL:
        check_poll(given["poll"], origin_of(url, allow_http=given["allow_http"]), shipped())
    live = mode in REAL
    slow = live or given["real_time"]
    options = Options(
        seed=seed,
        quick=given["quick"],
        real_time=given["real_time"],
        patience=given["patience"] if given["patience"] is not None else real.PATIENCE if slow else QUICK,
        poll=given["poll"] or (real.POLL if live else 0.2),
        callback_base=given["callback_base"],
        callback_listen=given["callback_listen"],
        callback_ca=given["callback_ca"],
        story_out=given["report"] / "story.json" if given["report"] else None,
        replay=given["replay"],
        video=given["video"],
        audio=given["audio"],
        **({"image": given["image"]} if given["image"] else {}),
    )
    asked = Asked(
        url=url, key=given["api_key"], second_key=given["second_key"], denied_key=given["denied_key"], mode=mode,
        features=given["features"], token=given["control_token"], allow_http=given["allow_http"],
    )  # fmt: skip
    return Wanted(
        asked, options, money_of(given), ca_file=given["ca_file"], timeout=given["timeout"],
        contract=chosen_contract(given["contract"], given["model"]),
        assumptions=given["include_assumptions"], agreed=given["plan_hash"].strip(),
    )  # fmt: skip


_REPEATED = (
    "mode", "model", "contract", "features", "image", "video", "audio", "ca_file", "timeout", "poll", "patience",
    "callback_base", "callback_listen", "callback_ca", "replay", "known_failing",
)  # fmt: skip
"""Options that a rerun needs as they were given, besides the caps of money."""
_SECRETS = {"api_key": "KLING_API_KEY", "second_key": "KLING_CONTRACT_SECOND_KEY", "denied_key": "KLING_CONTRACT_DENIED_KEY",
            "control_token": "KLING_CONTRACT_CONTROL_TOKEN"}  # fmt: skip
"""Variables that a rerun reads keys from."""


def _again(url: str, seed: int, given: dict[str, Any], any_key: bool) -> Callable[[str], str]:
    """The command that repeats one rule, to paste into a shell. A key is never printed: it names the variable that holds it."""
    defaults = {parameter.name: parameter.default for parameter in command.params}
    words = ["kling-contract", "server", shlex.quote(url)]
    for name, holder in _SECRETS.items():
        if name == "api_key" and any_key:
            words += ["--api-key", "sk-contract-rerun"]
        elif given[name]:
            words += [f"--{name.replace('_', '-')}", f'"${holder}"']
    for name in _REPEATED:
        value = given[name]
        text = f"{value[0]}:{value[1]}" if isinstance(value, tuple) else "" if value is None else str(value)
        if text and text != str(defaults[name]):
            words += [f"--{name.replace('_', '-')}", shlex.quote(text)]
    words += [f"--{name.replace('_', '-')}" for name in ("quick", "real_time", "allow_http", "strict") if given[name]]
    words += [*map(shlex.quote, repeated(given)), "--seed", str(seed)]
    start = " ".join(words)
    return lambda rule: f"{start} --only {rule}"
