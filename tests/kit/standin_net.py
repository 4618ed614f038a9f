"""Outgoing connections of the stand-in: where a host is, whether it may be called, and a deadline on every read."""

import io
import ipaddress
import socket
import ssl
import threading
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, quote

from standin_checks import as_address, is_public, plain_host
from standin_facts import Options, ticks


class BlockedError(OSError):
    """The host is (or resolves to) an address that must not be called."""


class _Deadline(io.RawIOBase):
    """Reads a socket until a moment in `ticks()`, so that a trickling peer cannot stretch a timeout."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self.sock = sock
        self.until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        arm(self.sock, self.until)
        return self.sock.recv_into(buffer)


class _Peer:
    """What http.client needs of a socket: one buffered reader, shared by every response read from it."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self.reader = io.BufferedReader(_Deadline(sock, until))

    def makefile(self, *_args: Any, **_named: Any) -> io.BufferedReader:
        return self.reader


def arm(sock: socket.socket, until: float) -> None:
    """Give the next socket call what is left until `until`; raises TimeoutError when nothing is."""
    left = until - ticks()
    if left <= 0:
        raise TimeoutError("deadline passed")
    sock.settimeout(left)


def lookup(host: str, options: Options) -> list[str]:
    """Addresses of `host`, numbers as they are; raises OSError when the name has none."""
    if options.lookup is not None:
        return options.lookup(host)
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def where(host: str, port: int, options: Options, public_only: bool) -> tuple[str, int]:
    """Address and port to connect to for `host`; raises BlockedError, or OSError when it does not resolve.

    `options.resolve` wins and is exempt from the address rules: naming a place by hand is what it is for.
    """
    told = (options.resolve or {}).get(host)
    if told is not None:
        return told
    addresses = lookup(host, options)
    if public_only and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise BlockedError(host)
    if not addresses:
        raise OSError(f"no address for {host}")
    return addresses[0], port


def known_inside(host: str, options: Options, patience: float = 0.25) -> bool:
    """Whether the name `host` resolves, within `patience` seconds, to an address that is not public.

    A create cannot wait for a slow resolver; the address is judged again when the callback is sent.
    """
    if as_address(host) is not None or host in (options.resolve or {}):
        return False
    found: list[str] = []

    def ask() -> None:
        try:
            found.extend(lookup(host, options))
        except OSError:
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return not all(is_public(ipaddress.ip_address(address)) for address in list(found))


def connect(parts: SplitResult, options: Options, until: float, public_only: bool) -> socket.socket:
    """A connected socket for the URL, TLS verified for https; raises OSError (timeouts, TLS and BlockedError too)."""
    host = plain_host(parts, "url")
    secure = parts.scheme == "https"
    address = where(host, parts.port or (443 if secure else 80), options, public_only)
    sock = socket.create_connection(address, timeout=max(0.001, until - ticks()))
    if not secure:
        return sock
    try:
        arm(sock, until)
        return trust(options).wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def trust(options: Options) -> ssl.SSLContext:
    """Certificate verification is always on; `options.ca_file` adds authorities, it never takes checks away."""
    context = ssl.create_default_context()
    if options.ca_file is not None:
        context.load_verify_locations(options.ca_file)
    return context


def target(parts: SplitResult) -> str:
    """Path and query exactly as given; only what may not stand in a request line is percent-encoded."""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._[]|^`{}\"<>")
    return path + (
        f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?[]|^`{}<>' + chr(39) + chr(34))}" if parts.query else ""
    )


def origin(parts: SplitResult) -> str:
    """The Host header of the URL."""
    host = plain_host(parts, "url")
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def send(sock: socket.socket, until: float, head: list[str], body: bytes = b"") -> None:
    """Send one request."""
    arm(sock, until)
    sock.sendall("\r\n".join([*head, "", ""]).encode("ascii") + body)


def receive(sock: socket.socket, until: float, most: int | None = None) -> tuple[HTTPResponse, bytes]:
    """The final response and up to `most` + 1 bytes of its body (None: read it all, keep nothing).

    Raises OSError or HTTPException for an answer that is late, cut or no HTTP. Interim 1xx answers are passed over.
    """
    peer: Any = _Peer(sock, until)
    responses = [HTTPResponse(peer)]
    responses[-1].begin()
    while 100 < responses[-1].status < 200:
        responses.append(HTTPResponse(peer))  # the earlier one stays referenced: its end would close the reader
        responses[-1].begin()
    final = responses[-1]
    kept = bytearray()
    while chunk := final.read(65536):
        if most is not None:
            kept += chunk
            if len(kept) > most:
                return final, bytes(kept)
    if final.length:
        raise HTTPException("the answer was cut")
    return final, bytes(kept)
