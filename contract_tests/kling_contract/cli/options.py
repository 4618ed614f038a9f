"""Options that the subcommands share, each with its variable `KLING_CONTRACT_...`."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import click

from kling_contract.rules.verdicts import Choice, read_known

F = TypeVar("F", bound=Callable[..., Any])


def ids(_: click.Context, __: click.Parameter, value: tuple[str, ...] | str | None) -> frozenset[str]:
    """Rule ids, separated by commas or given several times."""
    texts = (value,) if isinstance(value, str) else value or ()
    return frozenset(part.strip().upper() for text in texts for part in text.split(",") if part.strip())


def variable(name: str) -> str:
    """The variable of the option `--name`."""
    return "KLING_CONTRACT_" + name.upper().replace("-", "_")


class Number(click.FloatRange):
    """A range of numbers without NaN and the infinities: no comparison with those holds a run back."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what is no number."""
        found = super().convert(value, param, ctx)
        return found if isfinite(found) else self.fail(f"{value} is not a finite number.", param, ctx)


def option(name: str, **more: Any) -> Callable[[F], F]:
    """An option that its variable gives as well."""
    return click.option(name, **{"envvar": variable(name.removeprefix("--")), **more})


def options(*every: Callable[[Any], Any]) -> Callable[[F], F]:
    """A decorator that gives a command these options, in this order."""

    def add(command: F) -> F:
        for one in reversed(every):
            command = one(command)
        return command

    return add


ALLOW_HTTP = option("--allow-http", is_flag=True, help="Send the key over plain http to other machines too.")
POLL = option("--poll", type=Number(min=0.01), metavar="S", help="Seconds between polls in real time.")
PATIENCE = option("--patience", type=Number(min=0), metavar="S", help="Seconds that a task is waited for in real time.")


def timeout(default: float) -> Callable[[F], F]:
    """The option --timeout."""
    seconds = Number(min=0.1)
    return option(
        "--timeout", type=seconds, default=default, show_default=True, metavar="S", help="Seconds for a whole exchange."
    )


def ca_file(trust: str = "Certificates to trust") -> Callable[[F], F]:
    """The option --ca-file; *trust* says of whom."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False)
    return option("--ca-file", type=file, metavar="FILE", help=f"{trust} instead of the system's.")


def _address(_: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, _colon, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", param=parameter)
    return host, int(port)


CALLBACKS = options(
    option("--callback-base", default="", metavar="URL", help="A public https URL that leads to --callback-listen."),
    option("--callback-listen", default="127.0.0.1:0", callback=_address, metavar="HOST:PORT", show_default=True,
           help="Where callbacks are received."),
)  # fmt: skip


def _made(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """A folder to write into, made at once: after a long run is too late to learn that it cannot be."""
    try:
        if value is not None:
            value.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}") from error
    return value


def folder_option(name: str, **more: Any) -> Callable[[F], F]:
    """An option that names a folder to write into."""
    place = click.Path(path_type=Path, file_okay=False, writable=True)
    return option(name, type=place, callback=_made, metavar="DIR", **more)


common = options(
    folder_option("--report",
                  help="Write report.json, junit.xml, report.html, rules.html, summary.md, badge.json and history.jsonl there."),
    option("--only", callback=ids, multiple=True, metavar="ID,...", help="Judge these rules alone."),
    option("--skip", callback=ids, multiple=True, metavar="ID,...", help="Leave these rules out."),
    option("--known-failing", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           help="YAML, `ID: reason` a line. A listed rule that holds fails the run."),
    option("--seed", type=int, help="Seed of everything that is drawn."),
    option("--strict", is_flag=True, help="A SHOULD, or a rule that could not be tested, fails the run."),
)  # fmt: skip
"""Gives a command the shared options, as keyword arguments report, only, skip, known_failing, seed and strict."""


def chosen(
    *, only: frozenset[str], skip: frozenset[str], known_failing: Path | None, strict: bool, **_: object
) -> Choice:
    """The choice that the shared options make.

    Raises:
        SetupError: the known-failing file cannot be used.
    """
    known = read_known(known_failing) if known_failing else {}
    return Choice(only=only, skip=skip, known=known, strict=strict)
