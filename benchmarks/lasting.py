"""What shows over time: deliveries, their lag, recovery after a kill, the cost as tasks grow, the cold start, and memory."""

import json
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from deployments import HERE, MOCK, Databases, courier, fake, one_task, received, receiver
from floor_courier import BEGUN, LANES, record
from load import CREATE, HEADERS, LoadError, call, connect, create_tasks, load_of
from processes import Server, Watched, free_port, pause
from speeds import FREE, Extent, middle, timed

KEYS = 16
"""Accounts among which tasks are spread; each is one row of a shared store."""
_PATIENCE = 300.0


def deliveries(
    databases: Databases, kind: str, couriers: int, count: int, body: Mapping[str, Any], rounds: int
) -> dict[str, float]:
    """Return deliveries a second, and of their floor, each with its microseconds of processor: medians, fake and floor in turn."""
    found = [_deliveries(databases, kind, couriers, count, body) for _ in range(rounds)]
    return {name: median(one[name] for one in found) for name in found[0]}


def _deliveries(
    databases: Databases, kind: str, couriers: int, count: int, body: Mapping[str, Any]
) -> dict[str, float]:
    """Measure both once.

    *count* are owed before any is sent, to couriers that have started and stand still meanwhile. What is sent first has been taken before
    the watch starts, and what is sent last is recorded after it stops, so both are measured between a tenth and nine tenths of them.
    """
    store, around = databases.new(kind), databases.watched(kind)
    with ExitStack() as held:
        hook = held.enter_context(receiver())
        serving = held.enter_context(fake(store, "--no-courier", "--scenario", "instant"))
        started = [held.enter_context(courier(store, waits=True)).watched for _ in range(couriers)]
        for one in started:
            os.killpg(one.pid, signal.SIGSTOP)
        spread(serving.base, {**body, "callback_url": hook}, ["instant"] * count)
        for one in started:
            os.killpg(one.pid, signal.SIGCONT)
        found = drained(hook, count * 9 // 10, (*started, *around), before=count // 10)
    store, around = databases.new(kind), databases.watched(kind)
    with ExitStack() as held:
        hook = held.enter_context(receiver())
        started = [one.watched for one in bare_couriers(held, store, hook, couriers, body)]
        running = received(hook)
        bare = drained(hook, running + count * 9 // 10, (*started, *around), before=running + count // 10)
    return {
        "per_second": found.per_second,
        "floor": bare.per_second,
        "processor": found.processor,
        "floor_processor": bare.processor,
    }


def bare_couriers(held: ExitStack, store: str, hook: str, couriers: int, body: Mapping[str, Any]) -> Sequence[Server]:
    """Start what sends callbacks without end, and repeats the statements of a courier; all of them have begun when this returns."""
    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
    (folder / "recorded").write_bytes(pickle.dumps(record(store, dict(body), couriers * LANES)))
    command = [sys.executable, str(HERE / "floor_courier.py"), store, hook, str(folder / "recorded")]
    started = [held.enter_context(Server([*command, str(nth)])) for nth in range(couriers)]
    for one in started:
        while BEGUN not in one.output():
            one.still_starting()
    return started


@dataclass(frozen=True, slots=True)
class Drained:
    """Callbacks a second, and the microseconds of processor of each."""

    per_second: float
    processor: float


def drained(hook: str, count: int, watched: Sequence[Watched] = (), *, before: int = 0) -> Drained:
    """Return how many a second arrived up to *count*, of those after *before*, and what they took of the processes *watched*.

    Raises:
        LoadError: they do not arrive.
    """
    end = perf_counter() + _PATIENCE
    while (first := received(hook)) <= before:
        if perf_counter() > end:
            raise LoadError(f"{first} callbacks arrived in {_PATIENCE:.0f} s")
        pause(0.005)
    began, before = perf_counter(), sum(one.cpu() for one in watched)
    while (seen := received(hook)) < count:
        if perf_counter() > end:
            raise LoadError(f"{seen} of {count} callbacks arrived in {_PATIENCE:.0f} s")
        pause(0.01)
    spent, took = sum(one.cpu() for one in watched) - before, max(perf_counter() - began, 0.01)
    return Drained((seen - first) / took, spent / max(1, seen - first) * 1e6)


def spread(base: str, body: Mapping[str, Any], scenarios: list[str], keys: list[str] | None = None) -> None:
    """Create a task with each scenario, spread over accounts; with *keys* each has one of its own."""

    def some(nth: int) -> None:
        with closing(connect(base)) as connection:
            for number in range(nth, len(scenarios), KEYS):
                key = f"sk-lag-{nth}" if keys is None else keys[number]
                headers = {**HEADERS, "Authorization": f"Bearer {key}"}
                headers |= {"X-Mock-Scenario": scenarios[number]} if scenarios[number] else {}
                connection.request("POST", CREATE, json.dumps(body).encode(), headers)
                response = connection.getresponse()
                content = response.read()
                if response.status != 200:
                    raise LoadError(f"{response.status} {content[:200]!r}")

    with ThreadPoolExecutor(KEYS) as pool:
        list(pool.map(some, range(KEYS)))


def lag(databases: Databases, kind: str, seconds: int, rate: int, body: Mapping[str, Any]) -> dict[str, float]:
    """Return how late callbacks are sent, in seconds, when *rate* fall due in each of *seconds*."""
    count, store = seconds * rate, databases.new(kind)
    # Created while the clock stands still; it runs once all are there, and the first is due two seconds later.
    plans = [f"completed queued=1 runs={1 + nth / rate:.3f}" for nth in range(count)]
    with ExitStack() as held:
        hook = held.enter_context(receiver())
        options = ("--clock", "manual", *(("--no-courier",) if kind != "memory" else ()))
        serving = held.enter_context(fake(store, *options))
        spread(serving.base, {**body, "callback_url": hook}, plans)
        if kind != "memory":
            held.enter_context(courier(store, waits=True))
        _control(serving.base, "PUT", "/__mock/clock", b'{"mode": "real"}')
        drained(hook, count)
        end, shown = perf_counter() + 60.0, []
        while (
            sum(bool(one["attempts"]) for one in shown) < count and perf_counter() < end
        ):  # the last are being recorded
            pause(0.2)
            shown = _control(serving.base, "GET", "/__mock/deliveries")["deliveries"]
    late = [one["attempts"][0]["sent"] - one["attempts"][0]["due"] for one in shown if one["attempts"]]
    cuts = quantiles(late, n=100)
    return {"p50": cuts[49], "p99": cuts[98], "count": len(late)}


def _control(base: str, method: str, path: str, body: bytes | None = None) -> Any:
    """Make one call on a connection of its own: one that was idle while callbacks arrived may be closed."""
    with closing(connect(base)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())


def recovery(databases: Databases, kind: str, times: int, body: Mapping[str, Any]) -> list[float]:
    """Return the seconds from `kill -9` to the first create of a new process on the same store, each time."""
    store, found = databases.new(kind), []
    with fake(store) as serving:
        create_tasks(serving.base, body, 200)
        port = int(serving.base.rpartition(":")[2])
        os.killpg(serving.watched.pid, signal.SIGKILL)
        for _ in range(times):
            began = perf_counter()
            command = [*MOCK, "serve", "--port", str(port), "--store", store, "--quiet"]
            with Server(command) as server:
                while not _creates(serving.base, body):
                    pause(0.01)
                found.append(perf_counter() - began)
                os.killpg(server.watched.pid, signal.SIGKILL)
    return found


def _creates(base: str, body: Mapping[str, Any]) -> bool:
    try:
        with closing(connect(base, 5.0)) as connection:
            call(connection, "POST", CREATE, body)
    except (OSError, HTTPException, LoadError):
        return False
    return True


def growth(
    databases: Databases, kind: str, what: str, sizes: list[int], body: Mapping[str, Any], extent: Extent
) -> list[dict[str, float]]:
    """Return creates and queries a second with so many tasks in one account, or so many accounts, and the server's memory."""
    grow = {"tasks": _more_tasks, "accounts": _more_accounts}[what]
    store, rows, there = databases.new(kind), [], 1
    with fake(store, databases=databases.watched(kind)) as serving:
        path, _, _ = one_task(serving.base, body)
        for size in sizes:
            if size > there:
                grow(store, serving.base, body, there, size)
                there = size
            row: dict[str, float] = {what: size, "rss": serving.server.watched.rss()}
            for method, target in (("POST", CREATE), ("GET", path)):
                samples = [
                    timed(serving.watched, serving.base, load_of(method, target, body), extent.seconds, FREE)
                    for _ in range(extent.rounds)
                ]
                row |= {method: middle(samples), f"{method} others": median(sample.disturbed for sample in samples)}
            rows.append(row)
    return rows


def _more_tasks(store: str, base: str, body: Mapping[str, Any], there: int, size: int) -> None:
    """Fill an account: by creates in memory, else by copies of its first task."""
    if store == "memory":
        create_tasks(base, body, size - there)
        return
    columns = "account_id, 500000000 + n, id || '-' || n, created_at, NULL, 0, settled, facts"
    into = "kling_tasks (account_id, number, id, created_at, due, reads, settled, facts)"
    _copy(store, into, columns, "(SELECT * FROM kling_tasks ORDER BY number LIMIT 1) AS task", there, size)


def _more_accounts(store: str, base: str, body: Mapping[str, Any], there: int, size: int) -> None:
    """Make accounts that have had a task, and so are kept: by creates in memory, else by copies of the first."""
    if store == "memory":
        spread(base, body, [""] * (size - there), [f"sk-crowd-{number}" for number in range(there, size)])
        return
    same = "clock_id, credits, used, models, rate_limit, number, counts, requests, relays, names, changes"
    columns = f"500000000 + n, key || '-' || n, name || '-' || n, {same}, NULL, NULL"
    into = f"kling_accounts (id, key, name, {same}, due, wake)"
    _copy(store, into, columns, "(SELECT * FROM kling_accounts ORDER BY id LIMIT 1) AS account", there, size)


def _copy(store: str, into: str, columns: str, first: str, there: int, size: int) -> None:
    """Copy a row until there are *size*, each with a number n of its own in its *columns*."""
    from sqlalchemy import text

    from kling_mock.store.sql.database import Database

    database = Database(store)
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT {there} UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {size})"
    with database.writing() as connection:
        connection.execute(text(f"INSERT INTO {into} {numbers} SELECT {columns} FROM {first}, numbers"))
    database.close()


def cold_starts(times: int) -> list[float]:
    """Return the seconds from spawn to the first 200 of `GET /__mock/ready`."""
    found = []
    for _ in range(times):
        port = free_port()
        with Server([sys.executable, "-m", "kling_mock", "serve", "--port", str(port), "--quiet"]) as server:
            found.append(server.ready(port, "/__mock/ready", {}))
    return found
