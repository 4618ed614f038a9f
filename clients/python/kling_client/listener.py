"""A small HTTP server for a receiver, for as long as a command runs; a web application mounts the receiver itself."""

import contextlib
import threading
from collections.abc import Iterator
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from kling_client.alarm import Alarm
from kling_client.contract import shipped
from kling_client.errors import ConfigError
from kling_client.webhook import Receiver

_HIGHEST_PORT = 65535


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that a caller who stalls delays no other."""

    daemon_threads = True
    block_on_close = False
    limit: float

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller who hangs up."""


class _Handler(WSGIRequestHandler):
    """Quiet, and done with a caller when the service itself would be."""

    server: _Server

    def setup(self) -> None:
        """Begin to count."""
        super().setup()
        self._alarm = Alarm(self.server.limit)
        self._alarm.watch(self.connection)

    def finish(self) -> None:
        """Stop counting."""
        self._alarm.stop()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the URL may hold a secret."""

    def get_stderr(self) -> Any:
        """Return a stream that forgets: a caller who hangs up does not concern the user."""
        return _Forgetful()


class _Forgetful:
    """A stream that forgets."""

    def write(self, _text: str) -> None:
        """Forget."""

    def flush(self) -> None:
        """Nothing to do."""


@contextlib.contextmanager
def listening(receiver: Receiver, port: int, host: str = "127.0.0.1", *, limit: float | None = None) -> Iterator[int]:
    """Serve *receiver* while the block runs; gives the port, which the system chose where *port* is 0.

    Args:
        receiver: what is served.
        port, host: where.
        limit: seconds that one request may take, else what the contract gives the service for one callback.

    Raises:
        ConfigError: the port cannot be had.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise ConfigError(f"cannot listen on port {port}: ports go from 0 to {_HIGHEST_PORT}")
    try:
        server = _Server((host, port), _Handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    server.limit = shipped().callback_timeout if limit is None else limit
    server.set_app(receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
