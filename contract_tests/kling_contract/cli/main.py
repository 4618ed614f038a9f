"""`kling-contract`: the kit on the command line. Subcommands are imported when they are called."""

import difflib
import importlib
import importlib.util
import itertools
import os
import signal
import sys
import traceback

import click

from kling_common.starting import without_collector
from kling_contract.cli.examples import GROUP, screen_end

COMMANDS = {
    "server": "Judge a server.",
    "client": "Judge a client in the lab.",
    "check": "Judge recorded histories (JSON Lines, HAR, journal).",
    "matrix": "Show several reports side by side.",
    "record": "Record what a client and the real service say to each other.",
    "compare": "Show the drift between two histories or two servers.",
    "rules": "Show the rulebook.",
    "selftest": "Prove every rule against its mutants.",
    "mcp": "Serve the kit to a coding agent.",
}
"""Name and summary of each subcommand; `commands/NAME.py` holds its click command as `command`."""
_DEBUG = "KLING_CONTRACT_DEBUG"


class _Lazy(click.Group):
    """A group whose help needs no subcommand to be imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name in COMMANDS if importlib.util.find_spec(f"kling_contract.cli.commands.{name}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        with without_collector():
            command = importlib.import_module(f"kling_contract.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.epilog = screen_end(cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; a name that nearly is one is answered with the right one."""
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        if args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            meant = f" Did you mean '{near[0]}'?" if near else " `kling-contract --help` lists them."
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(
    cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=GROUP
)
@click.version_option(package_name="klingkit", prog_name="kling-contract")
@click.option("--debug", is_flag=True, envvar=_DEBUG, help="Show the traceback of an unexpected error.")
def cli(debug: bool) -> None:
    """Judge any server, client or recording against the contract."""


def main() -> None:
    """Run the command line. Whatever goes wrong is one line on stderr and exit code 2, never a traceback."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # not every system has both
            signal.signal(getattr(signal, name), _interrupt)
    debug = _debugging()
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except click.ClickException as error:
        code = _say(error.format_message() + _variable_of(error))
    except (click.Abort, KeyboardInterrupt):
        code = _say("stopped by hand")
    except BrokenPipeError:
        # Whoever read the output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 2
    except Exception as error:  # the last resort: a user gets a line, and a traceback only on demand
        if debug:
            traceback.print_exc()
        code = _say(_in_a_line(error))
    sys.exit(code if isinstance(code, int) else 0)


def _variable_of(error: click.ClickException) -> str:
    """Return the variable that a bad value came from; empty for one that was typed."""
    option = error.param if isinstance(error, click.BadParameter) else None
    if not isinstance(option, click.Option) or not isinstance(option.envvar, str) or not os.environ.get(option.envvar):
        return ""
    typed = any(word == name or word.startswith(f"{name}=") for word in sys.argv for name in option.opts)
    return "" if typed else f" (from the variable {option.envvar})"


def _debugging() -> bool:
    """Return whether a traceback was asked for: by --debug before the subcommand, or by the environment."""
    wanted = os.environ.get(_DEBUG, "").lower() not in ("", "0", "false", "no", "off")
    return wanted or "--debug" in itertools.takewhile(lambda word: word.startswith("-"), sys.argv[1:])


def _interrupt(*_: object) -> None:
    """Whoever ends the kit, a CI that is cancelled for one, ends it as a hand at the keyboard does: with all that it started."""
    raise KeyboardInterrupt


def _say(message: str) -> int:
    click.echo(f"kling-contract: {' '.join(message.split())}", err=True)
    return 2


def _in_a_line(error: Exception) -> str:
    from kling_contract.rules.verdicts import SetupError
    from kling_openapi import ContractError

    if isinstance(error, SetupError | ContractError):
        return str(error)
    return f"the kit failed: {type(error).__name__}: {error}"
