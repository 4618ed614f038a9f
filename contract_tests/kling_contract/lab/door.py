"""A way to the fake that shuts by itself at the first create: from then on connections are refused, as where a service is down."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

OPEN_AGAIN = 2
"""The run of the flow `again`, counted from 0, before which the door is opened again."""
_BLOCK = 1 << 16


class Door:
    """`with Door(origin, mark) as door`: `door.origin` leads to *origin* until a request with *mark* passes, and again when opened.

    Two sockets hold the port: one listens while the door is open, the other keeps the port from all others meanwhile.
    """

    def __init__(self, origin: str, mark: str) -> None:
        self._mark: bytes | None = mark.encode()
        self._guard = threading.Lock()
        parts = urlsplit(origin)
        self._there = (str(parts.hostname), int(parts.port or 0))
        self._holder = _bound(0)
        self.origin = f"http://127.0.0.1:{self._holder.getsockname()[1]}"
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.shut()
        self._holder.close()

    def open(self) -> None:
        """Take connections."""
        with self._guard:
            if self._listener is None:
                self._listener = _bound(self._holder.getsockname()[1])
                self._listener.listen()
                threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections; those that are open stay so."""
        with self._guard:
            if self._listener is not None:
                # Waking the thread that accepts; closing alone would leave it, and the port, listening.
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None

    def _passes(self, data: bytes) -> None:
        """Shut the door at the first request with the mark, before it is passed on."""
        if self._mark is not None and self._mark in data:
            self._mark = None
            self.shut()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._lead, args=(near,), daemon=True).start()

    def _lead(self, near: socket.socket) -> None:
        """Carry bytes both ways until one side ends."""
        with near, contextlib.suppress(OSError), socket.create_connection(self._there) as far:
            back = threading.Thread(target=_carry, args=(far, near), daemon=True)
            back.start()
            _carry(near, far, self._passes)
            back.join()


def _bound(port: int) -> socket.socket:
    """Return a socket that holds a port, and does not listen yet."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one


def _carry(one: socket.socket, other: socket.socket, seen: Callable[[bytes], None] = lambda _: None) -> None:
    """Pass on what comes from *one*, its end included: cut where it was cut. *seen* hears each piece before it goes on."""
    try:
        while data := one.recv(_BLOCK):
            seen(data)
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
