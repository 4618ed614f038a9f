"""`kling-contract client -- COMMAND`: put a client through the lab's stories, judge what it did."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from kling_common.columns import columns
from kling_contract.cli.money import caps
from kling_contract.cli.options import ALLOW_HTTP, Number, chosen, common, option, options
from kling_contract.history.events import Note, Recorder, wall
from kling_contract.history.labels import Topic
from kling_contract.judging import finish, judge_history
from kling_contract.lab import stories as catalogue
from kling_contract.lab.adapters.command import CommandAdapter
from kling_contract.lab.adapters.jsonl import JsonlAdapter
from kling_contract.lab.fake import Running
from kling_contract.lab.lab import Ended
from kling_contract.lab.pace import Pace, pace_for
from kling_contract.lab.results import Adapter
from kling_contract.lab.run import MakeAdapter, run
from kling_contract.lab.so_far import SoFar
from kling_contract.lab.stories import Story
from kling_contract.reading.contract import Contract
from kling_contract.reading.families import for_clients
from kling_contract.reports.terminal import say
from kling_contract.rules.verdicts import CLIENT, Choice, SetupError

_SECONDS = Number(min=0, min_open=True)


@click.command(context_settings={"ignore_unknown_options": False})
@options(
    click.option("--real", is_flag=True, help="The happy story alone, in front of the real service. Needs --max-usd."),
    option("--upstream", default="", metavar="URL", help="With --real: the service. Default: the contract's server."),
    option("--api-key", default="", metavar="KEY", help="With --real: the account. Default: KLING_API_KEY or EVOLINK_API_KEY."),
    option("--image", default="", metavar="URL", help="With --real: a first frame that the service can fetch."),
    option("--adapter", type=click.Choice(["command", "jsonl"]), default="command", show_default=True,
           help="command: a process a story. jsonl: one program that speaks JSON lines."),
    click.option("--story", "names", multiple=True, metavar="NAME", help="Only this story; repeatable. `--stories` lists them."),
    click.option("--stories", "listing", is_flag=True, help="List the stories and stop."),
    option("--min-poll", type=_SECONDS, metavar="S",
           help="Minimum seconds between polls that the client was configured with, in every story. Default: what an adapter declares, "
                "else the contract's value where a story is about it and KLING_MIN_POLL in all others."),
    option("--deadline", type=_SECONDS, metavar="S",
           help="Seconds after which the client must give up; it finds them as {deadline} and KLING_DEADLINE. "
                "Default: derived from --min-poll or from the client's own pace."),
    option("--model", metavar="NAME", help="The model that the client is asked for, as {model} and KLING_MODEL. Default: the document's."),
    click.option("--contract", type=click.Path(path_type=Path, exists=True), metavar="FILE|FOLDER",
                 help="Another contract, a model file, or a folder of model files."),
    option("--name", default="", metavar="NAME", help="Name of the client in reports."),
    option("--impersonate", is_flag=True,
           help="For clients with the service's addresses built in: HTTPS under the service's own host names."),
    option("--fake", default="", metavar="URL",
           help="Use a `kling-mock` that runs already, with --clock real, that no one else uses meanwhile and that reaches this machine."),
    option("--control-token", default="", metavar="TOKEN", help="With --fake: what it asks of control calls from other machines."),
    click.option("--in-process", metavar="MODULE:CALLABLE",
                 help="Instead of a command: a Python function, played generated traces in this process. FILE.py:CALLABLE works too."),
    click.option("--drawn", type=click.IntRange(1), metavar="N",
                 help="Play N generated traces instead of the lab's stories: to a command, or with --in-process (200 by default)."),
    click.option("--replay", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Play a saved trace."),
)  # fmt: skip
@ALLOW_HTTP
@caps
@common
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def command(words: tuple[str, ...], report: Path | None, listing: bool, **given: Any) -> int:
    """Judge a client: run COMMAND in every story, against a fake that misbehaves.

    The placeholders {base_url} {api_key} {image} {prompt} {quality} {duration} {out} {callback_url} {callback_port} {deadline}
    {min_poll} in COMMAND are replaced; the variables KLING_BASE_URL, KLING_API_KEY, KLING_IMAGE, KLING_OUT and so on hold the
    same values. The client exits with 0 when it has the video, with 1 to 63 when it failed and reported it, with 77 when it
    cannot do the case. It can reach no other machine.
    """
    contract, console = for_clients(given["contract"], given["model"]), Console()
    if listing:
        return _list(catalogue.load(contract), console)
    _check_usage(words, given)
    _check_pace(given["min_poll"], given["deadline"], contract)
    choice = _for_clients(chosen(**given), contract)
    if given["real"]:
        from kling_contract.cli.commands import real_client

        name = given["name"] or _name(words)
        return real_client.judge(words, {**given, "report": report}, name, choice, contract, console)
    if _is_drawn(given):
        from kling_contract.cli.commands import drawn_stories  # Hypothesis is slow to import

        if given["in_process"]:
            return drawn_stories.judge(given["in_process"], {**given, "report": report}, choice, contract, console)
        adapter = CommandAdapter(words, contract)
        return drawn_stories.judge_in_real_time(words, adapter, {**given, "report": report}, choice, contract, console)
    recorder = Recorder()
    pace = _put_through(words, given, choice, contract, recorder, console)
    again = _again(words, {**given, "deadline": given["deadline"] or (None if given["min_poll"] else pace.deadline)})
    run = judge_history(recorder.events, choice, lambda rule_id: again(rule_id, ""), contract)
    broken = [
        replace(one, rerun=again(one.rule.id, run.story(one.findings[0]))) if one.findings else one
        for one in run.verdicts
    ]
    return finish(replace(run, verdicts=tuple(broken)), report, console)


def _is_drawn(given: dict[str, Any]) -> bool:
    """Whether the stories are not the lab's own."""
    return given["in_process"] is not None or given["replay"] is not None or given["drawn"] is not None


def _check_usage(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Refuse options that would be of no effect.

    Raises:
        UsageError: two of them exclude each other, or there is no client.
    """
    if not words and not given["in_process"]:
        raise click.UsageError("name the client's command after --")
    if words and given["in_process"]:
        raise click.UsageError("--in-process names a function, so there is no command")
    if given["drawn"] is not None and given["replay"] is not None:
        raise click.UsageError("--replay plays one story, so none is drawn")
    own = {
        "--story": given["names"],
        "--impersonate": given["impersonate"] and bool(given["in_process"]),
        "--adapter jsonl": given["adapter"] == "jsonl",
    }
    own |= {"--fake": given["fake"]}
    if given["fake"] and given["impersonate"]:
        raise click.UsageError(
            "--fake names an address, and --impersonate leads a client with built-in ones to the lab's own fake"
        )
    if given["control_token"] and not given["fake"]:
        raise click.UsageError("--control-token goes with --fake")
    unfit = next((option for option, value in own.items() if value), "")
    if unfit and _is_drawn(given):
        raise click.UsageError(f"{unfit} goes with the lab's own stories, not with --in-process, --drawn or --replay")


def _check_pace(min_poll: float | None, limit: float | None, contract: Contract) -> None:
    """Refuse a pace that leaves no time for a single read: no client could be right.

    Raises:
        UsageError: it is one.
    """
    longest = min(limit or contract.give_up, contract.give_up)
    if min_poll is not None and min_poll >= longest:
        raise click.UsageError(f"--min-poll {min_poll:g} leaves no time for a read before {longest:g} s are over")


def _put_through(
    words: tuple[str, ...], given: dict[str, Any], choice: Choice, contract: Contract, recorder: Recorder, console: Console
) -> Pace:  # fmt: skip
    """Put the client through the lab's stories; return the pace that was found."""
    chosen_stories = _chosen(catalogue.load(contract), given["names"], choice, contract)
    make, pace = _adapter(words, given, contract)
    about = {"min_poll": pace.min_poll, "deadline": pace.deadline, "features": [given["adapter"]]}
    name = given["name"] or _name(words)
    recorder.add(
        Note(
            topic=Topic.RUN, at=wall().at, data={"target": name, "mode": CLIENT, "contract": contract.version, **about}
        )
    )
    so_far = SoFar(contract, choice.book(contract))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("stories", total=len(chosen_stories))
        beside = progress.console if console.is_terminal else Console(stderr=True)

        def report(over: Ended) -> None:
            if line := so_far.line(over):
                say(beside, line, "dim")
            progress.update(bar, advance=1, description=f"{over.story.name}: {so_far.counts}")

        return run(
            chosen_stories, contract, recorder, make, pace,
            impersonate=given["impersonate"], running=_running(given), report=report,
        )[1]  # fmt: skip


def _running(given: Mapping[str, Any]) -> Running | None:
    """The fake that the user names; None for one that the lab starts."""
    return Running(given["fake"].rstrip("/"), given["control_token"]) if given["fake"] else None


def _name(words: tuple[str, ...]) -> str:
    """Return the default name of a client: its program, and the file that this runs."""
    script = next((Path(word).name for word in words[1:] if Path(word).is_file()), "")
    return f"{Path(words[0]).name} {script}".strip()


def _list(every: dict[str, Story], console: Console) -> int:
    rows = [[story.name, story.summary, ", ".join(story.rules)] for story in every.values()]
    say(console, columns(rows))
    return 0


def _for_clients(choice: Choice, contract: Contract) -> Choice:
    """*choice*, once it is known to leave a rule for clients.

    Raises:
        SetupError: it leaves none.
    """
    if not any(rule.for_clients for rule in choice.book(contract)):
        raise SetupError("--only and --skip leave no rule for clients")
    return choice


def _chosen(every: dict[str, Story], names: tuple[str, ...], choice: Choice, contract: Contract) -> list[Story]:
    """The stories that were named, else those that the chosen rules need.

    Raises:
        SetupError: there is no such story.
    """
    unknown = sorted(set(names) - set(every))
    if unknown:
        raise SetupError(f"no such story: {', '.join(unknown)}; `kling-contract client --stories` lists them")
    if names:
        return [every[name] for name in dict.fromkeys(names)]
    wanted = [rule.id for rule in choice.book(contract) if rule.for_clients]
    return catalogue.serving(every.values(), wanted)


def _adapter(words: tuple[str, ...], given: dict[str, Any], contract: Contract) -> tuple[MakeAdapter, Pace]:
    """How the adapter is made, and the pace that the user gave."""
    pace = pace_for(contract, given["min_poll"], given["deadline"])
    if given["adapter"] == "command":
        adapter = CommandAdapter(words, contract)
        return (lambda _folder, _environment: adapter), pace

    def make(folder: Path, environment: Mapping[str, str]) -> Adapter:
        return JsonlAdapter(words, folder, environment, kit=version("klingkit"))

    return make, pace


def _again(words: tuple[str, ...], given: dict[str, Any]) -> Callable[[str, str], str]:
    """A giver of rerun commands, by rule and story: of the story that broke the rule, else of all that can, in the time they had."""
    shown = ("adapter", "model", "contract", "min_poll", "deadline", "impersonate", "fake")
    options: list[str] = []
    for name in shown:
        value = given[name]
        if value is True:
            options.append(f"--{name.replace('_', '-')}")
        elif value and value != "command":
            options += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]

    def again(rule_id: str, story: str) -> str:
        named = ["--story", story] if story else []
        return shlex.join(["kling-contract", "client", *options, *named, "--only", rule_id, "--", *words])

    return again
