"""A connection: HTTP/1.1 on the event loop, parsed by llhttp (httptools).

Bodies are read no further than the route looks at them, and for no longer than a client keeps sending. Requests that are sent before
the response to an earlier one wait for their turn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any

import httptools

from kling_mock.serving.exchange import Exchange, target
from kling_mock.serving.heads import LONG_HEAD, without_upgrade, wrong_head
from kling_mock.serving.transports import reset
from kling_mock.web.http import Request, RequestHeaders

if TYPE_CHECKING:
    from kling_mock.serving.http1 import Http1Server

IDLE_SECONDS = 30.0
"""Real seconds that a client may send nothing of a request that it has begun; then its connection is reset."""
_DROPPED_BYTES, _DROPPED_SECONDS, _LINGER_SECONDS = 64 << 20, 10.0, 2.0
_MOST_HEAD = 1 << 18
_MOST_FRAMING = 16
"""Bytes of framing for each byte of a body: pieces of one byte have five."""

_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One client: feeds the parser, and has the application respond to one request at a time, in order."""

    def __init__(self, server: "Http1Server") -> None:
        self._server, self._application = server, server.application
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Exchange | None = None
        self._serving: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._target, self._headers = b"", RequestHeaders()
        self._head_since: float | None = None
        self._head_bytes, self._framed, self._heard = 0, 0, 0.0
        self._deaf = self._over = self._unread = False
        self._whole: Exchange | None = None
        self._offered = b""
        self._lingering: float | None = None
        self._writable: asyncio.Event | None = None
        self._gone: asyncio.Future[None] | None = None

    # What the transport says

    def connection_made(self, transport: Any) -> None:
        """Take a new connection."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        self._place = transport.get_extra_info("sockname")
        self._heard = self._server.loop.time()
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; each request that is complete is served."""
        if self._deaf:
            return
        self._heard = self._server.loop.time()
        if self._reading is not None or self._head_since is not None or self._serving is not None or self._waiting:
            self._parse(data)
            return
        request = self._server.heads.request(data, self._client, self._server.scheme)
        if request is not None:
            self._serve(Exchange(self, request, modern=True, keep=True))
            return
        self._whole = None
        self._parse(data)
        if self._whole is not None:
            self._server.heads.keep(data, self._whole)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._not_upgraded(data, upgrade)
        except httptools.HttpParserCallbackError:
            _log.exception("the fake failed at a request")
            self.reset()
        except httptools.HttpParserInvalidMethodError:
            self._malformed(405, "no such method in HTTP/1.1; methods are in capitals")
        except httptools.HttpParserError as error:
            self._malformed(400, f"the request is not HTTP/1.1: {error}")
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD:
                self._malformed(431, LONG_HEAD)
        elif self._reading is not None:
            self._framed += len(data)
            if self._framed > _MOST_HEAD + _MOST_FRAMING * self._reading.size:
                self._malformed(400, "the body has far more framing than content")

    def eof_received(self) -> bool:
        """Take note that the client sends no more; it may still read what it asked for."""
        self._over = True
        self._tell_gone()
        reading = self._reading
        if reading is not None and not self._deaf:
            reading.request.cut = True
            self.on_message_complete()
        self._server.serve_taken()
        return bool(self._serving is not None or self._waiting) and not self._server.secure

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of a connection that has ended."""
        del error
        self._deaf = self._over = True
        self._reading = None
        self._waiting.clear()
        self._server.connections.discard(self)
        self._tell_gone()
        self.resume_writing()
        if not self._server.connections:
            self._server.empty.set()

    def pause_writing(self) -> None:
        """Read no more while the client does not."""
        self._writable = asyncio.Event()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None
            self._read_on()

    # What the parser says

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers = b"", RequestHeaders()
        self._head_since, self._head_bytes = self._heard, 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those behind a chunked body are of no use to anybody here, and could pass for what stood before it."""
        if self._head_since is not None:
            self._headers.take(name, value)

    def on_headers_complete(self) -> None:
        """Decide how much of the body is read."""
        self._head_since, self._framed = None, 0
        if self._deaf:
            return
        parser, headers, version = self._parser, self._headers, self._parser.get_http_version()
        wrong = wrong_head(self._target, headers, version)
        if wrong is not None:
            self._malformed(*wrong)
            return
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._offered = parser.get_method()  # read again without the offer, with its body
            return
        path, query = target(self._target)
        request = Request(
            parser.get_method().decode("ascii"), path, query, headers, b"", self._client, self._server.scheme
        )
        reading = Exchange(self, request, modern=version != "1.0", keep=parser.should_keep_alive())
        self._reading = reading
        if request.method in ("GET", "HEAD"):
            self._decided(reading, 0)
            return
        most = self._application.most(request)
        if isinstance(most, int):
            self._decided(reading, most)
        else:
            self._transport.pause_reading()
            self._server.run(self._decide(reading, most))

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        reading = self._reading
        if reading is None:
            return
        reading.size += len(piece)
        if reading.dropping is None:
            reading.chunks.append(piece)
            if reading.most is not None and reading.size > reading.most:
                self._drop(reading)
        elif reading.size > _DROPPED_BYTES:
            self._not_read(reading)

    def on_message_complete(self) -> None:
        """The request is complete."""
        reading = self._reading
        if reading is None:  # it was refused, or it is read again
            return
        if reading.most is None:  # it is served once it is known how much of it counts
            reading.whole, self._reading = True, None
            self._waiting.append(reading)
        else:
            self._complete(reading)

    # How much of a body is read

    async def _decide(self, reading: Exchange, deciding: Awaitable[int]) -> None:
        most = await deciding
        if reading is not self._reading and reading not in self._waiting:
            return  # the client is gone
        self._decided(reading, most)
        if reading.whole:
            self._take_body(reading)
            self._next()
        self._read_on()

    def _decided(self, reading: Exchange, most: int) -> None:
        reading.most = most
        request = reading.request
        length = request.headers.get("content-length")
        too_long = length is not None and (not length.isdecimal() or int(length) > most)
        if most == 0 or too_long or reading.size > most:
            self._drop(reading, announced=length is not None or reading.size > 0)
        if (request.headers.get("expect") or "").lower() == "100-continue" and not reading.chunks and not reading.whole:
            if reading.dropping is None:
                self._ask(reading)
            else:
                self._not_read(reading)  # it waits to be asked, and is not

    def _ask(self, reading: Exchange) -> None:
        """Ask for a body. A client that sent this request ahead is not asked, since that would stand within an earlier response."""
        if reading.modern and self._serving is None and not self._waiting:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _drop(self, reading: Exchange, *, announced: bool = True) -> None:
        """Read on for a moment and keep nothing: a client that is still sending would not see the response to what it sent."""
        reading.request.oversize = announced and bool(reading.most)
        reading.chunks.clear()
        reading.dropping = self._heard

    def _not_read(self, reading: Exchange) -> None:
        """Respond though the request is not complete; nothing that comes after it is read."""
        self._deaf, self._unread, reading.keep = True, True, False
        self._complete(reading)

    def _complete(self, reading: Exchange) -> None:
        self._reading, self._whole = None, reading
        self._take_body(reading)
        self._in_turn(reading)

    def _take_body(self, reading: Exchange) -> None:
        if self._over or not reading.keep:
            self._deaf, reading.keep = True, False
        if reading.dropping is None:
            reading.request.body = reading.chunks[0] if len(reading.chunks) == 1 else b"".join(reading.chunks)

    # Serving, in order

    def _in_turn(self, exchange: Exchange) -> None:
        if self._serving is None and not self._waiting:
            self._serve(exchange)
        else:
            self._waiting.append(exchange)
            self._transport.pause_reading()

    def _serve(self, exchange: Exchange) -> None:
        self._serving = exchange
        self._server.take(exchange)

    def ended(self, exchange: Exchange) -> None:
        """Go on with the next request, or hang up."""
        if exchange is not self._serving:
            return
        self._serving = None
        self._heard = self._server.loop.time()
        if not exchange.keep or self._server.stopping:
            self._deaf = True
            self._waiting.clear()  # the connection closes before their turn
            self._close()
        elif self._waiting:
            self._server.loop.call_soon(self._next)
        elif self._over:
            self._shut()

    def _next(self) -> None:
        if self._serving is None and self._waiting and self._waiting[0].most is not None:
            self._serve(self._waiting.popleft())
            self._read_on()

    def _malformed(self, status: int, why: str) -> None:
        """Say what is wrong, behind the responses that are owed, and hang up."""
        if self._deaf:
            return
        self._deaf, self._unread, self._head_since = True, True, None
        request = self._reading.request if self._reading is not None else Request("", "", "", self._headers, b"")
        refused = Exchange(self, request, modern=True, keep=False)
        refused.malformed, refused.most = (status, why), 0
        self._reading = None
        self._in_turn(refused)

    def _not_upgraded(self, data: bytes, upgrade: Exception) -> None:
        """Stay with HTTP/1.1, whatever other protocol a client offers; another parser reads the request again, without the offer."""
        data = data[upgrade.args[0] :]
        self._parser = httptools.HttpRequestParser(self)
        if self._offered:
            data = without_upgrade(self._offered, self._target, self._headers) + data
            self._offered = b""
        if data:
            self.data_received(data)

    def _close(self) -> None:
        """Hang up. A client that is still sending would see a broken connection in place of the response, so it may for a moment."""
        if self._unread and not (self._over or self._transport.is_closing()) and self._transport.can_write_eof():
            self._server.outbox.flush()
            self._transport.write_eof()
            self._lingering = self._server.loop.time()
        else:
            self._shut()

    def _shut(self) -> None:
        self._server.outbox.flush()
        self._transport.close()

    # What an exchange needs

    def write(self, data: bytes) -> None:
        """Send *data* as soon as the client takes it; to one that is gone nothing is sent."""
        self._server.outbox.flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """Send a whole response, together with those to other clients that are ready by then."""
        self._server.outbox.put(self._server.loop, self._transport, data)

    async def drain(self) -> bool:
        """Return when the client has taken most of what was written; False where it is gone."""
        if self._writable is not None:
            await self._writable.wait()
        return not self._transport.is_closing()

    def gone(self) -> "asyncio.Future[None]":
        """Return what ends when the client hangs up, or closes its side."""
        self._gone = self._server.loop.create_future()
        if self._over:
            self._tell_gone()
        return self._gone

    def _tell_gone(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def place(self) -> tuple[str, int]:
        """Return the address and port that the client reached."""
        return str(self._place[0]), int(self._place[1])

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the rest of a response."""
        self._server.run(work)

    def reset(self) -> None:
        """Break the connection."""
        self._deaf = True
        self._server.outbox.flush()
        reset(self._transport)

    def look(self, now: float) -> None:
        """Reset a client that has stopped in the middle of a request, and hang up on one that asks for nothing."""
        reading = self._reading
        if self._lingering is not None:
            stalled = now - self._lingering > _LINGER_SECONDS
        elif self._head_since is not None:
            stalled = now - self._head_since > IDLE_SECONDS
        elif reading is None:
            if now - self._heard > IDLE_SECONDS and self._serving is None and not self._waiting:
                self._shut()
            return
        elif reading.most is None:
            return
        elif reading.dropping is not None:
            stalled = now - reading.dropping > _DROPPED_SECONDS
        else:
            stalled = self._serving is None and now - self._heard > IDLE_SECONDS
        if stalled:
            self.reset()

    def hang_up(self) -> None:
        """Close a connection on which nothing is asked; one that is being served closes behind its response."""
        if self._serving is None:
            self._shut()
        else:
            self._serving.keep = False

    def _read_on(self) -> None:
        thinking = self._reading is not None and self._reading.most is None
        if not (self._waiting or thinking or self._writable is not None or self._transport.is_closing()):
            self._transport.resume_reading()
