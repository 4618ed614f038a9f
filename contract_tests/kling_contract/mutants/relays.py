"""Where callbacks pass on their way to the receiver: one listener for each place that a relay names."""

import select
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from kling_contract.mutants.messages import CallbackPost, ReceiverResponse

_PATIENCE = 60.0
_BLOCK = 65536
SendCallback = Callable[[CallbackPost, Callable[[CallbackPost], ReceiverResponse]], ReceiverResponse]


class Relay:
    """Listens in the receiver's stead; *tell* decides what becomes of each attempt."""

    def __init__(self, place: str, tell: SendCallback) -> None:
        self._server = _Server(place, tell)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def post(place: str, telling: CallbackPost, sender: socket.socket | None = None) -> ReceiverResponse:
    """Hand one attempt to *place* as it stands, and give back whatever came, unless *sender* hangs up before."""
    parts = urlsplit(place)
    lines = [f"{telling.method} {telling.target} HTTP/1.1", *(f"{name}: {value}" for name, value in telling.headers)]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_PATIENCE) as receiver:
            receiver.sendall(head + telling.body)
            return ReceiverResponse(_read(receiver, sender))
    except OSError:
        return ReceiverResponse()


def _read(receiver: socket.socket, sender: socket.socket | None) -> bytes:
    kept = b""
    while True:
        watched = [receiver] if sender is None else [receiver, sender]
        ready, _, _ = select.select(watched, [], [], _PATIENCE)
        if receiver not in ready:
            return kept  # the sender has gone, or nobody says anything any more
        block = receiver.recv(_BLOCK)
        if not block:
            return kept
        kept += block


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, place: str, tell: SendCallback) -> None:
        self.place, self.tell = place, tell
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Either side may go away as it likes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet."""

    def do_POST(self) -> None:
        """One attempt."""
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        telling = CallbackPost(self.command, self.path, tuple(self.headers.items()), body)
        place = self.server.place
        reply = self.server.tell(telling, lambda each: post(place, each, self.connection))
        if reply.raw:
            self.connection.sendall(reply.raw)
