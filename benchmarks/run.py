"""The fake and its peers, create and query, side by side in one run. See README.md in this folder."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
from load import CREATE, QUERY, Call, Cores, LoadError, Sample, call, connect, load_of, request_body, timed
from processes import Server, ServerError, Watched, all_cores, free_port
from report import CLEAN, Row, as_json, markdown, show
from rich.console import Console
from targets import FAKE, PEERS, Launch, Target, TargetError, fake

import kling_openapi

HERE = Path(__file__).parent
READY_GOAL = 0.3  # s; issue 17
TRIES = 5  # loads for one sample, until one of them is not disturbed
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """What every target goes through alike: a load's *seconds*, the *warmup* before it (a JVM's longer), how often."""

    contract: Mapping[str, Any]
    cores: Cores
    seconds: int
    warmup: int
    jvm_warmup: int
    rounds: int
    starts: int

    def settings(self) -> dict[str, int | bool]:
        """What a reader needs to repeat the run."""
        loads = {"seconds": self.seconds, "warmup": self.warmup, "jvm_warmup": self.jvm_warmup}
        return loads | {"rounds": self.rounds, "starts": self.starts, "pinned": self.cores.server is not None}

    def title(self) -> str:
        """The run in one line."""
        place = "server pinned to one core, wrk to another" if self.cores.server else "not pinned"
        loads = f"{self.rounds} x {self.seconds} s after {self.warmup} s of warm-up (JVM {self.jvm_warmup} s)"
        return f"wrk, 1 thread, 16 keep-alive connections, {loads}, {place}"


@contextmanager
def serving(target: Target, plan: Plan) -> Iterator[tuple[Server, Launch, int]]:
    """A fresh server of *target* on a free port, ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        launch = target.launch(port, Path(folder), plan.contract)
        with Server(launch.command, plan.cores.server, Path(folder)) as server:
            yield server, launch, port


def cold_start(target: Target, plan: Plan) -> float:
    """Seconds from spawn to the first 200."""
    with serving(target, plan) as (server, launch, port):
        return server.ready(port, launch.ready, launch.headers)


def one_round(target: Target, plan: Plan, row: Row) -> None:
    """One sample of each method on a fresh server, after its warm-up."""
    body = request_body(plan.contract)
    with serving(target, plan) as (server, launch, port):
        server.ready(port, launch.ready, launch.headers)
        row.rss_start.append(server.watched.rss())
        base = f"http://127.0.0.1:{port}"
        warmup = plan.jvm_warmup if target.compiled else plan.warmup
        for method in row.loads:
            timed(server.watched, base, the_call(method, base, body), warmup, plan.cores)
        for method, samples in row.loads.items():
            samples.append(clean_sample(server.watched, base, the_call(method, base, body), plan))
        row.rss_after.append(server.watched.rss())


def the_call(method: str, base: str, body: Mapping[str, Any]) -> Call:
    """The load: the create, or the query of a task created just now."""
    if method == "POST":
        return load_of(method, CREATE, body)
    connection = connect(base)
    try:
        return load_of(method, QUERY + str(call(connection, "POST", CREATE, body)["id"]), body)
    finally:
        connection.close()


def clean_sample(server: Watched, base: str, it: Call, plan: Plan) -> Sample:
    """The first undisturbed load of at most TRIES, or the least disturbed one."""
    tried: list[Sample] = []
    while len(tried) < TRIES and not (tried and tried[-1].disturbed <= CLEAN):
        tried.append(timed(server, base, it, plan.seconds, plan.cores))
    return min(tried, key=lambda sample: sample.disturbed)


def measure(targets: list[Target], plan: Plan) -> list[Row]:
    """All targets, interleaved: each round visits every target once, so that a slow minute of the machine hits all."""
    rows = {target.name: Row(target.name, target.about) for target in targets}
    for turn in range(plan.rounds + 1):
        for target in targets:
            row = rows[target.name]
            if row.trouble:
                continue
            console.print(f"{target.name}: {f'round {turn}' if turn else 'cold starts'}", style="dim")
            try:
                if turn:
                    one_round(target, plan, row)
                else:
                    row.cold_starts = [cold_start(target, plan) for _ in range(plan.starts)]
            except (ServerError, TargetError, LoadError, OSError) as error:
                row.trouble = f"not measured: {error}"
    return list(rows.values())


def judge(rows: list[Row]) -> tuple[bool, list[str]]:
    """Whether the fake keeps the goals of issue 2, and one sentence for each."""
    ours, peers = rows[0], rows[1:]
    if ours.trouble or not ours.cold_starts:
        return False, [f"missed: {ours.name} {ours.trouble}"]
    goals = [(median(ours.cold_starts) < READY_GOAL, f"ready in {median(ours.cold_starts):.2f} s (under {READY_GOAL})")]
    goals += [(not row.remark(), f"{row.name} measured cleanly. {row.remark()}".strip()) for row in rows]
    for method in ours.loads:
        best = max(peers, key=lambda row: row.speed(method), default=None)
        if best is not None and best.speed(method):
            times = ours.speed(method) / best.speed(method)
            goals.append((times >= 1, f"{method} {times:.2f}x the fastest peer ({best.name})"))
    return all(good for good, _ in goals), [f"{'kept' if good else 'missed'}: {text}" for good, text in goals]


def cores_for(pin: bool) -> Cores:
    """One core for the server and another for wrk and this program; no pinning without a second core."""
    cores = sorted(all_cores())
    if not pin or len(cores) < 2:
        return Cores(None, None)
    os.sched_setaffinity(0, {cores[1]})
    return Cores({cores[0]}, {cores[1]})


@click.command()
@click.option(
    "--peers", default="wiremock,prism,mountebank", show_default=True, help=f"Of {', '.join(PEERS)}; empty for none."
)
@click.option(
    "--fake", "command", default=FAKE, show_default=True, help="How to start the fake; empty to leave it out."
)
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1, 60), help="Length of one load.")
@click.option("--warmup", default=2, show_default=True, type=click.IntRange(1, 60), help="Before each kind of load.")
@click.option("--jvm-warmup", default=30, show_default=True, type=click.IntRange(1, 300), help="The same for a JVM.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20), help="Samples of each load.")
@click.option("--starts", default=5, show_default=True, type=click.IntRange(1, 20), help="Cold starts.")
@click.option("--pin/--no-pin", default=True, show_default=True, help="Server on one core, wrk on another.")
@click.option(
    "--contract",
    type=click.Path(path_type=Path),
    default=kling_openapi.SERVICE,
    help="Contract that the bodies come from.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), default=HERE / "results.json", help="Every sample."
)
@click.option("--markdown", "page", type=click.Path(path_type=Path), default=HERE / "results.md", help="The table.")
def main(
    peers: str,
    command: str,
    seconds: int,
    warmup: int,
    jvm_warmup: int,
    rounds: int,
    starts: int,
    pin: bool,
    contract: Path,
    json_file: Path,
    page: Path,
) -> None:
    """Measure the fake and its peers; exit 1 when the fake misses a goal of issue 2."""
    names = [name.strip() for name in peers.split(",") if name.strip()]
    if unknown := set(names) - set(PEERS):
        raise click.BadParameter(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    targets = ([fake(command)] if command else []) + [PEERS[name] for name in names]
    try:
        plan = Plan(kling_openapi.read(contract), cores_for(pin), seconds, warmup, jvm_warmup, rounds, starts)
    except kling_openapi.ContractError as error:
        raise click.ClickException(str(error)) from error
    rows = measure(targets, plan)
    good, verdicts = judge(rows) if command else (True, [])
    show(rows, plan.title())
    for verdict in verdicts:
        click.echo(verdict)
    json_file.write_text(as_json(rows, plan.settings(), verdicts))
    page.write_text(markdown(rows, plan.title(), verdicts))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
