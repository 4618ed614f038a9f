"""The inside of a CONNECT: TLS with a certificate of this user's own authority, or bytes carried both ways unread."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from kling_common.authority import Authority
from kling_contract.reading.addresses import is_loopback
from kling_contract.serving import Incoming

_CHUNK = 65536
_IDLE = 300.0


class Tunnels:
    """Opens tunnels; one certificate a host, made when it is first asked for.

    hosts: names that tunnels will be opened for, and with them their neighbours, such as the host of the service's files. Clients read
    the authority once, when they start, and it may sign for these names alone.
    """

    def __init__(self, authority: Authority, hosts: Iterable[str]) -> None:
        self._authority = authority
        self._names = {name for host in hosts for name in (host, _domain(host)) if name}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def variables(self) -> dict[str, str]:
        """Variables that make clients trust the certificates; the files are there after it."""
        self._authority.certificate(["localhost", *self._names])
        return self._authority.variables()

    def signs_for(self, host: str) -> bool:
        """Return whether clients that have read the authority trust it for *host*."""
        return any(
            host == name or host.endswith(f".{name}") for name in (*self._names, "localhost", "test")
        ) or is_loopback(host)

    def neighbour(self, host: str) -> bool:
        """Return whether *host* is in a domain of the service's, so that a create could be led there."""
        return any("." in name and host.endswith(f".{name}") for name in self._names if not is_loopback(name))

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


def _domain(host: str) -> str:
    """Return the domain that *host* is in; nothing for one that is a domain itself, or an address."""
    domain = host.partition(".")[2]
    return domain if "." in domain and not domain.rpartition(".")[2].isdigit() else ""


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
