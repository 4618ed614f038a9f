"""`kling-mock`: serve the fake, run a command against it, and control one that runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from kling_common.starting import without_collector
from kling_mock import __version__
from kling_mock.cli.banner import announce, announce_json
from kling_mock.cli.options import CONTEXT, PORT, Option, Sections, option, serve_options
from kling_mock.cli.processes import courier, serve_workers, worker


class _Group(click.Group):
    """Lists commands in the order in which they are made; a bad value is one line and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


_SECRETS = ("admin_token", "keys")
"""Options of `serve` that `exec` hands on by the environment."""


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="kling-mock")
def cli() -> None:
    """A fake of the Kling video API and its models: tasks, callbacks, expiring links and real videos, on a clock that you move."""


@cli.command(cls=Sections)
@option("--port", "-p", heading="Network", type=PORT, default=4010, metavar="PORT", help="0 takes a free one.")
@serve_options
@click.option(
    "--stop-with-stdin", is_flag=True, help="Stop when standard input ends: with the process that started it."
)
@option("--quiet", "-q", heading="Output", is_flag=True, help="No line for each request on standard error.")
@option("--json", "as_json", heading="Output", is_flag=True, help="Those lines as JSON, for programs.")
@click.option(
    "--ready-json",
    cls=Option,
    heading="Output",
    is_flag=True,
    help='When ready, print {"url", "port", "pid"} as one line of JSON and nothing else.',
)
def serve(stop_with_stdin: bool, ready_json: bool, quiet: bool, as_json: bool, **given: Any) -> None:
    """Serve the fake until it is interrupted, with a line on standard error for each request, callback attempt and render."""
    with without_collector():
        from kling_mock.app import build
        from kling_mock.config import BadSetting
        from kling_mock.serving.server import run, taken_port

    say = announce_json if ready_json else announce
    with ExitStack() as held:
        try:
            port = held.enter_context(taken_port(given["host"], given["port"]))
        except BadSetting:
            build(
                read_settings({**given, "host": "127.0.0.1", "port": 1})
            )  # a mistake in another option is reported before the port that is taken
            raise
        settings = read_settings({**given, "port": port})
        fake = build(settings)
        if settings.workers > 1:
            fake.world.store.close()
            options = (*(("--quiet",) if quiet else ()), *(("--json",) if as_json else ()))
            serve_workers(settings, options, lambda: say(fake, settings, None), stop_with_stdin=stop_with_stdin)
            return
        if not quiet:
            held.enter_context(lines_of(fake, as_json))
        run(fake, settings, lambda proxy: say(fake, settings, proxy), stop_with_stdin=stop_with_stdin)


cli.add_command(courier)
cli.add_command(worker)


@contextmanager
def lines_of(fake: Any, as_json: bool) -> Iterator[None]:
    """Write a line for each entry of the journal while the block lasts."""
    from kling_mock.serving.terminal import Terminal

    terminal = Terminal(fake.world.journal, sys.stderr, as_json=as_json)
    try:
        yield
    finally:
        terminal.close()


def read_settings(given: dict[str, Any]) -> Any:
    """Settings from the command line.

    Raises:
        BadSetting: a value does not fit.
    """
    from kling_mock.config import settings

    values = {name: value for name, value in given.items() if value is not None}
    values["relays"] = values.pop("relay", {})
    keys = values.pop("keys", "any")
    if keys != "any":
        values["keys"] = tuple(key.strip() for key in keys.split(",") if key.strip())
    if "models" in values:
        values["models"] = tuple(name.strip() for name in values["models"].split(",") if name.strip())
    values["service_settings"] = _service_settings(values.get("service_settings", {}))
    if "error_codes" in values:
        values["service_settings"].setdefault("error_codes", values.pop("error_codes"))
    return settings(**values)


def _service_settings(given: dict[str, str]) -> dict[str, Any]:
    """Return the values of `--set`, which are YAML."""
    if not given:
        return {}
    from kling_common.documents import BadYaml, load
    from kling_mock.config import BadSetting

    try:
        return {name: load(value) for name, value in given.items()}
    except BadYaml as error:
        raise BadSetting(f"--set {', '.join(given)}: {error}") from error


@cli.command("exec", cls=Sections, context_settings={**CONTEXT, "ignore_unknown_options": False})
@serve_options
@click.option("--api-key", default="sk-test", show_default=True, help="The key the command finds in KLING_API_KEY.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run_command(ctx: click.Context, /, api_key: str, command: tuple[str, ...], **given: Any) -> None:
    """Serve on a free port, run COMMAND with KLING_BASE_URL and the other variables set, stop, and return its exit code."""
    from kling_mock.serving.process import Running

    if not command:
        raise click.UsageError("name the command after --, such as: kling-mock exec -- pytest -x")
    secrets = {f"KLING_MOCK_{name.upper()}": str(given[name]) for name in _SECRETS if given[name] is not None}
    with Running(_spelled(ctx), errors=sys.stderr, secrets=secrets) as fake:
        variables = fake.variables(api_key)
        forward = _forward_signals()
        try:
            child = subprocess.Popen(command, env={**os.environ, **variables})  # noqa: S603 - the user's own command
        except OSError as error:
            raise click.UsageError(f"{command[0]}: {error.strerror}{_meant(command)}") from error
        forward(child)
        code = child.wait()
    ctx.exit(code if code >= 0 else 128 - code)


def _meant(command: tuple[str, ...]) -> str:
    """Return what to type where the command that was not found is the rest of a scenario."""
    return f'; quote a scenario with its parameters: --scenario "failed {command[0]}"' if "=" in command[0] else ""


def _forward_signals() -> Callable[["subprocess.Popen[bytes]"], None]:
    """Pass on what would end this process, so that the command ends first and its exit code is kept; return what takes the command.

    What arrives while the command is being started waits for it. Ctrl-C in a terminal reaches the command by itself, since it is in the
    foreground too; passed on, it would arrive twice.
    """
    children: list[subprocess.Popen[bytes]] = []
    waiting: list[int] = []

    def take(number: int, _: Any) -> None:
        if number == signal.SIGINT and _in_foreground():
            return
        if children:
            children[0].send_signal(number)
        else:
            waiting.append(number)

    def begin(child: "subprocess.Popen[bytes]") -> None:
        children.append(child)
        for number in waiting:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, take)
    return begin


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
        if not isinstance(parameter, click.Option) or parameter.name in ("api_key", *_SECRETS):
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


@cli.command()
def mcp() -> None:
    """Serve the fake's tools to a coding agent over standard input and output (Model Context Protocol)."""
    from kling_mock.cli.agents import server
    from kling_mock.config import BadSetting

    try:
        made = server()
    except ImportError as error:
        raise BadSetting("mcp needs the extra: pip install 'klingkit[mcp]', from the repository or a wheel") from error
    made.run("stdio")


def _variable_of(message: str) -> str:
    """Return the variable that a bad value came from; empty for one that was typed."""
    option = message.partition(" ")[0].rstrip(":") if message.startswith("--") else ""
    variable = f"KLING_MOCK_{option.removeprefix('--').upper().replace('-', '_')}"
    typed = any(one == option or one.startswith(f"{option}=") for one in sys.argv)
    return f" (from the variable {variable})" if option and variable in os.environ and not typed else ""


@cli.command("contract")
@click.option("--contract", "path", type=click.Path(path_type=Path), metavar="FILE|FOLDER", help="As for serve.")
@click.option("--models", metavar="NAME,NAME...", help="These models only; by default all.")
@click.option("--server", metavar="URL", help="Where it is served; by default the service's own hosts.")
def write_contract(path: Path | None, models: str | None, server: str | None) -> None:
    """Write the whole contract with all its models as one OpenAPI 3.1 document, in JSON, to standard output."""
    import orjson

    from kling_openapi import ContractError, read_family
    from kling_openapi.bundle import bundle

    family = read_family(path)
    names = [name.strip() for name in models.split(",") if name.strip()] if models is not None else None
    unknown = next((name for name in names or () if name not in family.models), None)
    if unknown is not None:
        raise ContractError(f"--models: there is no model {unknown!r}; there are {', '.join(family.models)}")
    click.echo(orjson.dumps(bundle(family, server=server, models=names), option=orjson.OPT_INDENT_2))


def main() -> None:
    """Run the command line; a usage error is one line and exit code 2."""
    from kling_mock.cli.examples import add_examples
    from kling_mock.cli.verbs import add_verbs

    add_verbs(cli)
    add_examples(cli)
    try:
        cli(prog_name="kling-mock")
    except ValueError as error:
        # Imported only now: they bring the contract, which `--help` does without.
        from kling_mock.config import BadSetting
        from kling_openapi import ContractError

        if not isinstance(error, BadSetting | ContractError):
            raise
        click.echo(f"kling-mock: {error}{_variable_of(str(error))}", err=True)
        sys.exit(2)
