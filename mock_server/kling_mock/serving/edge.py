"""The edge: serves the fake over sockets, on granian's RSGI interface, in one process.

The two calls that every client repeats are served on the event loop, by the same handlers that Flask calls; what blocks in them runs
in a thread. All else goes through Flask in a thread. Faults of a scenario act on the real connection (faults.py).
"""

import asyncio
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from flask import Flask

from kling_mock.service.creating import finished
from kling_mock.web.api import Api, Steps
from kling_mock.web.faults import misbehave
from kling_mock.web.http import REPLY, REQUEST, Reply, Request
from kling_mock.web.page.events import EVERY, Watch, admitted
from kling_mock.web.page.events import PATH as EVENTS
from kling_mock.web.page.facts import Facts

_THREADS = 64


class Edge:
    """One RSGI application: `Edge(flask_app)`."""

    def __init__(self, app: Flask) -> None:
        fake = app.extensions["kling-mock"]
        self._app, self._fake = app, fake
        self._api: Api = fake.api
        operations = fake.world.contract.operations
        self._create_path: str = operations["createVideo"].path
        self._task_prefix: str = operations["getTask"].path.partition("{")[0]
        self._limit_at, self._largest = fake.api.incoming.limit_at, fake.api.incoming.largest
        self._blocking = fake.world.store.blocking
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="web")

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        """Serve one request."""
        body = b""
        if scope.method not in ("GET", "HEAD"):
            body = await _body(scope, proto, self._limit_at.get(scope.path, self._largest))
        request = Request(
            scope.method,
            scope.path,
            scope.query_string,
            scope.headers,
            body,
            scope.client.rpartition(":")[0],
            scope.scheme,
        )
        if request.path == EVENTS and request.method == "GET":
            await self._news(proto, request)
            return
        steps = self._steps(request)
        if steps is None:
            await self._through_flask(asyncio.get_running_loop(), scope, proto, request)
            return
        reply = await self._finished(steps)
        if reply.after:
            await asyncio.wait([asyncio.wrap_future(future) for future in reply.after])
        if reply.wire is not None:
            await misbehave(reply.wire, reply.status, reply.headers, reply.body, scope, proto)
        else:
            proto.response_bytes(reply.status, reply.headers, reply.body)

    def _steps(self, request: Request) -> Steps | None:
        """Return one of the two calls that clients repeat; None for every other."""
        path = request.path
        if request.method == "POST" and path == self._create_path:
            return self._api.steps("createVideo", request)
        if request.method == "GET" and path.startswith(self._task_prefix):
            task_id = path[len(self._task_prefix) :]
            if task_id and "/" not in task_id:
                return self._api.steps("getTask", request, task_id=task_id)
        return None

    async def _news(self, proto: Any, request: Request) -> None:
        """Send the page's events until the browser hangs up."""
        refused = admitted(self._fake, request)
        if refused is not None:
            proto.response_bytes(refused.status, refused.headers, refused.body)
            return
        loop, watch = asyncio.get_running_loop(), Watch(Facts(self._fake))
        stream = proto.response_stream(200, [("content-type", "text/event-stream"), ("cache-control", "no-store")])
        with suppress(Exception):  # the transport says in many ways that nobody listens any more
            while True:
                news = await loop.run_in_executor(self._pool, watch.news)
                if news:
                    await stream.send_str(news)
                await asyncio.sleep(EVERY)

    async def _finished(self, steps: Steps) -> Reply:
        """Go through a call here, and in a thread for what blocks."""
        loop = asyncio.get_running_loop()
        if self._blocking:
            reply: Reply = await loop.run_in_executor(self._pool, finished, steps)
            return reply
        while True:
            try:
                look = next(steps)
            except StopIteration as end:
                done: Reply = end.value
                return done
            await loop.run_in_executor(self._pool, look)

    async def _through_flask(self, loop: Any, scope: Any, proto: Any, request: Request) -> None:
        environ = _environ(scope, request)
        status, headers, body = await loop.run_in_executor(self._pool, _run, self._app, environ)
        reply: Reply | None = environ.get(REPLY)
        if reply is not None and reply.wire is not None:
            await misbehave(reply.wire, status, headers, body, scope, proto)
        else:
            proto.response_bytes(status, headers, body)


async def _body(scope: Any, proto: Any, most: int) -> bytes:
    """Return the request's body. Of one that is longer than *most* bytes, enough for the route to see that."""
    length = scope.headers.get("content-length")
    if length is not None and int(length) <= most:  # the server refuses a length that is no number
        whole: bytes = await proto()
        return whole
    chunks: list[bytes] = []
    size = 0
    async for chunk in proto:
        if size <= most:
            chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


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
        "wsgi.errors": io.StringIO(),
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


def _run(app: Flask, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        del exc_info
        started[:] = [int(status[:3]), headers]
        return started.append

    chunks: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return started[0], [(name.lower(), value) for name, value in started[1] if name.lower() != "date"], body
