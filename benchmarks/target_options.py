"""What the single measurements share: the fake that they start themselves, or one that runs already."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from processes import Server, ServerError, Watched
from run import cores_for
from targets import FAKE, TargetError, program


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--fake``, ``--url`` with ``--pid``, and ``--pin`` to a click command."""
    options = (
        click.option("--fake", "command", default=FAKE, show_default=True, help="How to start the fake."),
        click.option("--url", help="Measure a fake that runs here already; needs --pid."),
        click.option("--pid", type=int, help="Process of --url."),
        click.option("--pin/--no-pin", default=True, show_default=True, help="Server on one core, client on another."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@contextmanager
def the_fake(command: str, url: str | None, pid: int | None, pin: bool) -> Iterator[tuple[str, Watched]]:
    """The base URL of the fake and its process: a new one on a port that it chooses, or the one of *url* and *pid*.

    Raises:
        click.ClickException: only one of *url* and *pid* is given, or the fake does not start.
    """
    if (url is None) != (pid is None):
        raise click.UsageError("--url and --pid go together")
    cores = cores_for(pin)
    if url is not None and pid is not None:
        yield url.rstrip("/"), Watched(pid)
        return
    try:
        with Server(program(command.format(port=0)), cores.server) as server:
            base = server.printed_url()
            server.ready(int(base.rpartition(":")[2]), "/__mock/ready", {})
            yield base, server.watched
    except (ServerError, TargetError) as error:
        raise click.ClickException(str(error)) from error
