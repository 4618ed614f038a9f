"""A small HTTP server for a receiver, for as long as a command runs; a web application mounts the receiver itself."""

import contextlib
import threading
from collections.abc import Iterator
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from kling_client.errors import ConfigError
from kling_client.webhook import Receiver


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, so that a caller who says nothing keeps nobody waiting."""

    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        """Bind without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who goes away is no news."""


class _Handler(WSGIRequestHandler):
    """Quiet, and impatient with callers who stall."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the URL may hold a secret."""

    def get_stderr(self) -> Any:
        """Nowhere: a caller who hangs up is not for the user's eyes."""
        return _Nowhere()


class _Nowhere:
    """A stream that forgets."""

    def write(self, _text: str) -> None:
        """Forget."""

    def flush(self) -> None:
        """Nothing to do."""


@contextlib.contextmanager
def listening(receiver: Receiver, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve *receiver* while the block runs; gives the port, which the system chose where *port* is 0.

    Raises:
        ConfigError: the port cannot be had.
    """
    try:
        server = _Server((host, port), _Handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    server.set_app(receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
