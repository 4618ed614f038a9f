"""A callback receiver of its own process: answers 204 to every POST, and to GET how many there were.

On uvloop, so that it takes half as much of the machine that the fake is measured on: 90 us a callback in place of 200.
"""

import asyncio
import re
from typing import cast

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Receiver(asyncio.Protocol):
    """One connection; requests with a Content-Length, one after the other."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self._transport = cast("asyncio.Transport", transport)
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._pending, 0, end + 2)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._pending) < whole:
                return
            self._answer(counts=self._pending.startswith(b"POST"))
            self._pending = self._pending[whole:]

    def _answer(self, *, counts: bool) -> None:
        if counts:
            Receiver.received += 1
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        body = b"%d" % Receiver.received
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    """Listen on a free loopback port, say which, and serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
