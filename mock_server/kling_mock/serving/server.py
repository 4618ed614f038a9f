"""Runs the edge in this process until a signal stops it."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kling_mock.config import BadSetting, Settings
from kling_mock.serving.http1 import Http1Server
from kling_mock.web.access import impersonated
from kling_mock.web.parts import Fake

if TYPE_CHECKING:
    from ssl import SSLContext

    from kling_mock.serving.proxy import Place, Proxy, Refused

_ALWAYS = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_HTTPS = 443
_MOST_CONNECTIONS = 65_536
_GRACE = 0.5
"""Real seconds that responses in progress have to end when the fake stops."""

Ready = Callable[[int | None], None]
"""Called once connections are taken; with the proxy's port, where there is one."""


@contextlib.contextmanager
def taken_port(host: str, port: int) -> Iterator[int]:
    """Yield *port* on *host*, or a free one for 0, and reserve it until the block ends.

    The server sets SO_REUSEPORT, so two fakes that chose the same free port would serve each other's clients. A socket
    that is bound and never listens holds the port.

    Raises:
        BadSetting: it is taken, or *host* is no address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise BadSetting(f"--host {host}: {error.strerror}") from error
    with socket.socket(family) as probe, socket.socket(family) as holder:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            if port:
                probe.bind(address)  # without SO_REUSEPORT: fails where the port is in use
                probe.close()
            holder.bind(address)
        except OSError as error:
            raise _taken(host, port, error) from error
        yield int(holder.getsockname()[1])


def _taken(host: str, port: int, error: OSError) -> BadSetting:
    if error.errno == errno.EADDRINUSE:
        return BadSetting(f"--port {port}: the port is in use; --port 0 takes a free one")
    if error.errno == errno.EADDRNOTAVAIL:
        return BadSetting(f"--host {host}: {error.strerror}")
    return BadSetting(f"--port {port}: {error.strerror}; --port 0 takes a free one")


def run(fake: Fake, settings: Settings, ready: Ready, *, stop_with_stdin: bool = False) -> None:
    """Serve *fake* until SIGINT, SIGTERM or SIGHUP, or with *stop_with_stdin* until standard input ends.

    Raises:
        BadSetting: no certificate can be made, or the proxy's port is in use.
    """
    from kling_mock.serving.edge import Edge

    _allow_connections()
    names = impersonated(settings, fake.world.contract.document) if settings.impersonate else ()
    server = Http1Server(Edge(fake), secure=_secure(_certificate(settings, names)) if settings.secure else None)
    proxy = _proxy(settings, names, fake.world) if settings.impersonate else None
    fake.courier.start()
    try:
        _run(_serve(server, settings, ready, proxy, stop_with_stdin))
    finally:
        fake.courier.stop()


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Run the server on uvloop, which takes a third less for each request than the loop of the standard library."""
    with contextlib.suppress(ImportError):  # not every platform has it
        import uvloop

        uvloop.run(serving)
        return
    asyncio.run(serving)


def _allow_connections() -> None:
    """Let this process hold as many connections as the system lets it: idle ones must not stop new ones."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_CONNECTIONS if most == resource.RLIM_INFINITY else min(most, _MOST_CONNECTIONS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _serve(
    server: Http1Server, settings: Settings, ready: Ready, proxy: "Proxy | None", stop_with_stdin: bool
) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, server.stop, _GRACE)
    if stop_with_stdin:
        try:
            loop.add_reader(sys.stdin.fileno(), _stop_at_the_end, loop, server)
        except PermissionError as error:  # a file or /dev/null: no event loop can watch it
            raise BadSetting("--stop-with-stdin: standard input is no pipe and no terminal") from error
    port = None
    await server.listen(_address(settings.host), settings.port)
    if proxy is not None:
        try:
            port = await proxy.start(settings.proxy_port)
        except OSError as error:
            raise BadSetting(f"--proxy-port {settings.proxy_port}: {os.strerror(error.errno or 0)}") from error
    ready(port)
    await server.served()
    if proxy is not None:
        proxy.stop()


def _stop_at_the_end(loop: asyncio.AbstractEventLoop, server: Http1Server) -> None:
    """Drop what comes in; stop at the end of it."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        server.stop(_GRACE)


def _address(host: str) -> str:
    """Return the address that *host* stands for: the first, which `taken_port` has reserved the port of."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def _secure(certificate: Path) -> "SSLContext":
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate)
    return context


def _certificate(settings: Settings, names: tuple[str, ...]) -> Path:
    """Return a certificate for this machine's names, the host of the settings, and the service's where it is impersonated."""
    from kling_common.authority import Authority, NoAuthority

    host = () if settings.host in _EVERYWHERE else (settings.host,)
    try:
        authority = Authority()
        certificate = authority.certificate((*_ALWAYS, *host, *names, *_public_host(settings)))
        if settings.ca_out is not None:
            authority.share(settings.ca_out)
    except NoAuthority as error:
        raise BadSetting(f"--tls: {error}") from error
    return certificate


def _public_host(settings: Settings) -> tuple[str, ...]:
    host = urlsplit(settings.public_url or "").hostname
    return (host,) if host else ()


def _proxy(settings: Settings, names: tuple[str, ...], world: Any) -> "Proxy":
    from kling_mock.serving.proxy import Proxy

    own: set[Place] = {(host, settings.port) for host in (*_ALWAYS, settings.host)}
    public = urlsplit(settings.public_url or "")
    if public.scheme == "https" and public.hostname:
        own.add((public.hostname, public.port or _HTTPS))

    def refused(no: "Refused") -> None:
        status = int(no.status.partition(" ")[0])
        world.note(None, "refused", method=no.method, url=no.asked, status=status, body=f"{no.reason}\n".encode())

    return Proxy(names, (_EVERYWHERE.get(settings.host, settings.host), settings.port), own, refused)
