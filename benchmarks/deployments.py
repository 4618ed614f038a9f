"""Fakes on a store, their floors, couriers, receivers and databases, as processes that a measurement starts and watches."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from load import CREATE, QUERY, call, connect
from processes import Server, Watched, free_port

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "store"))

from cluster import Cluster  # noqa: E402 - found by the line above

_COURIER = "kling-mock courier for"
"""What a courier prints once it follows the clocks."""
MOCK = (sys.executable, "-m", "kling_mock")


@dataclass(frozen=True)
class Together(Watched):
    """Several processes with all that belongs to them, as one; `pid` is the first."""

    others: tuple[Watched, ...] = ()

    def cpu(self) -> float:
        """Return the CPU seconds of all."""
        return super().cpu() + sum(one.cpu() for one in self.others)


class Databases:
    """Hands out new, empty stores; the PostgreSQL server is there once one is asked for, and commits as in production."""

    def __init__(self, held: ExitStack) -> None:
        self._held = held
        self._folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="kling-bench-")))
        self._cluster: Cluster | None = None
        self._count = 0

    def new(self, kind: str) -> str:
        """Return the URL of a new store."""
        self._count += 1
        if kind == "memory":
            return kind
        if kind == "sqlite":
            return f"sqlite:///{self._folder}/{self._count}.db"
        if self._cluster is None:
            self._cluster = self._held.enter_context(Cluster(durable=True))
        return self._cluster.database()

    def watched(self, kind: str) -> tuple[Watched, ...]:
        """Return the processes of the database server, where the store has one."""
        if kind != "postgresql" or self._cluster is None:
            return ()
        return (Watched(int((self._cluster._data / "postmaster.pid").read_text().split()[0])),)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that takes requests at *base*; *watched* is it and its database."""

    base: str
    watched: Watched
    server: Server


@contextmanager
def fake(store: str, *options: str, workers: int = 1, databases: Sequence[Watched] = ()) -> Iterator[Serving]:
    """A fake on *store* that is ready."""
    port = free_port()
    command = [*MOCK, "serve", "--port", str(port), "--store", store, "--quiet", "--callbacks", "local", *options]
    with Server([*command, "--workers", str(workers)] if workers > 1 else command) as server:
        server.ready(port, "/__mock/ready", {})
        yield Serving(f"http://127.0.0.1:{port}", Together(server.watched.pid, tuple(databases)), server)


@contextmanager
def floor(
    store: str, method: str, body: Mapping[str, Any], size: int, *, workers: int = 1, databases: Sequence[Watched] = ()
) -> Iterator[Serving]:
    """The floor of a call on *store*; *size* is how many bytes the fake returns."""
    port = free_port()
    os.environ["FLOOR"] = orjson.dumps({"store": store, "method": method, "body": body, "size": size}).decode()
    with Server([sys.executable, "floor.py", str(port), str(workers)], cwd=HERE) as server:
        server.ready(port, "/", {})
        yield Serving(f"http://127.0.0.1:{port}", Together(server.watched.pid, tuple(databases)), server)


@contextmanager
def courier(store: str, *, waits: bool = False) -> Iterator[Server]:
    """A courier on *store*; where the caller *waits*, one that has started."""
    with Server([*MOCK, "courier", "--store", store]) as server:
        while waits and _COURIER not in server.output():
            server.still_starting()
        yield server


@contextmanager
def receiver() -> Iterator[str]:
    """A receiver of callbacks in a process of its own; gives its URL."""
    with Server([sys.executable, str(HERE / "receiver.py")]) as server:
        yield server.printed_url()


def received(url: str) -> int:
    """Return how many callbacks the receiver has taken."""
    connection = connect(url)
    try:
        return int(call(connection, "GET", "/"))
    finally:
        connection.close()


def one_task(base: str, body: Mapping[str, Any]) -> tuple[str, int, int]:
    """Create a task and read it; return its path, and how many bytes create and query return."""
    connection = connect(base)
    try:
        made = call(connection, "POST", CREATE, body)
        path = QUERY + str(made["id"])
        return path, len(orjson.dumps(made)), len(orjson.dumps(call(connection, "GET", path)))
    finally:
        connection.close()
