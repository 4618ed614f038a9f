"""The CONNECT proxy for clients with the service's host names built in.

It knows the service's names and the fake's own address, and leads both to the fake. Any other request is
refused before a connection is made: a missed setting cannot spend money. It listens on the loopback only, because
what comes through it looks to the fake like a call from this machine.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_HTTPS = 443
_LONGEST_PORT = len("65535")
_HEAD_BYTES = 16 * 1024
_HEAD_SECONDS = 10.0
_LINGER_SECONDS = 1.0
_SHOWN = 300
_CHUNK = 64 * 1024
_USER = re.compile(r"//[^/@]*@")

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """The refusal that a client gets in place of a tunnel."""

    status: str
    method: str
    asked: str
    reason: str


@dataclass(frozen=True, slots=True)
class Way:
    """How a request continues to the fake: as it is (a tunnel), or over TLS after *opening* was sent."""

    opening: bytes | None = None


class Proxy:
    """One proxy: `await start(port)`, `await stop()`."""

    def __init__(
        self, names: Collection[str], fake: Place, own: Collection[Place], refused: Callable[[Refused], None]
    ) -> None:
        """*names* are impersonated at port 443, *own* is where the fake itself is; both lead to *fake*, which speaks TLS.

        *refused* is called with every request that is turned down.
        """
        self._names = frozenset(spelled(name) for name in names)
        self._fake = fake
        self._own = frozenset((spelled(host), port) for host, port in own)
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None] | None] = set()
        """Nothing else holds a call whose client has closed its side: it would be collected as garbage."""

    async def start(self, port: int) -> int:
        """Listen on *port*, 0 for a free one; the port.

        Raises:
            OSError: it is taken.
        """
        self._server = await asyncio.start_server(self._serve, HOST, port, limit=_HEAD_BYTES, backlog=512)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    def stop(self) -> None:
        """Take no more connections; those that are open end with the loop."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._under_way.add(asyncio.current_task())
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            way = self.way(head)
            await self._lead(reader, writer, way)
        except Refused as no:
            self._refused(no)
            await _say(reader, writer, no)
        except asyncio.LimitOverrunError:
            await _say(reader, writer, Refused("431 Request Header Fields Too Large", "", "", "the head is too long"))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # it sent no request, or it is gone
        finally:
            writer.close()
            self._under_way.discard(asyncio.current_task())

    def way(self, head: bytes) -> Way:
        """Where the request that begins with *head* goes.

        Raises:
            Refused: nowhere.
        """
        line, _, rest = head.decode("latin-1").partition("\r\n")
        parts = line.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise Refused("400 Bad Request", "", line[:200], "this is no request of a proxy")
        method, target, version = parts
        if method == "CONNECT":
            if self._leads_to_fake(_authority(target)):
                return Way()
            raise self._no(method, target)
        if target.lower().startswith("https://") and self._leads_to_fake(_place(target)):
            return Way(_once(f"{method} {_resource(target)} {version}", rest))
        raise self._no(method, target)

    def _leads_to_fake(self, place: Place | None) -> bool:
        return place is not None and (place in self._own or (place[0] in self._names and place[1] == _HTTPS))

    def _no(self, method: str, target: str) -> Refused:
        known = ", ".join(f"{name}:{_HTTPS}" for name in sorted(self._names))
        asked = _shown(f"https://{target}" if method == "CONNECT" else target)
        rule = f"it stands in for {known} over HTTPS and forwards nothing else"
        # Many clients show the status line and never the body.
        return Refused(
            f"403 Refused by kling-mock: {rule}", method, asked, f"kling-mock refused {method} {asked}: {rule}"
        )

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Connect to the fake and carry bytes both ways until the fake is done, or the client is gone."""
        if way.opening is None:
            out, into = await asyncio.open_connection(*self._fake)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            # The connection stays inside this process, so there is no other server to tell from.
            unchecked = ssl.create_default_context()
            unchecked.check_hostname = False
            unchecked.verify_mode = ssl.CERT_NONE
            out, into = await asyncio.open_connection(*self._fake, ssl=unchecked)
            into.write(way.opening)
        asking = asyncio.create_task(_ask(reader, into))
        try:
            await _carry(out, writer)
        except OSError:
            _reset(writer)
        finally:
            asking.cancel()
            into.close()


def _shown(url: str) -> str:
    """*url* without what may be a secret: user, password, query."""
    return _USER.sub("//", url.partition("?")[0])[:_SHOWN]


def spelled(host: str) -> str:
    """One spelling of a host: lower case, no brackets, no dot at the end."""
    return host.strip("[]").lower().removesuffix(".")


def _authority(target: str) -> Place | None:
    """Host and port of a CONNECT's target."""
    host, separator, port = target.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= _LONGEST_PORT
    if not separator or not host or not is_port or "@" in host or "/" in host:
        return None
    return spelled(host), int(port)


def _place(url: str) -> Place | None:
    """Host and port of an https URL."""
    try:
        parts = urlsplit(url)
        if parts.username is not None:
            return None
        return spelled(parts.hostname or ""), parts.port or _HTTPS
    except ValueError:
        return None


def _resource(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _once(line: str, rest: str) -> bytes:
    """The head of a single exchange: a proxied connection is not used again, since its next request may have another target."""
    kept = [
        header
        for header in rest.split("\r\n")
        if header and not header.lower().startswith(("connection:", "proxy-", "keep-alive:"))
    ]
    return "\r\n".join([line, *kept, "Connection: close", "", ""]).encode("latin-1")


async def _ask(reader: asyncio.StreamReader, fake: asyncio.StreamWriter) -> None:
    """The client's side of a tunnel. When it breaks, so does the fake's; when it only ends, the answer may still come."""
    try:
        await _carry(reader, fake)
    except OSError:
        fake.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from one side to the other, and the end of them where one side can end alone.

    TLS cannot: the single exchange of such a connection ends with its response, which a client that has sent its whole request and
    closed its own side still waits for.
    """
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection as its other half was broken, so that a client sees what the fake did."""
    with suppress(OSError):
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, no: Refused) -> None:
    """Answer, and read what is still on its way for a moment: a connection closed before that would take the answer with it."""
    body = f"{no.reason}\n".encode()
    head = [f"HTTP/1.1 {no.status}", "content-type: text/plain; charset=utf-8", f"content-length: {len(body)}"]
    with suppress(OSError):
        writer.write("\r\n".join([*head, "connection: close", "", ""]).encode("latin-1") + body)
        writer.write_eof()
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(_CHUNK):
                pass
