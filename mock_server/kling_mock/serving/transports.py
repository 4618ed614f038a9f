"""What connections do with their transports: whole responses leave together, and a connection that must break is reset."""

import asyncio
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_log = logging.getLogger(__name__)


class Outbox:
    """Whole responses that leave at the end of this turn of the event loop.

    A response that is sent wakes its client, which for a sleeping processor takes as long as all else in a call. Those of the requests
    that came in together leave together, so most of them find their client's processor awake.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, bytes]] = []
        self._held = False

    def put(self, loop: asyncio.AbstractEventLoop, transport: Any, data: bytes) -> None:
        """Send *data* once what has come in by now is served."""
        if not self._waiting and not self._held:
            loop.call_soon(self.flush)
        self._waiting.append((transport, data))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Send what is put in the block at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.flush()

    def flush(self) -> None:
        """Send what waits. Whoever writes by itself, or closes a transport, does this first."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            try:
                if not transport.is_closing():
                    transport.write(data)
            except Exception:  # what is wrong with one connection must not cost others their responses
                _log.exception("a response could not be sent")
                transport.abort()


def reset(transport: Any) -> None:
    """Break a connection: its client sees that it broke."""
    with suppress(OSError, AttributeError):
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
