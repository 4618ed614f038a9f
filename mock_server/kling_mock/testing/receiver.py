"""An HTTPS receiver of callbacks for tests: it keeps each call, fails as often as the test wants, and can call the application."""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any, Self

_SLOWEST_HANDSHAKE = 20.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request that reached the receiver, and the status of the response."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


Handler = Callable[[Call], int | None]


class HttpsReceiver:
    """An HTTPS server on this machine that keeps each call; `url` is the address to give as `callback_url`."""

    origin = "https://receiver.test"

    def __init__(self, certificate: Path) -> None:
        self.url = f"{self.origin}/callback"
        self.calls: list[Call] = []
        self._planned: deque[int] = deque()
        self._pause = 0.0
        self._handler: Handler | None = None
        self._closing = threading.Event()
        self._arrived = threading.Condition()
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server = _Server(self, context)
        self.address = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="receiver", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answers(self, *statuses: int) -> None:
        """Respond to the next calls with *statuses*, one each, before the handler is used; later calls get 204."""
        self._planned.extend(statuses)

    def delay(self, seconds: float) -> None:
        """From now on, wait this many real seconds before each answer."""
        self._pause = seconds

    def handler(self, function: Handler) -> Handler:
        """Let the application's own *function* handle each call; it returns a status, or None for 204. Also a decorator."""
        self._handler = function
        return function

    def wait(self, count: int, timeout: float = 10.0) -> list[Call]:
        """The calls, once there are *count* of them.

        Raises:
            TimeoutError: fewer came within *timeout* real seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.calls) >= count, timeout):
                raise TimeoutError(f"{len(self.calls)} of {count} calls came within {timeout:g} s")
            return list(self.calls)

    def receive(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        """Judge one call and keep it; its status. A handler that raises is a 500, as it would be in a real application."""
        self._closing.wait(self._pause)
        call = Call(method, path, headers, body, 0)
        try:
            status = self._planned.popleft() if self._planned else None
            if status is None:
                status = (self._handler(call) if self._handler else None) or 204
        except Exception as error:
            print(f"the receiver's handler failed: {error!r}", file=sys.stderr)  # noqa: T201 - pytest shows it with the test
            status = 500
        with self._arrived:
            self.calls.append(Call(method, path, headers, body, status))
            self._arrived.notify_all()
        return status


class _Server(ThreadingHTTPServer):
    """Takes connections of one receiver; each makes its handshake in a thread of its own."""

    daemon_threads = True
    block_on_close = True

    def __init__(self, receiver: HttpsReceiver, context: SSLContext) -> None:
        self.receiver, self._context = receiver, context
        super().__init__(("127.0.0.1", 0), _Exchange)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS, then HTTP."""
        with suppress(OSError):
            request.settimeout(_SLOWEST_HANDSHAKE)
            with self._context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)


class _Exchange(BaseHTTPRequestHandler):
    """One request; the connection ends with it."""

    server: _Server

    def _take(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.receiver.receive(self.command, self.path, headers, body)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET = do_PUT = _take  # noqa: N815 - http.server looks for these names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in http.server
        """Say nothing: the calls are kept."""
