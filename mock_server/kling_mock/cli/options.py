"""The options of `serve` and `exec`, under headings; each also reads a variable, KLING_MOCK_NAME."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


_DASHES = "Put -- before the command: kling-mock exec -- COMMAND --its-option"
_QUOTES = 'Quote a scenario with its parameters: --scenario "failed code=service_error"'


_OTHER = "Other options"


class Option(click.Option):
    """An option under a heading of the help, which leaves out its bounds; the error for a value outside of them names them."""

    def __init__(self, *args: Any, heading: str = _OTHER, **more: Any) -> None:
        super().__init__(*args, **more)
        self.heading = heading

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
    return click.option(*names, cls=Option, envvar=variable, show_default=shown, **more)


class Sections(click.Command):
    """Shows options under the headings, in place of one long list."""

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
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "heading", _OTHER), []).append(record)
        sections[_OTHER] = sections.pop(_OTHER)  # at the end
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def _pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, separator, rest = value.partition("=")
        if not separator:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", param=parameter)
        pairs[name] = rest
    return pairs


_network = partial(option, heading="Network")
_behaviour = partial(option, heading="Behaviour")
_callbacks = partial(option, heading="Callbacks and first frames")
_access = partial(option, heading="Access")
_storage = partial(option, heading="Storage")
_SERVE_OPTIONS = (
    _network("--host", default="127.0.0.1", metavar="HOST", help="Address to listen on."),
    _network("--tls", is_flag=True, help="HTTPS, with a certificate of a local authority."),
    _network(
        "--impersonate",
        is_flag=True,
        help="HTTPS under the service's own host names too, and a proxy that forwards to nothing else.",
    ),
    _network(
        "--proxy-port", type=PORT, default=0, metavar="PORT", help="Where that proxy listens; 0 takes a free one."
    ),
    _network(
        "--ca-out",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder to write ca.pem and bundle.pem to, for clients to trust.",
    ),
    _network("--public-url", metavar="URL", help="Origin of result links, where it is not the fake's own."),
    _network(
        "--trust-proxy",
        is_flag=True,
        help="Take the origin of result links from X-Forwarded-Host, -Proto and -Port.",
    ),
    _behaviour("--clock", default="real", metavar="real|manual|xRATE", help="x60 is a minute a second."),
    _behaviour(
        "--start",
        metavar="MOMENT",
        help="Where the clock begins: Unix seconds, or 2025-09-06T14:42:23Z. With --clock manual, runs are the same to the letter.",
    ),
    _behaviour(
        "--seed",
        type=int,
        metavar="N",
        help="The same seed and requests give the same ids, plans and links. Default: 0, with links that cannot be forged.",
    ),
    _behaviour("--scenario", default="completed", metavar="NAME [PARAM=VALUE]", help="The default scenario of tasks."),
    _behaviour("--scenarios", type=click.Path(path_type=Path), metavar="DIR", help="A folder of more scenarios."),
    _behaviour(
        "--profile",
        default="current",
        metavar="current|legacy|FILE",
        help="A named set of settings where the document is silent.",
    ),
    _behaviour(
        "--set",
        "service_settings",
        multiple=True,
        callback=_pairs,
        metavar="NAME=VALUE",
        help="One such setting; docs/settings.md lists them. Repeatable.",
    ),
    _behaviour("--error-codes", type=click.Choice(["current", "legacy"]), help="Dialect of error bodies."),
    _behaviour(
        "--contract",
        type=click.Path(path_type=Path),
        metavar="FILE|FOLDER",
        help="Another contract than the shipped one, a model file, or a folder of model files.",
    ),
    _behaviour(
        "--models",
        metavar="NAME,NAME...",
        help="Serve these models only; by default every model of the contract.",
    ),
    _callbacks(
        "--callbacks",
        type=click.Choice(["strict", "local"]),
        default="strict",
        help="strict: the service's address rules; local: loopback and http too.",
    ),
    _callbacks(
        "--relay",
        multiple=True,
        callback=_pairs,
        metavar="https://HOST=http://127.0.0.1:PORT",
        help="Deliver callbacks for HOST to another origin. Repeatable.",
    ),
    _callbacks(
        "--callback-ca",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Certificates to trust when callbacks are sent, in addition to the system's.",
    ),
    _callbacks(
        "--images",
        type=click.Choice(["fetch", "offline"]),
        default="fetch",
        help="fetch: download other image URLs. offline: accept them without fetching.",
    ),
    _callbacks(
        "--videos",
        type=click.Choice(["full", "tiny"]),
        default="full",
        help="tiny: a few pixels high, made at once; length and ratio as asked.",
    ),
    _access(
        "--keys", default="any", metavar="any|KEY,KEY...", help="Keys that are accepted; any: all that begin with sk-."
    ),
    _access(
        "--admin-token",
        metavar="TOKEN",
        help="Token that control calls from other machines, or through a proxy, must send.",
    ),
    _access(
        "--allowed-host",
        multiple=True,
        metavar="NAME",
        help="Another host name under which control calls are accepted. Repeatable.",
    ),
    _access(
        "--fetch-local",
        multiple=True,
        metavar="http://HOST:PORT",
        help="An origin in a private network from which images may be fetched. Repeatable.",
    ),
    _storage(
        "--store",
        default="memory",
        metavar="memory|sqlite:///FILE|postgresql://...",
        help="Where the facts are kept. All but memory outlive the process.",
    ),
    _storage(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="Processes; more than one needs a store that they share.",
    ),
    _storage("--no-courier", is_flag=True, help="Leave callbacks to `kling-mock courier` on the same store."),
    _storage(
        "--journal", type=click.IntRange(1, 1_000_000), default=1000, metavar="N", help="Entries the journal keeps."
    ),
)


def serve_options(command: F) -> F:
    """The options of `serve`, save where it listens, which `exec` chooses itself."""
    for add in reversed(_SERVE_OPTIONS):
        command = add(command)
    return command
