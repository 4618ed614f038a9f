"""The edge: serves the fake over sockets, on granian's RSGI interface, in one process.

The service's own calls, save those about files, are served on the event loop, by the same handlers that Flask calls; what blocks in
them runs in a thread, as do control calls, which Flask would make three times as dear. All else goes through Flask in a thread; it is
imported by the first request that does. Faults of a scenario act on the real connection (faults.py).
"""

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from kling_mock.core.errors import InvalidRequest
from kling_mock.service.creating import finished
from kling_mock.serving.bodies import Stalled, read
from kling_mock.serving.waiters import GONE, Waiters
from kling_mock.web.api import Api, Steps
from kling_mock.web.application import Application
from kling_mock.web.faults import misbehave
from kling_mock.web.http import REPLY, REQUEST, ApiResponse, Request
from kling_mock.web.page.events import EVERY, Watch, admitted
from kling_mock.web.page.events import PATH as EVENTS
from kling_mock.web.parts import Fake
from kling_mock.web.reading import Reading

_THREADS = 64
_HEALTH = ("/__mock/health", "/__mock/ready")
_WAIT = "/__mock/wait"
_WITH_FILE = (200, 206)


class Edge:
    """One RSGI application: `Edge(fake)`.

    Each kind of call has threads of its own, so that none keeps the others from theirs: the service's calls, control calls, files,
    and what a create must fetch, decode or resolve. Who waits for something has no thread.
    """

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._application = Application(fake)
        self._api: Api = fake.api
        self._reading = Reading(fake, self._application)
        self._waiters = Waiters(fake.world.store.blocking)
        operations = fake.world.contract.operations
        own = [operations[name] for name in self._api.handlers if name not in fake.world.contract.file_operations]
        self._here = {(it.method, it.path): it.id for it in own if "{" not in it.path}
        self._task_prefix: str = operations["getTask"].path.partition("{")[0]
        self._literal = frozenset(it.path for it in operations.values() if "{" not in it.path)
        self._health = {path: next(iter(fake.control.protocol.paths[path].values())) for path in _HEALTH}
        self._blocking = fake.world.store.blocking
        kinds = ("service", "control", "files", "looks")
        self._pools = {kind: ThreadPoolExecutor(_THREADS, thread_name_prefix=kind) for kind in kinds}

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        """Serve one request."""
        request = Request(
            scope.method,
            scope.path,
            scope.query_string,
            scope.headers,
            b"",
            scope.client.rpartition(":")[0],
            scope.scheme,
        )
        try:
            if request.method not in ("GET", "HEAD"):
                most = self._reading.most(request)
                if most is None:
                    loop = asyncio.get_running_loop()
                    most = await loop.run_in_executor(self._pools[_kind(request.path)], self._reading.routed, request)
                await read(scope, proto, request, most)
            await self._serve(scope, proto, request)
        except Stalled:
            return
        except Exception as error:
            response = self._api.failed(error, request)
            with suppress(Exception):  # the response may have begun
                proto.response_bytes(response.status, response.headers, response.body)

    async def _serve(self, scope: Any, proto: Any, request: Request) -> None:
        if request.cut:
            response = self._api.refuse(InvalidRequest("the body ended before its Content-Length"), request)
            proto.response_bytes(response.status, response.headers, response.body)
            return
        steps = self._steps(request)
        if steps is None:
            await self._other(scope, proto, request)
            return
        response = await self._finished(steps)
        if response.after:
            await asyncio.wait([asyncio.wrap_future(future) for future in response.after])
        if response.wire is not None:
            await misbehave(response.wire, response.status, response.headers, response.body, scope, proto)
        else:
            proto.response_bytes(response.status, response.headers, response.body)

    def _steps(self, request: Request) -> Steps | None:
        """Return a call that is served here; None for every other."""
        method, path = request.method, request.path
        operation = self._here.get((method, path))
        if operation is not None:
            return self._api.steps(operation, request)
        if method == "GET" and path.startswith(self._task_prefix):
            task_id = path[len(self._task_prefix) :]
            if task_id and "/" not in task_id and path not in self._literal:
                return self._api.steps("getTask", request, task_id=task_id)
        return None

    async def _other(self, scope: Any, proto: Any, request: Request) -> None:
        if request.method == "GET" and request.path == EVENTS:
            await self._news(proto, request)
        elif request.method == "GET" and request.path == _WAIT:
            await self._wait(proto, request)
        elif request.method == "GET" and request.path in self._health and not self._blocking:
            response = self._fake.control.call(self._health[request.path], request)
            proto.response_bytes(response.status, response.headers, response.body)
        elif (found := self._fake.control.protocol.find(request.method, request.path)) is not None:
            operation, given = found
            call = partial(self._fake.control.call, operation, request, **given)
            response = await asyncio.get_running_loop().run_in_executor(self._pools["control"], call)
            proto.response_bytes(response.status, response.headers, response.body)
        else:
            await self._through_flask(asyncio.get_running_loop(), scope, proto, request)

    async def _wait(self, proto: Any, request: Request) -> None:
        """Respond once the condition is met; nothing is left of a client that hangs up."""
        control = self._fake.control
        wait = await self._run("control", control.waiting, request)
        if not isinstance(wait, ApiResponse):
            look = partial(self._run, "control", wait.look)
            done = await self._waiters.until(wait, look, proto.client_disconnect())
            if done is GONE:
                return
            wait = control.waited(wait, done)
        proto.response_bytes(wait.status, wait.headers, wait.body)

    async def _run(self, kind: str, function: Callable[..., Any], *given: Any) -> Any:
        """Call *function* in a thread of its kind, or here where the store does not block."""
        if not self._blocking and kind == "control":
            return function(*given)
        return await asyncio.get_running_loop().run_in_executor(self._pools[kind], function, *given)

    async def _news(self, proto: Any, request: Request) -> None:
        """Send the page's events until the browser hangs up."""
        from kling_mock.web.page.facts import Facts

        refused = admitted(self._fake, request)
        if refused is not None:
            proto.response_bytes(refused.status, refused.headers, refused.body)
            return
        loop, watch = asyncio.get_running_loop(), Watch(Facts(self._fake))
        stream = proto.response_stream(200, [("content-type", "text/event-stream"), ("cache-control", "no-store")])
        with suppress(Exception):  # the transport says in many ways that nobody listens any more
            while True:
                news = await loop.run_in_executor(self._pools["control"], watch.news)
                if news:
                    await stream.send_str(news)
                await asyncio.sleep(EVERY)

    async def _finished(self, steps: Steps) -> ApiResponse:
        """Go through a call here, and in a thread for what blocks."""
        loop = asyncio.get_running_loop()
        if self._blocking:
            response: ApiResponse = await loop.run_in_executor(
                self._pools["service"], finished, steps, self._fake.world.store
            )
            return response
        while True:
            try:
                look = next(steps)
            except StopIteration as end:
                done: ApiResponse = end.value
                return done
            await loop.run_in_executor(self._pools["looks"], look)

    async def _through_flask(self, loop: Any, scope: Any, proto: Any, request: Request) -> None:
        environ = _environ(scope, request)
        pool = self._pools[_kind(request.path)]
        status, headers, body = await loop.run_in_executor(pool, _run, self._application, environ)
        response: ApiResponse | None = environ.get(REPLY)
        if response is not None and response.wire is not None:
            await misbehave(response.wire, status, headers, body, scope, proto)
        elif response is not None and response.file is not None and status in _WITH_FILE:
            _send_file(proto, status, headers, response.file, request)
        else:
            proto.response_bytes(status, headers, body)


def _kind(path: str) -> str:
    """Return whose threads serve *path*."""
    if path.startswith("/__mock"):
        return "control"
    return "files" if path.startswith(("/files/", "/uploads/", "/api/")) else "service"


def _send_file(proto: Any, status: int, headers: list[tuple[str, str]], path: Path, request: Request) -> None:
    """Stream a file, or the range of it that the headers name, as fast as the client reads."""
    sent = [(name, value) for name, value in headers if name != "content-length"]
    part = next((value for name, value in headers if name == "content-range"), None)
    if request.method == "HEAD":
        proto.response_bytes(status, headers, b"")
    elif part is None:
        proto.response_file(status, [*sent, ("content-length", str(path.stat().st_size))], str(path))
    else:
        start, _, end = part.removeprefix("bytes ").partition("/")[0].partition("-")
        length = ("content-length", str(int(end) + 1 - int(start)))
        proto.response_file_range(status, [*sent, length], str(path), int(start), int(end) + 1)


def _environ(scope: Any, request: Request) -> dict[str, Any]:
    server, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": request.client.strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        REQUEST: request,
    }
    for name, value in scope.headers.items():
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
