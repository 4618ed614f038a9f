"""The edge: serves the fake over sockets, in one process.

The service's own calls, save those about files, are served on the event loop, by the same handlers that Flask calls; what blocks in
them runs in a thread, as do control calls, which Flask would make three times as dear. All else goes through Flask in a thread; it is
imported by the first request that does. Faults of a scenario act on the real connection (faults.py).
"""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kling_mock.core.errors import InvalidRequest, MethodNotAllowed
from kling_mock.service.creating import Look
from kling_mock.serving.exchange import Exchange
from kling_mock.serving.turns import THREADS, Turn, Turns
from kling_mock.serving.waiters import GONE, Waiters
from kling_mock.web.api import Api, Steps
from kling_mock.web.application import Application
from kling_mock.web.faults import misbehave
from kling_mock.web.http import REPLY, REQUEST, ApiResponse, Request
from kling_mock.web.page.events import EVERY, Watch, admitted
from kling_mock.web.page.events import PATH as EVENTS
from kling_mock.web.parts import Fake
from kling_mock.web.reading import Reading
from kling_mock.web.routes import Routes

_HEALTH = ("/__mock/health", "/__mock/ready")
_WAIT = "/__mock/wait"
_WITH_FILE = (200, 206)


class Edge:
    """What an `Http1Server` serves: `Edge(fake)`.

    Each kind of call has threads of its own, so that none keeps the others from theirs: the service's calls, control calls, files,
    and what a create must fetch, decode or resolve. Who waits for something has no thread.
    """

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._application = Application(fake)
        self._api: Api = fake.api
        self._reading = Reading(fake, self._application)
        self._waiters = Waiters(fake.world.store.blocking)
        self._routes = Routes(fake)
        self._health = {path: next(iter(fake.control.protocol.paths[path].values())) for path in _HEALTH}
        self._blocking = fake.world.store.blocking
        kinds = ("service", "control", "files", "looks")
        pools = self._pools = {kind: ThreadPoolExecutor(THREADS, thread_name_prefix=kind) for kind in kinds}
        self._turns = Turns(fake.world.store, pools["service"], pools["looks"], self._ended)

    def most(self, request: Request) -> int | Awaitable[int]:
        """Return how many bytes of the body the route looks at; 0 where it refuses the request whatever the body is."""
        most = self._reading.most(request)
        return self._routed(request) if most is None else most

    async def _routed(self, request: Request) -> int:
        try:
            return int(await self._in_thread(_kind(request.path), self._reading.routed, request))
        except Exception:  # serving it fails with the same, and says so
            return 0

    def serve(self, exchange: Exchange) -> None:
        """Respond to a request: at once where nothing blocks, else from a task of its own."""
        try:
            self._begin(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def malformed(self, exchange: Exchange, status: int, why: str) -> None:
        """Respond to what is no request, in the service's words; it is no exchange, so the journal has nothing of it."""
        response = self._api.refusal(
            MethodNotAllowed(why) if status == HTTPStatus.METHOD_NOT_ALLOWED else InvalidRequest(why)
        )
        exchange.respond(status, response.headers, response.body)

    def _begin(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.cut:
            response = self._api.refuse(InvalidRequest("the body ended before its Content-Length"), request)
            exchange.respond(response.status, response.headers, response.body)
            return
        found = self._routes.find(request.method, request.path)
        if found is None:
            self._run(exchange, self._other(exchange))
            return
        operation, given = found
        if self._blocking:
            self._turns.take(Turn(exchange, self._api.steps(operation, request, **given)))
            return
        begun = self._api.begin(operation, request, **given)
        if isinstance(begun, ApiResponse):
            self._send(exchange, begun)
            return
        try:
            look = next(begun)
        except StopIteration as end:
            self._send(exchange, end.value)
        else:
            self._run(exchange, self._look(exchange, begun, look))

    def _run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        async def watched() -> None:
            try:
                await work
            except Exception as error:
                self._failed(exchange, error)

        exchange.run(watched())

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        response = self._api.failed(error, exchange.request)
        if exchange.begun:
            exchange.reset()
        else:
            exchange.respond(response.status, response.headers, response.body)

    async def _respond(self, exchange: Exchange, response: ApiResponse) -> None:
        """Send a response once what has to come before it has ended, and do to the connection what its scenario asks for."""
        if response.after:
            await asyncio.wait([asyncio.wrap_future(future) for future in response.after])
        if response.wire is not None:
            await misbehave(response.wire, response.status, response.headers, response.body, exchange)
        else:
            exchange.respond(response.status, response.headers, response.body)

    async def _look(self, exchange: Exchange, steps: Steps, look: Look[Any]) -> None:
        """Go through a call whose first step blocks: those that do run in a thread."""
        while True:
            await self._in_thread("looks", look)
            try:
                look = next(steps)
            except StopIteration as end:
                await self._respond(exchange, end.value)
                return

    def _ended(self, turns: Sequence[Turn]) -> None:
        """Respond to calls that went through a thread."""
        for turn in turns:
            try:
                if isinstance(turn.came, ApiResponse):
                    self._send(turn.exchange, turn.came)
                elif turn.came is not None:
                    self._failed(turn.exchange, turn.came)
            except Exception as error:
                self._failed(turn.exchange, error)

    def _send(self, exchange: Exchange, response: ApiResponse) -> None:
        """Send a response at once, or from a task where it waits for something, or its scenario does."""
        if response.wire is None and not response.after:
            exchange.respond(response.status, response.headers, response.body)
        else:
            self._run(exchange, self._respond(exchange, response))

    async def _in_thread(self, kind: str, function: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pools[kind], function, *given)

    async def _other(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "GET" and request.path == EVENTS:
            await self._news(exchange)
        elif request.method == "GET" and request.path == _WAIT:
            await self._wait(exchange)
        elif request.method == "GET" and request.path in self._health and not self._blocking:
            response = self._fake.control.call(self._health[request.path], request)
            exchange.respond(response.status, response.headers, response.body)
        elif (found := self._fake.control.protocol.find(request.method, request.path)) is not None:
            operation, given = found
            response = await self._in_thread("control", partial(self._fake.control.call, operation, request, **given))
            exchange.respond(response.status, response.headers, response.body)
        else:
            await self._through_flask(exchange)

    async def _wait(self, exchange: Exchange) -> None:
        """Respond once the condition is met; nothing is left of a client that hangs up."""
        control = self._fake.control
        wait = await self._controlling(control.waiting, exchange.request)
        if not isinstance(wait, ApiResponse):
            done = await self._waiters.until(wait, partial(self._controlling, wait.look), exchange.gone())
            if done is GONE:
                exchange.reset()
                return
            wait = control.waited(wait, done)
        exchange.respond(wait.status, wait.headers, wait.body)

    async def _controlling(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call *function* in a thread, or here where the store does not block."""
        return await self._in_thread("control", function, *given) if self._blocking else function(*given)

    async def _news(self, exchange: Exchange) -> None:
        """Send the page's events until the browser hangs up."""
        from kling_mock.web.page.facts import Facts

        refused = admitted(self._fake, exchange.request)
        if refused is not None:
            exchange.respond(refused.status, refused.headers, refused.body)
            return
        watch, gone = Watch(Facts(self._fake)), exchange.gone()
        exchange.begin(200, [("content-type", "text/event-stream"), ("cache-control", "no-store")])
        while not gone.done():
            news = await self._in_thread("control", watch.news)
            if news and not await exchange.send(news.encode()):
                break
            await asyncio.wait([gone], timeout=EVERY)
        exchange.end()

    async def _through_flask(self, exchange: Exchange) -> None:
        environ = _environ(exchange)
        status, headers, body = await self._in_thread(_kind(exchange.request.path), _run, self._application, environ)
        response: ApiResponse | None = environ.get(REPLY)
        if response is not None and response.wire is not None:
            await misbehave(response.wire, status, headers, body, exchange)
        elif response is not None and response.file is not None and status in _WITH_FILE:
            await _send_file(exchange, status, headers, response.file)
        else:
            exchange.respond(status, headers, body)


def _kind(path: str) -> str:
    """Return whose threads serve *path*."""
    if path.startswith("/__mock"):
        return "control"
    return "files" if path.startswith(("/files/", "/uploads/", "/api/")) else "service"


async def _send_file(exchange: Exchange, status: int, headers: list[tuple[str, str]], path: Path) -> None:
    """Stream a file, or the range of it that the headers name, as fast as the client reads."""
    part = next((value for name, value in headers if name == "content-range"), None)
    sent = [(name, value) for name, value in headers if name != "content-length"]
    if exchange.request.method == "HEAD":
        exchange.respond(status, headers, b"")
    elif part is None:
        await exchange.send_file(status, sent, path)
    else:
        start, _, end = part.removeprefix("bytes ").partition("/")[0].partition("-")
        await exchange.send_file(status, sent, path, int(start), int(end) + 1)


def _environ(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    server, port = exchange.place()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": request.query.encode("utf-8", "surrogateescape").decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1" if exchange.modern else "HTTP/1.0",
        "REMOTE_ADDR": request.client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        REQUEST: request,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ


def _run(application: Application, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        del exc_info
        started[:] = [int(status[:3]), headers]
        return started.append

    chunks: Iterable[bytes] = application()(environ, start_response)
    try:
        response: ApiResponse | None = environ.get(REPLY)
        body = (
            b"" if response is not None and response.file is not None and started[0] in _WITH_FILE else b"".join(chunks)
        )
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return started[0], [(name.lower(), value) for name, value in started[1] if name.lower() != "date"], body
