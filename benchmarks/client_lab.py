"""What the client lab takes: seconds to the first verdict and to the end, and processor seconds of kit, fake and clients together.

Measured with a client that starts fast (`quick_client.py`) and with the Python reference client; `--against FOLDER` runs the lab of another
checkout in turn. Most of a run is waiting, so seconds mean something as long as others leave a core free.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryDirectory
from time import perf_counter

import click
from starts import ROOT, environment

FIRST, WHOLE = 3.0, 15.0
"""Seconds to the first verdict of any client, and to the end of the lab for a fast one; issue 17."""
CLIENTS = {
    "quick": [sys.executable, "-S", str(Path(__file__).with_name("quick_client.py"))],
    "reference": [sys.executable, "-m", "kling_client", "generate", "{image}", "--out", "{out}"],
}
Sample = tuple[float, float, float]
"""Seconds to the first verdict, to the end, and of processor."""


def run(client: list[str], root: Path) -> Sample:
    """Put *client* through the lab of the checkout at *root*.

    Raises:
        click.ClickException: the lab gives no verdict.
    """
    command = [sys.executable, "-c", "from kling_contract.cli.main import main; main()", "client", "--", *client]
    with TemporaryDirectory(prefix="lab-") as folder:
        began = perf_counter()
        process = Popen(
            command, cwd=folder, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, text=True, env=environment(root)
        )
        assert process.stderr is not None
        lines = [(perf_counter() - began, line) for line in process.stderr]
        _, status, used = os.wait4(process.pid, 0)
        ended = perf_counter() - began
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise click.ClickException("".join(line for _, line in lines))
    return next((at for at, line in lines if line.startswith("story ")), ended), ended, used.ru_utime + used.ru_stime


def shown(name: str, samples: Iterable[Sample]) -> str:
    """Return a row of the table: medians."""
    cells = (median(column) for column in zip(*samples, strict=True))
    return f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |"


@click.command()
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 20), help="Runs of each.")
@click.option("--client", "names", type=click.Choice(list(CLIENTS)), multiple=True, help="Only this one; repeatable.")
@click.option("--against", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another checkout.")
def main(rounds: int, names: tuple[str, ...], against: Path | None) -> None:
    """Print what the lab takes; exit 1 where that is too much."""
    roots = {"now": ROOT, **({"before": against.resolve()} if against else {})}
    found: dict[tuple[str, str], list[Sample]] = {}
    for _ in range(rounds):
        for name in names or CLIENTS:
            for which, root in roots.items():
                found.setdefault((name, which), []).append(run(CLIENTS[name], root))
    click.echo("| client | first verdict, s | whole lab, s | processor, s |\n|---|---|---|---|")
    for (name, which), samples in found.items():
        click.echo(shown(f"{name}, {which}" if against else name, samples))
    mine = {name: [median(column) for column in zip(*found[name, "now"], strict=True)] for name in names or CLIENTS}
    kept = all(first < FIRST and (name != "quick" or whole < WHOLE) for name, (first, whole, _) in mine.items())
    click.echo(
        "kept" if kept else f"missed: a first verdict within {FIRST:.0f} s, a fast client through in {WHOLE:.0f} s"
    )
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
