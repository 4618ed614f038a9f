"""The HTTP/1.1 server: takes connections on a port, sees to those that stall, and ends them when it stops."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from kling_mock.serving.connection import Connection
from kling_mock.serving.exchange import Application, Exchange
from kling_mock.serving.heads import Heads
from kling_mock.serving.transports import Outbox

if TYPE_CHECKING:
    from ssl import SSLContext

_LOOK = 1.0
_BACKLOG = 1024
_TOGETHER = 16
"""Requests that are served before the responses to them are sent."""

_log = logging.getLogger(__name__)


class Http1Server:
    """Listens on a port and serves *application*: `await server.listen(host, port)`, then `await server.served()`."""

    def __init__(self, application: Application, *, secure: "SSLContext | None" = None) -> None:
        self.application = application
        self.secure = secure
        self.scheme = "http" if secure is None else "https"
        self.connections: set[Connection] = set()
        self.heads, self.outbox = Heads(application), Outbox()
        self.empty = asyncio.Event()
        self.stopping = False
        self._taken: list[Exchange] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self, host: str, port: int) -> None:
        """Take connections; other processes may take them from the same port."""
        self.loop = asyncio.get_running_loop()
        self._listening = await self.loop.create_server(
            lambda: Connection(self), host, port, reuse_port=True, backlog=_BACKLOG, ssl=self.secure
        )
        self._stopped = self.loop.create_future()
        self._look_around()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._listening.sockets[0].getsockname()[1])

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take(self, exchange: Exchange) -> None:
        """Serve a request once all that has come in by now was read.

        Reading, serving and sending each find in the processor's caches what they need when several follow each other.
        """
        if not self._taken:
            self.loop.call_soon(self.serve_taken)
        self._taken.append(exchange)

    def serve_taken(self) -> None:
        """Serve what was taken, and send what is ready."""
        taken, self._taken = self._taken, []
        while taken:
            now, taken = taken[:_TOGETHER], taken[_TOGETHER:]
            with self.outbox.held():
                for exchange in now:
                    self._serve(exchange)

    def _serve(self, exchange: Exchange) -> None:
        try:
            if exchange.malformed is None:
                self.application.serve(exchange)
            else:
                self.application.malformed(exchange, *exchange.malformed)
        except Exception:
            _log.exception("the fake failed at a request")
            exchange.reset()

    async def served(self) -> None:
        """Return once the server was stopped and every connection is closed."""
        await self._stopped
        if self.connections:
            await self.empty.wait()

    def stop(self, grace: float) -> None:
        """Take no more connections; responses in progress have *grace* seconds to end, then their connections are reset."""
        if self.stopping:
            return
        self.stopping = True
        self._listening.close()
        for one in list(self.connections):
            one.hang_up()
        self.loop.call_later(grace, self._reset_all)
        self.empty.clear()
        self._stopped.set_result(None)

    def _reset_all(self) -> None:
        for one in list(self.connections):
            one.reset()

    def _look_around(self) -> None:
        """See to all connections once a second: a timer for each request would cost each of them."""
        now = self.loop.time()
        for one in list(self.connections):
            one.look(now)
        self.loop.call_later(_LOOK, self._look_around)
