"""Outbound HTTP over real loopback sockets: receivers that answer as a script has it, and one who calls them."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import trustme

from kling_common.targets import IPAddress
from kling_common.transport import Outcome, Transport

HOST = "hooks.example.com"
SHORT = 0.2  # seconds: a deadline that a test waits for
LOOPBACK = ip_address("127.0.0.1")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
Script = Callable[[socket.socket], None]


class Receiver:
    """A server on the loopback: every connection's request is kept, then answered by *script*."""

    def __init__(
        self, script: Script | bytes, context: ssl.SSLContext | None, family: socket.AddressFamily, reads: bool
    ) -> None:
        self.script = script
        self.context = context
        self.reads = reads
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self.listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.port: int = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        """Serve each connection in a thread of its own until the listener is shut down."""
        with suppress(OSError):
            while not self.stopped.is_set():
                connection, _ = self.listener.accept()
                if self.stopped.is_set():
                    connection.close()
                    return
                self.connections += 1
                thread = threading.Thread(target=self.serve, args=(connection,))
                self.threads.append(thread)
                thread.start()

    def serve(self, connection: socket.socket) -> None:
        """One connection: TLS if asked for, the request, the answer."""
        connection.settimeout(5)
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            if self.reads:
                self.requests.append(read_request(connection))
            if isinstance(self.script, bytes):
                connection.sendall(self.script)
            else:
                self.script(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        """Stop listening and wait for every connection to end."""
        self.stopped.set()
        with suppress(OSError):
            socket.create_connection(self.listener.getsockname()[:2], 1).close()
        self.listener.close()
        for thread in self.threads:
            thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    """The bytes of one request, its body by Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data and (piece := connection.recv(65536)):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(
        next((line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
    )
    while len(body) < length and (piece := connection.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body


def deaf(connection: socket.socket) -> None:
    """Say nothing for longer than the deadline."""
    threading.Event().wait(2 * SHORT)


def sip(connection: socket.socket) -> None:
    """Read so slowly that the other side never waits long, yet is never done."""
    while connection.recv(262_144):
        threading.Event().wait(0.01)


def drip(data: bytes, pause: float = 0.03) -> Script:
    """Send *data* byte by byte, for much longer than any deadline of these tests."""

    def script(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            threading.Event().wait(pause)

    return script


def endless(head: bytes, piece: bytes) -> Script:
    """Send *head*, then *piece* until the other side has had enough (at most 400 MB)."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(400):
            connection.sendall(piece * (1_000_000 // len(piece)))

    return script


def silent_after(data: bytes) -> Script:
    """Send *data*, then keep the connection open without a word until the other side closes it."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    return script


def reset(connection: socket.socket) -> None:
    """Tear the connection down at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def receiver(
    script: Script | bytes = OK,
    context: ssl.SSLContext | None = None,
    *,
    family: socket.AddressFamily = socket.AF_INET,
    reads: bool = True,
) -> Iterator[Receiver]:
    """A running Receiver; with *reads* off it answers without having read anything."""
    server = Receiver(script, context, family, reads)
    try:
        yield server
    finally:
        server.close()


def to_loopback(host: str, port: int) -> Sequence[IPAddress]:
    """A resolver for which every name is this machine."""
    return [LOOPBACK]


def transport(
    resolve: Callable[[str, int], Sequence[IPAddress]] = to_loopback,
    allow: Callable[[IPAddress], bool] = lambda ip: True,
    ca_file: str | None = None,
    max_response_bytes: int = 100_000,
) -> Transport:
    """A Transport that may call the loopback, unless told otherwise."""
    return Transport(
        resolve=resolve,
        monotonic=time.perf_counter,
        allow=allow,
        ca_file=ca_file,
        max_response_bytes=max_response_bytes,
        user_agent="test/1",
    )


def post(sender: Transport, url: str, *, body: bytes = b"{}", timeout: float = 5, relay: str | None = None) -> Outcome:
    """One attempt as the courier makes it."""
    return sender.post(url, body, {"Content-Type": "application/json"}, timeout, relay)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """TLS settings of a server that goes by *names*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def failing(error: Exception) -> Callable[[str, int], Sequence[IPAddress]]:
    """A resolver that raises *error*."""

    def resolve(host: str, port: int) -> Sequence[IPAddress]:
        raise error

    return resolve
