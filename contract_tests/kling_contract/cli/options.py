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


ALLOW_HTTP = click.option("--allow-http", is_flag=True, envvar=variable("allow-http"),
                          help="Send the key over plain http to other machines too.")  # fmt: skip


def _address(_: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, _colon, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", param=parameter)
    return host, int(port)


CALLBACKS = (
    click.option("--callback-base", default="", envvar=variable("callback-base"), metavar="URL",
                 help="A public https URL that leads to --callback-listen."),
    click.option("--callback-listen", default="127.0.0.1:0", envvar=variable("callback-listen"), callback=_address, metavar="HOST:PORT",
                 show_default=True, help="Where callbacks are received."),
)  # fmt: skip


def folder(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """A folder to write into, made at once: after a long run is too late to learn that it cannot be."""
    try:
        if value is not None:
            value.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}") from error
    return value


_COMMON = (
    click.option("--report", type=click.Path(path_type=Path, file_okay=False, writable=True), callback=folder,
                 envvar=variable("report"), metavar="DIR",
                 help="Write report.json, junit.xml, report.html, rules.html, summary.md, badge.json and history.jsonl there."),
    click.option("--only", callback=ids, multiple=True, envvar=variable("only"), metavar="ID,...",
                 help="Judge these rules alone."),
    click.option("--skip", callback=ids, multiple=True, envvar=variable("skip"), metavar="ID,...",
                 help="Leave these rules out."),
    click.option("--known-failing", type=click.Path(path_type=Path, dir_okay=False), envvar=variable("known-failing"),
                 metavar="FILE", help="YAML, `ID: reason` a line. A listed rule that holds fails the run."),
    click.option("--seed", type=int, envvar=variable("seed"), help="Seed of everything that is drawn."),
    click.option("--strict", is_flag=True, envvar=variable("strict"), help="A SHOULD, or a rule that could not be tested, fails the run."),
)  # fmt: skip


def common(command: F) -> F:
    """Give *command* the shared options, as keyword arguments report, only, skip, known_failing, seed and strict."""
    for option in reversed(_COMMON):
        command = option(command)
    return command


def chosen(
    *, only: frozenset[str], skip: frozenset[str], known_failing: Path | None, strict: bool, **_: object
) -> Choice:
    """The choice that the shared options make.

    Raises:
        SetupError: the known-failing file cannot be used.
    """
    known = read_known(known_failing) if known_failing else {}
    return Choice(only=only, skip=skip, known=known, strict=strict)
