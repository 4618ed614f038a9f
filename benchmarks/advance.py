"""What it costs the fake to let a day pass in which thousands of events fall due."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import deployments
from load import LoadError, call, connect, create_tasks, request_body
from processes import Server, Watched, all_cores
from target_options import target_options, the_fake

import kling_openapi

HERE = Path(__file__).parent
DAY = timedelta(days=1).total_seconds()  # longer than any task and all attempts of its callback
ORIGIN = "https://hooks.example.com"  # never called: the fake relays it to the receiver
PATIENCE = 300.0  # s that one advance may take
EVENTS = 10_000
SILENT, POSTING = 1.0, 2.0  # s that it may take without callbacks and with them; issue 17


@dataclass(frozen=True, slots=True)
class Cost:
    """One advance: seconds of wall clock, of the fake's CPU and of the receiver's CPU, and the events by kind."""

    wall: float
    own: float
    receiver: float
    fired: Counter[str]

    def report(self, name: str) -> bool:
        """Print it; whether it keeps its goal."""
        events = self.fired.total()
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.fired.items()))
        click.echo(f"{name}: {events:,} events ({kinds})")
        click.echo(f"  wall {self.wall:.2f} s, {self.wall / events * 1e6:.0f} us an event")
        click.echo(f"  own  {self.own:.2f} s, {self.own / events * 1e6:.0f} us an event (CPU of the fake)")
        if self.receiver:
            click.echo(f"  receiver {self.receiver:.2f} s (CPU)")
        return self.kept

    @property
    def kept(self) -> bool:
        """Whether it keeps its goal."""
        return self.wall < self.goal

    @property
    def goal(self) -> float:
        """Seconds that it may take."""
        return POSTING if self.fired["attempt"] else SILENT


class Bench:
    """A fake under a manual clock, and the receiver of its callbacks when there is one."""

    def __init__(self, base: str, fake: Watched, receiver: Watched | None, body: Mapping[str, Any]) -> None:
        """Measure *fake* at *base* with tasks of *body*; *receiver* is the process that takes their callbacks."""
        self._base, self._fake, self._receiver, self._body = base, fake, receiver, body

    def cost(self, events: int) -> Cost:
        """Let at least *events* fall due at once and measure it.

        One task first tells how many events a task has, so this file need not know how the fake paces them.

        Raises:
            LoadError: a call is refused, or fewer events happened than were due.
        """
        each = self._advance(1).fired.total()
        if not each:
            raise LoadError("a task and a day, and nothing fell due")
        cost = self._advance(ceil(events / each))
        if cost.fired.total() < events:
            raise LoadError(f"{cost.fired.total()} events, {events} were due")
        return cost

    def _advance(self, tasks: int) -> Cost:
        connection = connect(self._base, PATIENCE)
        try:
            call(connection, "POST", "/__mock/reset", {})
            call(connection, "PUT", "/__mock/clock", {"mode": "manual"})
            create_tasks(self._base, self._body, tasks)
            return self._timed(connection)
        finally:
            connection.close()

    def _timed(self, connection: HTTPConnection) -> Cost:
        before = self._fake.cpu(), self._receiver.cpu() if self._receiver else 0.0
        start = perf_counter()
        answer = call(connection, "POST", "/__mock/clock/advance", {"seconds": DAY})
        wall = perf_counter() - start
        own = self._fake.cpu() - before[0]
        theirs = self._receiver.cpu() - before[1] if self._receiver else 0.0
        return Cost(wall, own, theirs, Counter(event["kind"] for event in answer["fired"]))


def with_callbacks(base: str, fake: Watched, body: Mapping[str, Any], events: int) -> Cost:
    """The same with a callback for every task, delivered to a receiver in a process of its own.

    Raises:
        LoadError: as :meth:`Bench.cost`; or the receiver did not see every attempt.
    """
    with Server([sys.executable, str(HERE / "receiver.py")], all_cores()) as receiver:
        url = receiver.printed_url()
        relays = connect(base)
        call(relays, "PUT", "/__mock/relays", {ORIGIN: url})
        relays.close()
        before = received(url)
        bench = Bench(base, fake, receiver.watched, {**body, "callback_url": f"{ORIGIN}/done"})
        cost = bench.cost(events)
        arrived = received(url) - before
        # The probing task's attempts are in `arrived` as well: at least one, so equality is never the test.
        if not cost.fired["attempt"] < arrived:
            raise LoadError(f"{cost.fired['attempt']} attempts fired, {arrived} arrived")
        return cost


def received(url: str) -> int:
    """How many callbacks the receiver has taken."""
    connection = connect(url)
    try:
        return int(call(connection, "GET", "/"))
    finally:
        connection.close()


def advances(body: Mapping[str, Any], events: int = EVENTS) -> list[dict[str, float]]:
    """Return what an advance over *events* costs a fake of its own, without callbacks and with one for every task."""
    with deployments.fake("memory") as serving:
        costs = (
            Bench(serving.base, serving.watched, None, body).cost(events),
            with_callbacks(serving.base, serving.watched, body, events),
        )
    return [
        {"events": one.fired.total(), "posts": one.fired["attempt"], "wall": one.wall, "own": one.own, "goal": one.goal}
        for one in costs
    ]


@click.command()
@target_options
@click.option("--events", default=EVENTS, show_default=True, type=click.IntRange(1, 1_000_000), help="Due at once.")
@click.option("--callbacks/--no-callbacks", default=True, show_default=True, help="Also with callbacks.")
@click.option(
    "--contract", type=click.Path(path_type=Path), default=kling_openapi.SERVICE, help="Contract of the bodies."
)
def main(
    command: str, url: str | None, pid: int | None, pin: bool, events: int, callbacks: bool, contract: Path
) -> None:
    """Advance a manual clock by a day; exit 1 when that takes too long."""
    body = request_body(kling_openapi.read(contract))
    with the_fake(command, url, pid, pin) as (base, fake):
        try:
            kept = [Bench(base, fake, None, body).cost(events).report("without callbacks")]
            if callbacks:
                kept.append(with_callbacks(base, fake, body, events).report("with callbacks"))
        except LoadError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{'kept' if all(kept) else 'missed'}: {SILENT:.0f} s without callbacks, {POSTING:.0f} s with them")
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
