"""How long the fake takes from the start of its process to its first answer."""

import sys
from statistics import median

import click
from processes import Server, ServerError, free_port
from run import READY_GOAL, cores_for
from targets import FAKE, TargetError, program


@click.command()
@click.option("--fake", "command", default=FAKE, show_default=True, help="How to start the fake.")
@click.option("--starts", default=10, show_default=True, type=click.IntRange(1, 100), help="Starts to measure.")
@click.option("--pin/--no-pin", default=True, show_default=True, help="Server on one core, this program on another.")
def main(command: str, starts: int, pin: bool) -> None:
    """Print the seconds from spawn to the first 200 of ``GET /__mock/ready``; exit 1 when the median is too long."""
    cores = cores_for(pin)
    seconds = []
    try:
        for _ in range(starts):
            port = free_port()
            with Server(program(command.format(port=port)), cores.server) as server:
                seconds.append(server.ready(port, "/__mock/ready", {}))
    except (ServerError, TargetError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"median {median(seconds):.3f} s, fastest {min(seconds):.3f}, slowest {max(seconds):.3f}, {starts} starts"
    )
    kept = median(seconds) < READY_GOAL
    click.echo(f"{'kept' if kept else 'missed'}: median under {READY_GOAL} s")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
