"""Where the microseconds of a call go: the server's own handler called in a loop, no socket, this process's own CPU time.

python benchmarks/microseconds.py            each path: microseconds of processor a call, and a second's worth of calls
python benchmarks/microseconds.py --steps    besides, where they go: parse, validate, id draw, money, store, views, journal, headers

Counted is the processor time of this process alone, in blocks of calls, and the fastest block is shown: what others do on the machine
only makes blocks slower. What the server and the kernel take for a request is not in these numbers; `speeds.py` has the whole.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import iscoroutinefunction
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import orjson
from calls import SETTINGS, created, every, upload
from load import HEADERS, Call, request_body

import kling_openapi
from kling_mock.app import build
from kling_mock.config import settings
from kling_mock.media.frames import Frames
from kling_mock.service import creating
from kling_mock.service.catalogue import Catalogue
from kling_mock.service.choosing import Choosing
from kling_mock.service.courier import Courier
from kling_mock.service.creating import Creating
from kling_mock.service.idempotency import Idempotency
from kling_mock.service.measures import Measures
from kling_mock.service.models import Offer
from kling_mock.service.timeline import Timeline
from kling_mock.service.views import Views
from kling_mock.service.world import World
from kling_mock.serving.connection import Connection
from kling_mock.serving.edge import Edge
from kling_mock.serving.exchange import Exchange
from kling_mock.serving.http1 import Http1Server
from kling_mock.store.journal import Journal
from kling_mock.store.memory import MemoryStore
from kling_mock.store.memory_account import MemoryAccount
from kling_mock.web import acts, api, incoming
from kling_mock.web.http import Request
from kling_mock.web.reading import Reading
from kling_openapi.model import Model

_PATIENCE = 10.0
"""Seconds for one call."""


class Transport(asyncio.Transport):
    """The server's end of a connection that is in memory; it keeps what was sent last."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 4010)})
        self.sent = b""

    def write(self, data: Any) -> None:
        """Keep it."""
        self.sent = data

    def is_closing(self) -> bool:
        """It stays open."""
        return False


class Idle:
    """An application that responds and does nothing."""

    def most(self, request: Request) -> int:
        """Look at any body."""
        del request
        return 1 << 20

    def serve(self, exchange: Exchange) -> None:
        """Respond."""
        exchange.respond(200, [], b"")


class Bench:
    """A fake in this process, called through the edge."""

    def __init__(self, **given: Any) -> None:
        self._fake = build(settings(**given))
        self._edge: Any = Edge(self._fake)
        self._connection, self._transport = _connected(self._edge)
        self._numbers = 0

    async def once(self, call: Call) -> bytes:
        """Make one call and return the response's body."""
        self._numbers += 1
        sent = {"host": "127.0.0.1:4010", **HEADERS, **call.headers}
        if call.body:
            sent["content-length"] = str(len(call.body))
        if call.numbered:
            sent[call.numbered] = f"benchmark-{self._numbers:012d}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self._transport.sent = b""
        self._connection.data_received(f"{call.method} {call.path} HTTP/1.1\r\n{lines}\r\n".encode() + call.body)
        async with asyncio.timeout(_PATIENCE):
            while not self._transport.sent:
                await asyncio.sleep(0)
        head, _, body = self._transport.sent.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise click.ClickException(f"{call.method} {call.path}: {head!r} {body[:300]!r}")
        return body

    async def microseconds(self, call: Call, calls: int, blocks: int) -> float:
        """Return the processor time of a call in the fastest block; what a server takes that does nothing is left out."""
        spent = [await self._block(call, calls) for _ in range(blocks)]
        own = self._connection, self._transport
        self._connection, self._transport = _connected(Idle())
        try:
            idle = [await self._block(call, calls) for _ in range(blocks)]
        finally:
            self._connection, self._transport = own
        return (min(spent) - min(idle)) / calls * 1e6

    async def _block(self, call: Call, calls: int) -> float:
        began = time.process_time()
        for _ in range(calls):
            await self.once(call)
        return time.process_time() - began


def _connected(application: Any) -> tuple[Connection, Transport]:
    server, transport = Http1Server(application), Transport()
    server.loop = asyncio.get_running_loop()
    connection = Connection(server)
    connection.connection_made(transport)
    return connection, transport


async def paths(bench: Bench, body: Mapping[str, Any]) -> dict[str, Call]:
    """Return every call that needs no I/O. One task is there, and one file."""
    file = orjson.loads(await bench.once(upload()))["data"]["file_url"]
    task = orjson.loads(await bench.once(created(body)))["id"]
    return every(body, file=file, task=task)


STEPS = {
    "HTTP": [(Connection, "data_received"), (Exchange, "respond")],
    "which call": [(Edge, "serve")],
    "who calls": [(World, "account"), (Reading, "most")],
    "parse": [(incoming, "json_body")],
    "validate": [(Model, "fits")],
    "callback's address": [(Creating, "_unresolved")],
    "image": [(Frames, "known"), (Offer, "media")],
    "money": [(Offer, "terms")],
    "scenario": [(Choosing, "choose"), (Catalogue, "choose")],
    "id and plan draw": [(Creating, "_task")],
    "idempotency": [(Idempotency, "key"), (Idempotency, "made"), (Idempotency, "remember"), (creating, "same")],
    "store": [
        (MemoryStore, "read"),
        (Timeline, "schedule"),
        *((MemoryAccount, it) for it in ("__enter__", "__exit__", "add_task", "forget_beyond", "schedule")),
    ],
    "settling what is due": [(Courier, "settle")],
    "views": [(Views, "view_json"), (Views, "created_json"), (Views, "row_json")],
    "writing JSON": [(acts, "json_reply")],
    "headers kept": [(api, "kept")],
    "journal": [(Journal, "record")],
    "measures": [(Measures, "request"), (Measures, "task")],
}
"""What each step is called, and the functions that are it; what they call in turn counts for the step that it belongs to."""


class Stopwatch:
    """Adds up what each step takes by itself, without the steps inside it."""

    def __init__(self) -> None:
        self.calls: dict[str, list[float]] = {step: [] for step in STEPS}
        self._spent = dict.fromkeys(STEPS, 0.0)
        self._inner = [0.0]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Measure every step within the block."""
        with ExitStack() as changed:
            for step, functions in STEPS.items():
                for holder, name in functions:
                    changed.enter_context(patch.object(holder, name, self._timed(step, getattr(holder, name))))
            yield

    def next(self) -> None:
        """Note what a call took that has ended."""
        for step, seconds in self._spent.items():
            self.calls[step].append(seconds)
            self._spent[step] = 0.0

    def _timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        spent, inner, clock = self._spent, self._inner, time.perf_counter

        def timed(*given: Any, **named: Any) -> Any:
            inner.append(0.0)
            began = clock()
            try:
                return function(*given, **named)
            finally:
                took = clock() - began
                spent[step] += took - inner.pop()
                inner[-1] += took

        async def awaited(*given: Any, **named: Any) -> Any:
            inner.append(0.0)
            began = clock()
            try:
                return await function(*given, **named)
            finally:
                took = clock() - began
                spent[step] += took - inner.pop()
                inner[-1] += took

        return awaited if iscoroutinefunction(function) else timed


async def table(bench: Bench, body: Mapping[str, Any], calls: int, blocks: int) -> None:
    """Print a line for each path."""
    for name, call in (await paths(bench, body)).items():
        await bench.microseconds(call, calls, 1)
        took = await bench.microseconds(call, calls, blocks)
        click.echo(f"{name:40} {took:8.1f} us {1e6 / took:9,.0f} a second")


async def stepwise(bench: Bench, body: Mapping[str, Any], calls: int) -> None:
    """Print a table for each path: its steps, the costliest first."""
    for name, call in (await paths(bench, body)).items():
        watch = Stopwatch()
        with watch.on():
            for _ in range(calls):
                await bench.once(call)
                watch.next()
        click.echo(f"\n{name}")
        found = {step: median(taken) * 1e6 for step, taken in watch.calls.items()}
        for step, took in sorted(found.items(), key=lambda it: -it[1]):
            if took:
                click.echo(f"    {step:32} {took:6.1f} us")


@click.command()
@click.option("--calls", default=20, show_default=True, type=click.IntRange(1), help="Calls in a block.")
@click.option("--blocks", default=200, show_default=True, type=click.IntRange(1), help="Blocks; the fastest counts.")
@click.option("--steps", is_flag=True, help="Show where the time goes; measuring each step adds a microsecond to it.")
def main(calls: int, blocks: int, steps: bool) -> None:
    """Print what each call takes of this process's processor time."""
    body = request_body(kling_openapi.read(kling_openapi.SERVICE))

    async def run() -> None:
        bench = Bench(**SETTINGS)
        await (stepwise(bench, body, calls) if steps else table(bench, body, calls, blocks))

    asyncio.run(run())


if __name__ == "__main__":
    main()
