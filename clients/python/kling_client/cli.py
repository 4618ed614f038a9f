"""The `kling` command.

Exit codes: 0 the video is there; 2 usage or set-up; 3 the task failed; 4 refused (key, balance, permission, request);
5 gave up at the deadline; 6 a create whose outcome is not known; 7 network or server; 8 completed, but not saved;
9 another run is at it; 10 interrupted; 77 cannot do this here; 1 a fault of this program.
"""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, unquote, urlsplit

import click

import kling_openapi
from kling_client import timing
from kling_client.client import Client
from kling_client.contract import shipped
from kling_client.download import DownloadPolicy
from kling_client.errors import (
    BadSetting,
    ConfigError,
    CreateInterrupted,
    CreateOutcomeUnknown,
    Interrupted,
    KlingError,
    NotFound,
    TaskFailed,
)
from kling_client.examples import add_examples
from kling_client.fields import assigned, json_value
from kling_client.generation import Event, Generation
from kling_client.polling import PollPolicy
from kling_client.report import Report, progress_on, secrets_of
from kling_client.settings import check_seconds
from kling_client.state import SUFFIX, read_record
from kling_client.transport import Timeouts
from kling_client.webhook import Receiver
from kling_common import VERSION

F = TypeVar("F", bound=Callable[..., Any])
CANNOT = 77
_LONGEST_NAME = 100


class Seconds(click.ParamType[float]):
    """A time in seconds that a timer can take; 0 only where it may be *zero*."""

    name = "seconds"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail as click does."""
        try:
            return check_seconds("it", float(value), zero=self._zero)
        except (BadSetting, ValueError) as error:
            return self.fail(str(error), param, ctx)


_SECONDS = Seconds()


class CannotDo(KlingError):
    """This machine or call lacks what the options need."""

    outcome = "refused"
    kind = "cannot"
    exit_code = CANNOT


def number(text: str) -> Any:
    """A number where *text* reads as one, else the text as it is: whether it is a fit one is for the contract to say."""
    value = json_value(text)
    return value if type(value) in (int, float) else text


def connection(command: F) -> F:
    """The options that every command has."""
    options = [
        click.option("--base-url", metavar="URL", help="The service. [KLING_BASE_URL, EVOLINK_BASE_URL]"),
        click.option("--api-key", metavar="KEY", help="Better in KLING_API_KEY or EVOLINK_API_KEY, out of sight."),
        click.option("--files-base-url", metavar="URL", help="Where images are uploaded. [KLING_FILES_BASE_URL]"),
        click.option("--allow-http", is_flag=True, envvar="KLING_ALLOW_HTTP", help="Plain http to other machines."),
        click.option("--timeout", type=_SECONDS, envvar="KLING_TIMEOUT", metavar="S", help="Of one call."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def patience(command: F) -> F:
    """The options of commands that wait for a task."""
    options = [
        click.option(
            "--deadline", type=_SECONDS, envvar="KLING_DEADLINE", metavar="S", help="Give up after S seconds."
        ),
        click.option("--min-poll", type=_SECONDS, envvar="KLING_MIN_POLL", metavar="S", help="Least pause of reads."),
        click.option("--max-bytes", type=click.IntRange(min=1), envvar="KLING_MAX_BYTES", help="Largest video taken."),
        click.option("--overwrite", is_flag=True, envvar="KLING_OVERWRITE", help="Replace the output file."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="kling")
def cli() -> None:
    """Make videos with kling-v3-turbo-image-to-video: never paid twice, never half saved."""


@cli.command()
@click.argument("image", envvar="KLING_IMAGE", required=False)
@click.option("--model", envvar="KLING_MODEL", metavar="NAME", help="Another model of the family.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A field of the model; a dot leads into an object."
)
@click.option("--out", envvar="KLING_OUT", metavar="FILE", help="The video; else IMAGE's name with .mp4, here.")
@click.option("--prompt", envvar="KLING_PROMPT", metavar="TEXT", help="What should move.")
@click.option("--quality", envvar="KLING_QUALITY", metavar="Q", help="720p or 1080p.")
@click.option("--duration", type=number, envvar="KLING_DURATION", metavar="N", help="Seconds of video.")
@click.option("--callback-url", metavar="URL", help="HTTPS URL for the service to call; heard on --callback-port.")
@click.option("--receive", is_flag=True, help="Use KLING_CALLBACK_URL as the callback URL.")
@click.option(
    "--callback-port",
    type=click.IntRange(0, 65535),
    envvar="KLING_CALLBACK_PORT",
    metavar="PORT",
    help="Where callbacks arrive.",
)
@click.option(
    "--linger",
    type=Seconds(zero=True),
    default=3.0,
    show_default=True,
    envvar="KLING_LINGER",
    metavar="S",
    help="How long to go on hearing callbacks after the end.",
)
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="Any other request field.")
@click.option("--idempotency-key", metavar="K", help="Else a new one; with a lost create's key it is sent again.")
@click.option(
    "--repeat-lost-create",
    is_flag=True,
    envvar="KLING_REPEAT_LOST_CREATE",
    help="Send a create whose reply was lost once more, with the same Idempotency-Key.",
)
@click.option("--new", is_flag=True, help="Forget what was begun for this file.")
@patience
@connection
@click.pass_obj
def generate(report: Report, /, image: str | None, out: str | None, **options: Any) -> None:
    """Make a video from IMAGE, a URL or a local file, and save it. Run again, it resumes."""
    client = _client(report, options)
    if client.contract.spec is None and not image:
        raise ConfigError("Missing argument 'IMAGE'.")
    callback_url = options["callback_url"] or None
    if options["receive"]:
        callback_url = callback_url or os.environ.get("KLING_CALLBACK_URL")
        if not callback_url or options["callback_port"] is None:
            raise CannotDo("--receive needs KLING_CALLBACK_URL and KLING_CALLBACK_PORT")
    port = options["callback_port"] if callback_url else None
    wishes = {name: options[name] for name in ("prompt", "quality", "duration")}
    wishes |= {"prompt": wishes["prompt"] or None, "callback_url": callback_url, "extra": _extra(client, options)}
    with _receiver(callback_url, port, options["linger"]) as receiver, _watched(report) as on_event:
        video = client.generate(
            image or None,
            Path(out or _name_for(image or client.contract.model)),
            idempotency_key=options["idempotency_key"],
            receiver=receiver,
            on_event=on_event,
            new=options["new"],
            overwrite=options["overwrite"],
            **wishes,
        )
        report.completed(video)


@cli.command()
@click.argument("target", metavar="ID|STATEFILE")
@click.option("--out", envvar="KLING_OUT", metavar="FILE", help="The video; else what the state file says, or ID.mp4.")
@patience
@connection
@click.pass_obj
def resume(report: Report, /, target: str, out: str | None, **options: Any) -> None:
    """Wait for a task that was created before, and save its video. Creates nothing."""
    client = _client(report, options)
    task_id, path = _owed(client, target, out)
    with _watched(report) as on_event:
        generation = Generation(client, path, receiver=None, on_event=on_event)
        report.completed(generation.resume(task_id, overwrite=options["overwrite"]))


@cli.command()
@click.argument("task_id", metavar="ID")
@connection
@click.pass_obj
def status(report: Report, /, task_id: str, **options: Any) -> None:
    """Show a task as it is now."""
    task = _client(report, options).get(task_id)
    if options["as_json"]:
        return report.print_json(dict(task.raw))
    progress = f" {task.progress}%" if task.progress is not None else ""
    report.say(f"{task.id} {task.status or 'no status'}{progress}", sys.stdout)
    if task.error is not None:
        report.say(f"{task.error.code}: {task.error.message}", sys.stdout)
    for link in task.results:
        report.say(link, sys.stdout)
    return None


@cli.command()
@connection
@click.pass_obj
def credits(report: Report, /, **options: Any) -> None:
    """Show the balance."""
    balance = _client(report, options).credits()
    if options["as_json"]:
        return report.print_json(dict(balance))
    for owner, entry in balance.items():
        if isinstance(entry, dict):
            left = "unlimited" if entry.get("unlimited_credits") else entry.get("remaining_credits")
            report.say(f"{owner}: {left} credits left, {entry.get('used_credits')} used", sys.stdout)
    return None


def main() -> NoReturn:
    """The command's entry: no traceback, whatever happens."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command and give its exit code."""
    add_examples(cli)
    report = Report(secrets=secrets_of(None))
    error: KlingError | None = None
    try:
        with _stoppable(report):
            cli.main(args=arguments, prog_name="kling", standalone_mode=False, obj=report)
    except (click.Abort, KeyboardInterrupt):
        error = _interrupted(report)
    except click.exceptions.NoArgsIsHelpError as failure:
        click.echo(failure.format_message(), err=True)
        return ConfigError.exit_code
    except click.ClickException as failure:
        error = ConfigError(failure.format_message())
    except KlingError as failure:
        error = failure
    except Exception as failure:
        if os.environ.get("KLING_DEBUG"):
            raise
        error = KlingError(f"a fault of this program: {type(failure).__name__}: {failure} (KLING_DEBUG=1 shows where)")
    return _conclude(report, error)


def _interrupted(report: Report) -> Interrupted | None:
    """Return what being stopped means at this point; nothing once the video is saved."""
    if report.outcome == "completed":
        return None
    if not report.sending:
        return Interrupted("interrupted")
    return CreateInterrupted("interrupted while the create was sent; it may have been accepted and charged")


def _conclude(report: Report, error: KlingError | None) -> int:
    """Tell how it ended, in every place that asks."""
    if error is not None:
        report.failed(error)
        report.say(f"kling: {error}{_hint(report, error)}")
    if error is not None or report.outcome == "completed":
        report.finish()
    return error.exit_code if error else 0


def _hint(report: Report, error: KlingError) -> str:
    """How to go on, where a task is still owed and the message does not say it."""
    if report.task_id is None or isinstance(error, TaskFailed) or "kling resume" in str(error):
        return ""
    if isinstance(error, NotFound):
        return "; kling generate --new starts anew"
    return f"; to go on: kling resume {report.task_id}"


@contextlib.contextmanager
def _stoppable(report: Report) -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP end it as Ctrl-C does: tidily, and not between a video and its name."""

    def stop(_signal: int, _frame: Any) -> None:
        if not report.saving:
            raise KeyboardInterrupt

    signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _client(report: Report, options: dict[str, Any]) -> Client:
    """A client as the options want it."""
    report.as_json = options["as_json"]
    report.secrets = secrets_of(options["api_key"])
    policy = PollPolicy().following(shipped().polling)
    policy = replace(
        policy,
        min_poll=options.get("min_poll") or policy.min_poll,
        deadline=options.get("deadline") or policy.deadline,
    )
    download = DownloadPolicy(deadline=policy.deadline, first_wait=min(1.0, policy.min_poll))
    timeout = options["timeout"]
    return Client(
        options["api_key"],
        options["base_url"],
        files_base_url=options["files_base_url"],
        allow_http=options["allow_http"],
        poll=policy,
        download=replace(download, max_bytes=options.get("max_bytes") or download.max_bytes),
        timeouts=Timeouts(min(Timeouts().connect, timeout), timeout, timeout) if timeout else None,
        repeat_lost_create=options.get("repeat_lost_create", False),
        model=options.get("model"),
    )


@contextlib.contextmanager
def _receiver(url: str | None, port: int | None, linger: float) -> Iterator[Receiver | None]:
    """A receiver that listens while the block runs, and a little longer: a late callback is still received."""
    if url is None or port is None:
        yield None
        return
    from kling_client.listener import listening

    parts = urlsplit(url)
    receiver = Receiver(path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    with listening(receiver, port):
        try:
            yield receiver
        except TaskFailed:
            timing.sleep(linger)
            raise
        timing.sleep(linger)


@contextlib.contextmanager
def _watched(report: Report) -> Iterator[Callable[[Event], None]]:
    """Progress on the terminal while the block runs."""
    progress = progress_on(report)
    with progress.show():
        yield progress


def _extra(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    """NAME=VALUE pairs as further request fields: of --set with the model's types, of --field as texts."""
    pairs = [field.partition("=") for field in options["fields"]]
    if any(not separator or not name for name, separator, _value in pairs):
        raise ConfigError("--field takes NAME=VALUE")
    if any(not pair.partition("=")[1] for pair in options["settings"]):
        raise ConfigError("--set takes KEY=VALUE")
    model = client.contract.spec or kling_openapi.family().own
    return assigned(model, options["settings"]) | {name: value for name, _separator, value in pairs}


def _name_for(image: str) -> str:
    """The output file's name where none is given."""
    name = unquote(urlsplit(image).path).rsplit("/", 1)[-1] if "://" in image else Path(image).name
    plain = re.sub(r"[^\w.-]+", "_", Path(name).stem)[:_LONGEST_NAME]
    return f"{plain.strip('.') or 'video'}.mp4"


def _owed(client: Client, target: str, out: str | None) -> tuple[str, Path]:
    """The task and the file that *target* means: an id, or a state file."""
    if not target.endswith(SUFFIX):
        return target, Path(out or f"{quote(target, safe='', errors='replace')}.mp4")
    record = read_record(Path(target))
    if record.base_url != client.base_url:
        raise ConfigError(f"{target} is about {record.base_url}, not about {client.base_url}; give --base-url")
    if record.task_id is None:
        raise CreateOutcomeUnknown(
            f"the outcome of this create is not known; run kling generate again with --idempotency-key "
            f"{record.idempotency_key} to send it once more under the same key",
            idempotency_key=record.idempotency_key,
        )
    return record.task_id, Path(out or target.removesuffix(SUFFIX))
