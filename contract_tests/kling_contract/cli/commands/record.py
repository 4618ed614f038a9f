"""`kling-contract record --upstream URL --out FILE -- COMMAND...`: record what a client and a service say to each other."""

import shlex
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kling_common.authority import NoAuthority
from kling_contract.cli.money import caps, money_of
from kling_contract.cli.options import ALLOW_HTTP, ca_file, chosen, common, option, options, timeout, variable
from kling_contract.driving.sender import Sender
from kling_contract.history.events import Recorder
from kling_contract.history.har import write_har
from kling_contract.history.labels import Topic
from kling_contract.judging import again, finish, judge_history
from kling_contract.reading.contract import Contract, shipped
from kling_contract.recording import command as client
from kling_contract.recording.proxy import RecordingProxy, streamed
from kling_contract.recording.setup import opened
from kling_contract.reports.terminal import say
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Choice, SetupError


@click.command()
@options(
    option("--upstream", metavar="URL", default="", help="The service. Default: the contract's server."),
    option("--out", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
           help="Where the masked history goes: JSON Lines, or HAR when it ends in .har."),
    option("--port", envvar=variable("record-port"), type=click.IntRange(0, 65535), default=0,
           help="Port of the proxy; a free one by default."),
    timeout(60.0),
    ca_file("Certificates to trust of the service"),
)  # fmt: skip
@ALLOW_HTTP
@caps
@common
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def command(words: tuple[str, ...], out: Path, report: Path | None, **given: Any) -> int:
    """Record what COMMAND and a service say to each other, then judge the client.

    COMMAND finds the proxy in KLING_BASE_URL and EVOLINK_BASE_URL, or as {base_url}; a client with the service's host built in is led
    through HTTPS_PROXY, with certificates of your own local authority. A create that could pass --max-usd or --max-creates is answered
    402 in the service's shape and is not sent. Without COMMAND the proxy stays until Ctrl-C.
    """  # fmt: skip
    contract, console = shipped(), Console()
    choice = for_recorded(chosen(**given), contract)
    try:
        sink = None if out.suffix == ".har" else streamed(out)
    except OSError as error:
        raise SetupError(f"--out {out}: {error.strerror}") from error
    recorder = Recorder(sink=sink)
    try:
        proxy = opened(
            given["upstream"], contract, money_of(given), recorder, port=given["port"], seconds=given["timeout"],
            sender=Sender(verify=str(given["ca_file"] or "")), allow_http=given["allow_http"],
        )  # fmt: skip
    except NoAuthority as error:
        raise SetupError(str(error)) from error
    with proxy:
        stopped = _work(proxy, words, console)
    if out.suffix == ".har":
        write_har(out, recorder.events)
    _tell(proxy, out, console)
    if not proxy.calls:
        raise SetupError(_silent(words))
    if stopped:
        recorder.note(Topic.STOPPED, reason=stopped)
    run = judge_history(recorder.events, choice, again("check", [str(out)]), contract)
    return finish(replace(run, target=run.target or proxy.upstream.base), report, console)


def for_recorded(choice: Choice, contract: Contract) -> Choice:
    """*choice* without the rules for servers: what is judged is the client."""
    servers = {rule.id for rule in rules(contract).values() if not rule.for_clients}
    return replace(choice, skip=choice.skip | (servers - choice.only))


def _work(proxy: RecordingProxy, words: tuple[str, ...], console: Console) -> str:
    """Let the client work; return why the recording was stopped before its end."""
    say(console, f"recording {proxy.upstream.base} at {proxy.url}", "dim")
    try:
        if words:
            code = client.run(words, proxy.variables, proxy.url)
            say(console, f"{words[0]} ended with exit code {code}", "dim")
        else:
            _until_interrupted(proxy, console)
    except KeyboardInterrupt:
        return "" if not words else "stopped by hand"
    return ""


def _until_interrupted(proxy: RecordingProxy, console: Console) -> None:
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in proxy.variables.items() if value)
    say(console, f"lead a client here with: {exports}\nCtrl-C ends the recording")
    threading.Event().wait()


def _tell(proxy: RecordingProxy, out: Path, console: Console) -> None:
    """What the user has to know besides the verdicts."""
    for line in proxy.remarks():
        say(console, line)
    say(console, f"history: {out}", "dim")


def _silent(words: tuple[str, ...]) -> str:
    who = words[0] if words else "no client"
    return (
        f"nothing was recorded: {who} made no request through the proxy; it has to read its address from KLING_BASE_URL, "
        "EVOLINK_BASE_URL or {base_url}, or its proxy from HTTPS_PROXY"
    )
