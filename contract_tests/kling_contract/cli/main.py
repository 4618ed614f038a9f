"""`kling-contract`: the kit on the command line. Subcommands are imported when they are called."""

import importlib
import importlib.util
import itertools
import os
import signal
import sys
import traceback

import click

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
        command = importlib.import_module(f"kling_contract.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.epilog = screen_end(cmd_name)
        return command

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
        code = _say(error.format_message())
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
