"""The options of `serve` and `exec`, under headings; each also reads a variable, KLING_MOCK_NAME."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


_DASHES = "Put -- before the command: kling-mock exec -- COMMAND --its-option"
_QUOTES = 'Quote a scenario with its parameters: --scenario "failed code=service_error"'


class _Option(click.Option):
    """An option whose bounds the help leaves out; the error for a value outside of them names them."""

    def handle_parse_result(self, ctx: click.Context, opts: Any, args: list[str]) -> Any:
        """Read the value; a bad one that came from the environment names its variable."""
        try:
            return super().handle_parse_result(ctx, opts, args)
        except click.BadParameter as error:
            if ctx.get_parameter_source(self.name or "") is click.core.ParameterSource.ENVIRONMENT:
                said = f"{error.message} (from the variable {self.envvar})"
                raise click.BadParameter(said, ctx=ctx, param=self) from error
            raise

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What stands in brackets after the help."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


PORT = click.IntRange(0, 65535)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def option(*names: str, **more: Any) -> Callable[[F], F]:
    """A click option that also reads KLING_MOCK_NAME; its default is shown."""
    variable = "KLING_MOCK_" + names[0].removeprefix("--").upper().replace("-", "_")
    shown = more.get("default") is not None and not more.get("is_flag")
    return click.option(*names, cls=_Option, envvar=variable, show_default=shown, **more)


class Sections(click.Command):
    """Shows options under the headings of `_SECTIONS`, in place of one long list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; two common slips are named with what to type instead."""
        typed = list(args)  # click takes it apart
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if ctx.info_name == "exec" and "--" not in typed:
                raise click.UsageError(f"{error.format_message()} {_DASHES}", ctx) from error
            raise
        except click.UsageError as error:
            if "unexpected extra argument" in error.message and any("=" in one for one in typed):
                raise click.UsageError(f"{error.message}. {_QUOTES}", ctx) from error
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        records = dict(_records(self.get_params(ctx), ctx))
        for heading, names in _SECTIONS.items():
            rows = [records.pop(name) for name in names if name in records]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
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
    "Network": (
        "--host",
        "--port",
        "--tls",
        "--impersonate",
        "--proxy-port",
        "--ca-out",
        "--public-url",
        "--trust-proxy",
    ),
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
        "--models",
    ),
    "Callbacks and first frames": ("--callbacks", "--relay", "--callback-ca", "--images", "--videos"),
    "Access": ("--keys", "--admin-token", "--allowed-host", "--fetch-local"),
    "Storage": ("--store", "--workers", "--no-courier", "--journal"),
    "Output": ("--quiet", "--json", "--ready-json"),
}
_SERVE_OPTIONS = (
    option("--host", default="127.0.0.1", metavar="HOST", help="Address to listen on."),
    option(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="Processes; more than one needs a store that they share.",
    ),
    option(
        "--store",
        default="memory",
        metavar="memory|sqlite:///FILE|postgresql://...",
        help="Where the facts are kept. All but memory outlive the process.",
    ),
    option("--no-courier", is_flag=True, help="Leave callbacks to `kling-mock courier` on the same store."),
    option("--clock", default="real", metavar="real|manual|xRATE", help="x60 is a minute a second."),
    option(
        "--start",
        metavar="MOMENT",
        help="Where the clock begins: Unix seconds, or 2025-09-06T14:42:23Z. With --clock manual, runs are the same to the letter.",
    ),
    option(
        "--seed",
        type=int,
        metavar="N",
        help="The same seed and requests give the same ids, plans and links. Default: 0, with links that cannot be forged.",
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
        "service_settings",
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
    option("--proxy-port", type=PORT, default=0, metavar="PORT", help="Where that proxy listens; 0 takes a free one."),
    option(
        "--ca-out",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder to write ca.pem and bundle.pem to, for clients to trust.",
    ),
    option("--public-url", metavar="URL", help="Origin of result links, where it is not the fake's own."),
    option(
        "--trust-proxy",
        is_flag=True,
        help="Take the origin of result links from X-Forwarded-Host, -Proto and -Port.",
    ),
    option(
        "--contract",
        type=click.Path(path_type=Path),
        metavar="FILE|FOLDER",
        help="Another contract than the shipped one, a model file, or a folder of model files.",
    ),
    option(
        "--models",
        metavar="NAME,NAME...",
        help="Serve these models only; by default every model of the contract.",
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
