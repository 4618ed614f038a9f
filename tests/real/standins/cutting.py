"""A proxy that cuts: passes each connection on to a service, and breaks the response off after so many bytes."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_BLOCK = 65536


class Cutting:
    """`with Cutting(port, after) as proxy`: `proxy.url` leads to *port* of this machine.

    after: called with the first line of each request, and returns after how many bytes of the response the connection is broken; None to
    let all of it pass.
    """

    def __init__(self, port: int, after: Callable[[str], int | None]) -> None:
        self._port, self._after = port, after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cut = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", self._port)) as far:
            first = near.recv(_BLOCK)
            left = self._after(first.partition(b"\r\n")[0].decode("latin-1"))
            far.sendall(first)
            threading.Thread(target=_pour, args=(near, far), daemon=True).start()
            while data := far.recv(_BLOCK):
                if left is not None and len(data) >= left:
                    near.sendall(data[:left])
                    self._break(near)
                    return
                near.sendall(data)
                left = None if left is None else left - len(data)

    def _break(self, near: socket.socket) -> None:
        self.cut += 1
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it, which would keep it open
        near.close()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """The rest of the request."""
    with suppress(OSError):
        while data := source.recv(_BLOCK):
            sink.sendall(data)
