"""Loaded by `kling-mock exec --impersonate` into every Python process (PYTHONPATH).

requests, httpx and urllib go through HTTPS_PROXY by themselves. Others, aiohttp first of all, do not: for them the service's
host names resolve to the fake, and a connection to another machine is refused before it is made.
"""

import contextlib
import json
import os
import socket
import sys
from typing import Any

_HTTPS = {"443", "https"}
_PATIENCE = 2.0
_PUBLIC = "44.44.44.44"
"""What the service's names resolve to: clients that refuse private addresses look one up first. A connection to it leads to the fake."""


def _spelled(host: Any) -> str:
    name = host.decode("latin-1") if isinstance(host, bytes) else str(host or "localhost")
    return name.strip("[]").lower().removesuffix(".").partition("%")[0]


def _here(name: str) -> bool:
    return name in ("localhost", "::1", "0.0.0.0", "::") or name.endswith(".localhost") or _loopback(name)  # noqa: S104


def _loopback(name: str) -> bool:
    octets = name.removeprefix("::ffff:").split(".")
    return len(octets) == 4 and octets[0] == "127" and all(octet.isdigit() for octet in octets)


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _told(proxy: str, name: str, port: Any) -> str:
    """What the proxy says to *name*: it refuses, and writes it down."""
    said = b""
    target = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    with contextlib.suppress(OSError), socket.create_connection(_place(proxy), _PATIENCE) as asking:
        asking.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("latin-1", "replace"))
        while data := asking.recv(4096):
            said += data
    return said.partition(b"\r\n\r\n")[2].decode().strip() or f"kling-mock refused {target}"


def _by_name(hosts: list[str]) -> None:
    """Have the older lookups give the public address for *hosts*, too."""
    one, several = socket.gethostbyname, socket.gethostbyname_ex

    def gethostbyname(host: Any) -> str:
        """`socket.gethostbyname`, for whom the service's names are public."""
        return _PUBLIC if _spelled(host) in hosts else one(host)

    def gethostbyname_ex(host: Any) -> Any:
        """`socket.gethostbyname_ex`, likewise."""
        return (host, [], [_PUBLIC]) if _spelled(host) in hosts else several(host)

    socket.gethostbyname, socket.gethostbyname_ex = gethostbyname, gethostbyname_ex


def _led(real: Any, fake: str) -> Any:
    """A socket's *real* `connect`, which leads from the public address to the fake."""

    def connect(self: Any, address: Any) -> Any:
        """`socket.connect`, for whom the public address is the fake's."""
        if isinstance(address, tuple) and address[0] == _PUBLIC and str(address[1]) in _HTTPS:
            address = _place(fake)
        return real(self, address)

    return connect


def _install(hosts: list[str], fake: str, proxy: str) -> None:
    resolve: Any = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        """`socket.getaddrinfo`, for whom only the fake and this machine exist."""
        name = _spelled(host)
        if name in hosts or name == _PUBLIC:
            return resolve(_PUBLIC, port, *args, **named)
        if not _here(name):
            raise socket.gaierror(socket.EAI_NONAME, _told(proxy, name, port))
        return resolve(host, port, *args, **named)

    def watch(event: str, args: tuple[Any, ...]) -> None:
        """Refuse a connection to an address that was not resolved here."""
        if event != "socket.connect" or not isinstance(args[1], tuple) or args[0].type != socket.SOCK_STREAM:
            return
        name = _spelled(args[1][0])
        if not _here(name):
            raise ConnectionRefusedError(_told(proxy, name, args[1][1]))

    socket.getaddrinfo = getaddrinfo
    _by_name(hosts)
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _led(getattr(socket.socket, name), fake))
    sys.addaudithook(watch)


def _trust(bundle: str) -> None:
    """Have a library that brings its own list of authorities (certifi) trust the fake's as well, whatever it reads."""
    import ssl

    real: Any = ssl.SSLContext.load_verify_locations

    def load_verify_locations(self: Any, *args: Any, **named: Any) -> None:
        """`SSLContext.load_verify_locations`, and the fake's authority."""
        real(self, *args, **named)
        with contextlib.suppress(OSError):
            real(self, bundle)

    ssl.SSLContext.load_verify_locations = load_verify_locations  # type: ignore[method-assign]


def _next() -> None:
    """Give way to the sitecustomize that this one stands in front of, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib would slow every start down
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        if ours is not None:
            sys.modules["sitecustomize"] = ours


if "KLING_MOCK_ROUTES" in os.environ:
    _install(**json.loads(os.environ["KLING_MOCK_ROUTES"]))
    if os.environ.get("SSL_CERT_FILE"):
        _trust(os.environ["SSL_CERT_FILE"])
_next()
