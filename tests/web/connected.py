"""Connections of the server that are in memory: what a client sends and sees, without a socket."""

import asyncio
from typing import Any

from kling_mock.serving.connection import Connection
from kling_mock.serving.exchange import Application
from kling_mock.serving.http1 import Http1Server


class Transport(asyncio.Transport):
    """The server's end of a connection: keeps what is written, and what is done to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 4010)})
        self.sent = bytearray()
        self.paused = self.closed = self.aborted = self.half = False

    def write(self, data: Any) -> None:
        """Keep it.

        Raises:
            RuntimeError: the connection has ended, as uvloop has it.
        """
        if self.is_closing():
            raise RuntimeError("the handler is closed")
        self.sent += data

    def pause_reading(self) -> None:
        """Read no more."""
        self.paused = True

    def resume_reading(self) -> None:
        """Read on."""
        self.paused = False

    def can_write_eof(self) -> bool:
        """As over TCP."""
        return True

    def write_eof(self) -> None:
        """Close the server's side."""
        self.half = True

    def is_closing(self) -> bool:
        """Whether it was closed or broken."""
        return self.closed or self.aborted

    def close(self) -> None:
        """Close it."""
        self.closed = True

    def abort(self) -> None:
        """Break it."""
        self.aborted = True


class Client:
    """A client of *application* on a connection of its own; to be made while an event loop runs."""

    def __init__(self, application: Application) -> None:
        self.server = Http1Server(application)
        self.server.loop = asyncio.get_running_loop()
        self.transport = Transport()
        self.connection = Connection(self.server)
        self.connection.connection_made(self.transport)

    def send(self, *pieces: bytes) -> None:
        """Send pieces, each read in a turn of its own; nobody reads from a connection that is paused."""
        for piece in pieces:
            if not self.transport.paused and not self.transport.is_closing():
                self.connection.data_received(piece)
                self.server.serve_taken()

    async def settle(self) -> None:
        """Let tasks of the server come to where they wait."""
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def said(self) -> bytes:
        """All that the server has sent."""
        return bytes(self.transport.sent)

    @property
    def statuses(self) -> list[int]:
        """The statuses of its responses, in order."""
        return [int(one[:3]) for one in self.said.split(b"HTTP/1.1 ")[1:]]
