"""What a start costs: processor time to the first work done, by program and, for the fake, by what is imported.

`python benchmarks/starts.py --against FOLDER` starts the code of another checkout in turn, so that the two are measured on the same machine
in the same minutes.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from time import perf_counter
from typing import Any

import click
from page import start_lines
from processes import PAGE, PATIENCE, free_port, get_status, pause

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("clients/python", "common", "contract_tests", "mock_server", "openapi")
KEY = {"Authorization": "Bearer sk-test"}
QUERY = "/v1/tasks/task-unified-1-none"
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
_OTHER_GROUPS = 12
Sample = tuple[float, float, float]
"""Processor seconds, wall seconds, resident bytes."""


def environment(root: Path) -> dict[str, str]:
    """Return the variables under which Python runs the code of the checkout at *root*, compiled files and all."""
    path = os.pathsep.join(str(root / folder) for folder in FOLDERS)
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}


def module(*words: str) -> list[str]:
    """Return the command that runs a program of ours."""
    return [sys.executable, "-m", *words]


def run(command: list[str], root: Path) -> Sample:
    """Run *command* to its end. What it has in memory is not known: the kernel counts that of this process in."""
    began = perf_counter()
    process = Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=environment(root))
    _, _, used = os.wait4(process.pid, 0)
    return used.ru_utime + used.ru_stime, perf_counter() - began, 0.0


@contextmanager
def serving(root: Path, *options: str) -> Iterator[tuple[int, Callable[[], Sample]]]:
    """Yield the port of a fake that has answered a query, and what gives the cost of its start up to that moment.

    Raises:
        click.ClickException: it does not answer.
    """
    port, began = free_port(), perf_counter()
    command = [*module("kling_mock", "serve"), "--quiet", "--port", str(port), *options]
    process = Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=environment(root))
    try:
        while get_status(port, QUERY, KEY) != 404:
            if process.poll() is not None or perf_counter() - began > PATIENCE:
                raise click.ClickException(f"does not serve: {' '.join(command)}")
            pause(0.002)
        wall = perf_counter() - began
        yield port, lambda: (spent(process.pid), wall, resident(process.pid))
    finally:
        process.terminate()
        process.wait()


def spent(pid: int) -> float:
    """Return the processor seconds of all threads of a process, by the scheduler's own clock."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """Return the bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * float(PAGE)


def fake(root: Path) -> Sample:
    """Start the fake and ask it once."""
    with serving(root) as (_, cost):
        return cost()


def programs(port: int) -> dict[str, Callable[[Path], Sample]]:
    """Return what is started, by the name it has in the table; a fake listens on *port*."""
    url = f"http://127.0.0.1:{port}"
    bare = [*module("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--collect-only", os.devnull)]
    kit = [sys.executable, "-c", "from kling_contract.cli.main import main; main()"]
    commands = {
        "`kling-mock --help`": module("kling_mock", "--help"),
        "`kling status ID`, to its answer": module("kling_client", "status", "task-unified-1-none", "--base-url", url, "--api-key", "sk-a"),
        "`kling-contract --help`": [*kit, "--help"],
        "`kling-contract server URL --plan`": [*kit, "server", url, "--plan"],
        "pytest without a test, our plugins blocked": [*bare, "-p", "no:kling_mock", "-p", "no:kling_contract"],
        "pytest without a test, our plugins loaded": bare,
        "`python -c pass`": [sys.executable, "-c", "pass"],
    }  # fmt: skip
    node = ROOT / "clients/typescript/dist/src/main.js"
    if node.exists():
        commands["`kling --help` of the TypeScript client"] = ["node", str(node), "--help"]
    runs = {name: _running(command) for name, command in commands.items()}
    return {"`kling-mock serve`, to its answer to a query": fake, **runs}


def _running(command: list[str]) -> Callable[[Path], Sample]:
    return lambda root: run(command, root)


def groups() -> dict[str, float]:
    """Return the share of each package in what the fake imports until it has answered a query."""
    port = free_port()
    command = [sys.executable, "-X", "importtime", "-m", "kling_mock", "serve", "--quiet", "--port", str(port)]
    with Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, text=True, env=environment(ROOT)) as process:
        while get_status(port, QUERY, KEY) != 404 and process.poll() is None:
            pause(0.01)
        process.terminate()
        found = _IMPORT.findall(process.communicate()[1])
    spent_in: Counter[str] = Counter()
    for microseconds, name in found:
        package = name.partition(".")[0]
        spent_in["the standard library" if package.lstrip("_") in _STANDARD else package] += int(microseconds)
    total = sum(spent_in.values())
    return {name: value / total for name, value in spent_in.most_common(_OTHER_GROUPS)}


_STANDARD = {name.lstrip("_") for name in sys.stdlib_module_names}


def starts(rounds: int, against: Path | None) -> dict[str, Any]:
    """Return every sample by program, of this checkout and of *against*, taken in turn after one start that warms the caches.

    load: how many processes wanted a processor meanwhile, in the mean of a quarter of an hour.
    """
    roots = {"now": ROOT, **({"before": against.resolve()} if against else {})}
    with serving(ROOT) as (port, _):
        wanted = programs(port)
        found: dict[str, dict[str, list[Sample]]] = {name: {which: [] for which in roots} for name in wanted}
        for turn in range(rounds + 1):
            for name, program in wanted.items():
                for which, root in roots.items():
                    sample = program(root)
                    if turn:
                        found[name][which].append(sample)
    return {"programs": found, "groups": groups(), "load": os.getloadavg()[2]}


@click.command()
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1, 100), help="Starts of each.")
@click.option("--against", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another checkout.")
def main(rounds: int, against: Path | None) -> None:
    """Print what a start costs."""
    click.echo("\n".join(start_lines(starts(rounds, against))))


if __name__ == "__main__":
    main()
