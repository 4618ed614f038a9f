"""`kling-mock`: serve the fake, run a command against it, and control one that runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import click

from kling_mock import __version__

F = TypeVar("F", bound=Callable[..., Any])


class _Option(click.Option):
    """An option whose bounds the help leaves out; the error for a value outside of them names them."""

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What stands in brackets after the help."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


_PORT = click.IntRange(0, 65535)
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def option(*names: str, **more: Any) -> Callable[[F], F]:
    """A click option that also reads KLING_MOCK_NAME; its default is shown."""
    variable = "KLING_MOCK_" + names[0].removeprefix("--").upper().replace("-", "_")
    shown = more.get("default") is not None and not more.get("is_flag")
    return click.option(*names, cls=_Option, envvar=variable, show_default=shown, **more)


class _Sections(click.Command):
    """Shows options under the headings of `_SECTIONS`, in place of one long list."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = dict(_records(self.get_params(ctx), ctx))
        for heading, names in _SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        with formatter.section("Other options"):
            formatter.write_dl(list(records.values()))


def _records(parameters: list[click.Parameter], ctx: click.Context) -> Iterator[tuple[str, tuple[str, str]]]:
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is not None:
            yield parameter.opts[0], record


def _pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, separator, rest = value.partition("=")
        if not separator:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", param=parameter)
        pairs[name] = rest
    return pairs


_SECTIONS = {
    "Network": ("--host", "--port", "--tls", "--impersonate", "--proxy-port", "--ca-out", "--public-url"),
    "Behaviour": (
        "--clock",
        "--start",
        "--seed",
        "--scenario",
        "--scenarios",
        "--profile",
        "--set",
        "--error-codes",
        "--contract",
    ),
    "Callbacks and first frames": ("--callbacks", "--relay", "--callback-ca", "--images", "--videos"),
    "Access": ("--keys", "--admin-token", "--allowed-host", "--fetch-local"),
    "Storage": ("--store", "--workers", "--journal"),
}
_SERVE_OPTIONS = (
    option("--host", default="127.0.0.1", metavar="HOST", help="Address to listen on."),
    option(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        hidden=True,
        help="Processes; more than one needs a shared store.",
    ),
    option("--store", default="memory", metavar="memory", hidden=True, help="Where the facts are kept."),
    option("--clock", default="real", metavar="real|manual|xRATE", help="x60 is a minute a second."),
    option(
        "--start",
        metavar="MOMENT",
        help="Where the clock begins: Unix seconds, or 2025-09-06T14:42:23Z. With --clock manual, runs are the same to the letter.",
    ),
    option(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="The same seed and requests give the same ids, plans and outcomes.",
    ),
    option("--scenario", default="completed", metavar="NAME [PARAM=VALUE]", help="The default scenario of tasks."),
    option("--scenarios", type=click.Path(path_type=Path), metavar="DIR", help="A folder of more scenarios."),
    option(
        "--callbacks",
        type=click.Choice(["strict", "local"]),
        default="strict",
        help="strict: the service's address rules; local: loopback and http too.",
    ),
    option(
        "--relay",
        multiple=True,
        callback=_pairs,
        metavar="https://HOST=http://127.0.0.1:PORT",
        help="Deliver callbacks for HOST to another origin. Repeatable.",
    ),
    option(
        "--images",
        type=click.Choice(["fetch", "offline"]),
        default="fetch",
        help="fetch: download other image URLs. offline: accept them without fetching.",
    ),
    option(
        "--videos",
        type=click.Choice(["full", "tiny"]),
        default="full",
        help="tiny: a few pixels high, made at once; length and ratio as asked.",
    ),
    option("--error-codes", type=click.Choice(["current", "legacy"]), help="Dialect of error bodies."),
    option(
        "--profile",
        default="current",
        metavar="current|legacy|FILE",
        help="A named set of settings where the document is silent.",
    ),
    option(
        "--set",
        "choices",
        multiple=True,
        callback=_pairs,
        metavar="NAME=VALUE",
        help="One such setting; docs/settings.md lists them. Repeatable.",
    ),
    option(
        "--keys", default="any", metavar="any|KEY,KEY...", help="Keys that are accepted; any: all that begin with sk-."
    ),
    option(
        "--admin-token",
        metavar="TOKEN",
        help="Token that control calls from other machines, or through a proxy, must send.",
    ),
    option(
        "--allowed-host",
        multiple=True,
        metavar="NAME",
        help="Another host name under which control calls are accepted. Repeatable.",
    ),
    option(
        "--fetch-local",
        multiple=True,
        metavar="http://HOST:PORT",
        help="An origin in a private network from which images may be fetched. Repeatable.",
    ),
    option("--tls", is_flag=True, help="HTTPS, with a certificate of a local authority."),
    option(
        "--impersonate",
        is_flag=True,
        help="HTTPS under the service's own host names too, and a proxy that forwards to nothing else.",
    ),
    option("--proxy-port", type=_PORT, default=0, metavar="PORT", help="Where that proxy listens; 0 takes a free one."),
    option(
        "--ca-out",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder to write ca.pem and bundle.pem to, for clients to trust.",
    ),
    option("--public-url", metavar="URL", help="Origin of result links, where it is not the fake's own."),
    option(
        "--contract", type=click.Path(path_type=Path), metavar="FILE", help="Another contract than the shipped one."
    ),
    option(
        "--callback-ca",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Certificates to trust when callbacks are sent, in addition to the system's.",
    ),
    option(
        "--journal", type=click.IntRange(1, 1_000_000), default=1000, metavar="N", help="Entries the journal keeps."
    ),
)


def serve_options(command: F) -> F:
    """The options of `serve`, save where it listens, which `exec` chooses itself."""
    for add in reversed(_SERVE_OPTIONS):
        command = add(command)
    return command


class _Group(click.Group):
    """Lists commands in the order in which they are made; a bad value is one line and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="kling-mock")
def cli() -> None:
    """A fake of kling-v3-turbo-image-to-video: tasks, callbacks, expiring links and real videos, on a clock that you move."""


@cli.command(cls=_Sections)
@option("--port", "-p", type=_PORT, default=4010, metavar="PORT", help="0 takes a free one.")
@serve_options
@click.option(
    "--stop-with-stdin", is_flag=True, help="Stop when standard input ends: with the process that started it."
)
@click.option(
    "--ready-json", is_flag=True, help='When ready, print {"url", "port", "pid"} as one line of JSON and nothing else.'
)
def serve(stop_with_stdin: bool, ready_json: bool, **given: Any) -> None:
    """Serve the fake until it is interrupted."""
    from kling_mock.app import create_app
    from kling_mock.config import BadSetting
    from kling_mock.serving.server import run, taken_port

    with ExitStack() as held:
        try:
            port = held.enter_context(taken_port(given["host"], given["port"]))
        except BadSetting:
            create_app(
                read_settings({**given, "host": "127.0.0.1", "port": 1})
            )  # a mistake in another option is reported before the port that is taken
            raise
        settings = read_settings({**given, "port": port})
        app = create_app(settings)
        announce = _announce_json if ready_json else _announce
        run(app, settings, lambda proxy: announce(app, settings, proxy), stop_with_stdin=stop_with_stdin)


def _announce(app: Any, settings: Any, proxy: int | None) -> None:
    """Say to people where the fake is."""
    click.echo(f"kling-mock {__version__} listening on {settings.own_origin}")
    if settings.secure:
        from kling_common.authority import Authority

        click.echo(f"  trust: {Authority().ca_file}")
    if proxy is not None:
        click.echo(f"  proxy: http://127.0.0.1:{proxy} for {', '.join(_names(app, settings))}")
    keys = "any that begins with sk-" if settings.keys is None else str(len(settings.keys))
    click.echo(f"  keys: {keys}; clock: {settings.clock}; seed: {settings.seed}; control: /__mock/")
    sys.stdout.flush()


def _announce_json(app: Any, settings: Any, proxy: int | None) -> None:
    """Say to programs where the fake is."""
    ready: dict[str, Any] = {"url": settings.own_origin, "port": settings.port, "pid": os.getpid()}
    if proxy is not None:
        ready |= {"proxy": f"127.0.0.1:{proxy}", "names": _names(app, settings)}
    click.echo(json.dumps(ready))
    sys.stdout.flush()


def _names(app: Any, settings: Any) -> tuple[str, ...]:
    """The host names that the proxy leads to the fake."""
    from kling_mock.web.access import impersonated

    return impersonated(settings, app.extensions["kling-mock"].world.contract.document)


def read_settings(given: dict[str, Any]) -> Any:
    """Settings from the command line.

    Raises:
        BadSetting: a value does not fit.
    """
    import yaml

    from kling_mock.config import BadSetting, settings
    from kling_openapi import one_line

    values = {name: value for name, value in given.items() if value is not None}
    values["relays"] = values.pop("relay", {})
    keys = values.pop("keys", "any")
    if keys != "any":
        values["keys"] = tuple(key.strip() for key in keys.split(",") if key.strip())
    try:
        values["choices"] = {name: yaml.safe_load(value) for name, value in values.get("choices", {}).items()}
    except yaml.YAMLError as error:
        raise BadSetting(f"--set {', '.join(values['choices'])}: not YAML: {one_line(error)}") from error
    if "error_codes" in values:
        values["choices"].setdefault("error_codes", values.pop("error_codes"))
    chosen = settings(**values)
    return chosen if chosen.public_url else settings(**{**values, "public_url": chosen.own_origin})


@cli.command("exec", cls=_Sections, context_settings={**_CONTEXT, "ignore_unknown_options": False})
@serve_options
@click.option("--api-key", default="sk-test", show_default=True, help="The key the command finds in KLING_API_KEY.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run_command(ctx: click.Context, /, api_key: str, command: tuple[str, ...], **given: Any) -> None:
    """Serve on a free port, run COMMAND with KLING_BASE_URL and the other variables set, stop, and return its exit code."""
    from kling_mock.serving.process import Running

    del given
    options = _spelled(ctx)
    with Running(options, errors=sys.stderr) as fake:
        variables = fake.variables(api_key)
        try:
            child = subprocess.Popen(command, env={**os.environ, **variables})  # noqa: S603 - the user's own command
        except OSError as error:
            raise click.UsageError(f"{command[0]}: {error.strerror}") from error
        _forward_signals(child)
        code = child.wait()
    ctx.exit(code if code >= 0 else 128 - code)


def _forward_signals(child: "subprocess.Popen[bytes]") -> None:
    """Pass on what would end this process, so that the command ends first and its exit code is kept.

    Ctrl-C in a terminal reaches the command by itself, since it is in the foreground too; passed on, it would arrive twice.
    """

    def forward(number: int, _: Any) -> None:
        if not (number == signal.SIGINT and _in_foreground()):
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)


def _in_foreground() -> bool:
    """Whether a terminal sends its signals to this process."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _spelled(ctx: click.Context) -> list[str]:
    """Return the serve options of this command line, with a free port."""
    typed = []
    for parameter in ctx.command.params:
        if not isinstance(parameter, click.Option) or parameter.name == "api_key":
            continue
        if ctx.get_parameter_source(parameter.name or "") is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[parameter.name or ""]
        if parameter.is_flag:
            typed.append(parameter.opts[0])
        elif isinstance(value, tuple):
            for item in value:
                typed += [parameter.opts[0], str(item)]
        elif isinstance(value, dict):
            for name, item in value.items():
                typed += [parameter.opts[0], f"{name}={item}"]
        else:
            typed += [parameter.opts[0], str(value)]
    return [*typed, "--port", "0"]


def main() -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    from kling_mock.cli.verbs import add_verbs

    add_verbs(cli)
    try:
        cli(prog_name="kling-mock")
    except ValueError as error:
        # Imported only now: they bring pydantic and the contract, which `--help` does without.
        from kling_mock.config import BadSetting
        from kling_openapi import ContractError

        if not isinstance(error, BadSetting | ContractError):
            raise
        click.echo(f"kling-mock: {error}", err=True)
        sys.exit(2)
