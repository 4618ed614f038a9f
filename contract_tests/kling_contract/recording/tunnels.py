"""The inside of a CONNECT: TLS with a certificate of this user's own authority, or bytes carried both ways unread."""

import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from kling_common.authority import Authority
from kling_contract.serving import Incoming

_CHUNK = 65536
_IDLE = 300.0


class Tunnels:
    """Opens tunnels; one certificate a host, made when it is first asked for."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def variables(self) -> dict[str, str]:
        """Variables that make clients trust the certificates; the files are there after it."""
        self._authority.certificate(["localhost"])
        return self._authority.variables()

    def open(self, request: Incoming, host: str, handle: Callable[[Incoming], None]) -> None:
        """Shake hands with the client in the name of *host*, and give *handle* the request that it then makes."""
        request.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        context = self._context(host)
        server: Any = SimpleNamespace(listener=SimpleNamespace(timeout=request.server.listener.timeout, handle=handle))
        with suppress(OSError), context.wrap_socket(request.connection, server_side=True) as secured:
            Incoming(secured, request.client_address, server)

    def _context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._authority.certificate([host]))
                context.set_alpn_protocols(["http/1.1"])
                self._contexts[host] = context
            return self._contexts[host]


def carry(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until a side ends, breaks, or both are silent for minutes."""
    peers = {one: other, other: one}
    with suppress(OSError):
        while True:
            readable, _, _ = select.select(list(peers), [], [], _IDLE)
            if not readable:
                return
            for side in readable:
                data = side.recv(_CHUNK)
                if not data:
                    return
                peers[side].sendall(data)
