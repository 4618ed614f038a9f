"""
Outbound HTTP, for callbacks and first frames: every address is checked at the moment of connecting.

A name is resolved once, every answer is checked, and the connection goes to a checked address, never to the name again;
so a name that changes between check and connect (rebinding, SC-16) leads nowhere. TLS is still verified against the
name.

The system's resolver takes no timeout, so it is asked in threads of its own (kling_common/lookups.py).
"""

import io
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin

from kling_common.bodies import Payload
from kling_common.lookups import Lookups, Resolve
from kling_common.targets import BadAddress, IPAddress, Target, parse
from kling_common.wire import CHUNK, AnswerTooLong, Deadline, Wire, check_complete, dial, drain, head, plain_head, send

if TYPE_CHECKING:
    from http.client import HTTPResponse

Admit = Callable[[Target, Sequence[IPAddress]], None]
OutcomeKind = Literal["2xx", "status", "timeout", "refused", "dns", "blocked"]

_SCHEMES = ("https", "http")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How one attempt ended: *kind* as listed by `/__mock/deliveries`, *status* wherever one was received, and its length.

    A broken TLS handshake, a cut answer and one that is no HTTP are `refused`; *detail* begins with `tls:`, `cut:` or
    `not HTTP:` then. It names neither the URL nor anything that was sent.
    """

    kind: OutcomeKind
    status: int | None
    detail: str
    seconds: float


class FetchFailed(Exception):
    """A file could not be had; *reason* reads on after the name of the field that held its URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(FetchFailed):
    """A file is larger than asked for; at most that much of it was read."""


class _Ended(Exception):
    """An attempt ended for a reason that no library error expresses."""

    def __init__(self, kind: OutcomeKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def resolve_system(host: str, port: int) -> list[IPAddress]:
    """Every address the system knows for *host*, in its order of preference; raises OSError where there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))


class Transport:
    """
    Sends callbacks and fetches files. Safe to use from many threads; each attempt opens a connection of its own.

    *resolve* gives the addresses of a name, *allow* judges each address before it is connected to, *monotonic* is the
    real clock in seconds, *ca_file* names certificates trusted in addition to the system's, *max_response_bytes* bounds what is
    read of a receiver's answer, its headers included.
    """

    def __init__(
        self,
        *,
        resolve: Resolve,
        monotonic: Callable[[], float],
        allow: Callable[[IPAddress], bool],
        ca_file: str | None,
        max_response_bytes: int,
        user_agent: str,
    ) -> None:
        self._lookups = Lookups(resolve)
        self._monotonic = monotonic
        self._allow = allow
        self._ca_file = ca_file
        self._max_response_bytes = max_response_bytes
        self._user_agent = user_agent
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()

    def post(
        self,
        url: str,
        body: Payload,
        headers: Mapping[str, str],
        timeout: float,
        relay: str | None = None,
        names: Mapping[str, Sequence[IPAddress]] = MappingProxyType({}),
    ) -> Outcome:
        """
        POST *body* to *url* within *timeout* seconds, connect to last byte; never raises.

        With *relay*, an origin the user named himself, the same request (public `Host`, path and query) goes there
        unchecked; an https relay shows a certificate for its own name. *names* are hosts whose addresses are not asked
        for but given, and judged like any others. Redirects are not followed.
        """
        began = self._monotonic()
        deadline = Deadline(self._monotonic, began + timeout)
        status: int | None = None
        kind: OutcomeKind
        try:
            target = _parsed(url)
            with closing(self._open(target, deadline, relay, self._max_response_bytes, names)) as wire:
                send(wire, "POST", target, self._headers(target, headers, body), body)
                response = plain_head(wire) or head(wire, "POST")
                status = response.status
                whole = drain(response)
            kind = "2xx" if 200 <= status < 300 else "status"
            detail = f"answered {status}" + ("" if whole else "; its answer was too long to be read to the end")
        except Exception as error:
            kind, detail = _explain(error)
        return Outcome(kind=kind, status=status, detail=detail, seconds=self._monotonic() - began)

    def fetch(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout: float,
        max_redirects: int,
        check: Callable[[str], Target],
        admit: Admit | None = None,
    ) -> bytes:
        """
        The bytes behind *url*, had within *timeout* seconds, redirects included.

        *check* judges the URL of every hop and *admit* the addresses that it leads to, in place of `allow`; both raise
        BadAddress. Raises TooLarge as soon as more than *max_bytes* are
        announced or have come, FetchFailed for anything else.
        """
        deadline = Deadline(self._monotonic, self._monotonic() + timeout)
        try:
            for _ in range(max_redirects + 1):
                found = self._get(check(url), max_bytes, deadline, admit)
                if isinstance(found, bytes):
                    return found
                url = _next_hop(url, found)
        except BadAddress as error:
            raise FetchFailed(error.reason) from error
        except FetchFailed:
            raise
        except Exception as error:
            raise FetchFailed(f"could not be fetched: {_explain(error)[1]}") from error
        raise FetchFailed(f"could not be fetched: more than {max_redirects} redirects")

    def leads_inside(self, target: Target, timeout: float) -> bool:
        """
        Whether *target* is known, within *timeout* seconds, to lie at an address that may not be called.

        A name that does not resolve in time is not known to: it is judged again when it is called.
        """
        deadline = Deadline(self._monotonic, self._monotonic() + timeout)
        try:
            addresses = self._addresses(target, deadline)
        except (_Ended, TimeoutError):
            return False
        return not all(self._allow(ip) for ip in addresses)

    def _get(self, target: Target, max_bytes: int, deadline: Deadline, admit: Admit | None) -> "bytes | _Redirect":
        """One hop of a fetch: the file, or the redirect's target."""
        with closing(self._open(target, deadline, admit=admit)) as wire:
            send(wire, "GET", target, self._headers(target, {}, None), None)
            response = head(wire, "GET")
            if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                return _Redirect(location)
            if not 200 <= response.status < 300:
                raise FetchFailed(f"could not be fetched: answered {response.status}")
            return _file(response, max_bytes)

    def _headers(self, target: Target, given: Mapping[str, str], body: Payload | None) -> dict[str, str]:
        """Headers of one request; *given* ones win."""
        ours = {
            "Host": target.authority,
            "User-Agent": self._user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if body is not None:
            ours["Content-Length"] = str(len(body))
        taken = {name.lower() for name in given}
        return {name: value for name, value in ours.items() if name.lower() not in taken} | dict(given)

    def _open(
        self,
        target: Target,
        deadline: Deadline,
        relay: str | None = None,
        budget: int | None = None,
        names: Mapping[str, Sequence[IPAddress]] = MappingProxyType({}),
        admit: Admit | None = None,
    ) -> Wire:
        """A connection to *target*, or unchecked to *relay* in its place, that gives at most *budget* bytes."""
        place = target if relay is None else _parsed(relay)
        addresses = names.get(place.host) or self._addresses(place, deadline)
        if admit is not None:
            admit(target, addresses)
        elif relay is None and not all(self._allow(ip) for ip in addresses):
            raise _Ended("blocked", "leads to an internal address")
        sock = dial(addresses, place.port, deadline)
        if place.scheme == "https":
            sock = self._secure(sock, place.host, deadline)
        return Wire(sock, deadline, budget)

    def _addresses(self, place: Target, deadline: Deadline) -> Sequence[IPAddress]:
        """The addresses of *place*; raises _Ended where there are none, or none in time."""
        if place.ip is not None:
            return [place.ip]
        found = self._lookups.ask(place.host, place.port, deadline)
        if found is None:
            raise _Ended("dns", "the host's name was not resolved in time")
        if isinstance(found, (OSError, ValueError)) or not found:  # ValueError: a label that no resolver takes
            raise _Ended("dns", "the host's name does not resolve")
        if isinstance(found, Exception):
            raise found
        return found

    def _secure(self, sock: socket.socket, host: str, deadline: Deadline) -> socket.socket:
        """TLS over *sock*, verified against *host*; closes *sock* where that fails."""
        try:
            sock = self._context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            sock.settimeout(deadline.left())
            sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        """The TLS settings of every connection, made when first needed, because loading certificates takes time."""
        with self._tls_lock:
            if self._tls is None:
                context = ssl.create_default_context()
                context.set_alpn_protocols(["http/1.1"])
                if self._ca_file is not None:
                    context.load_verify_locations(self._ca_file)
                self._tls = context
            return self._tls


@dataclass(frozen=True, slots=True)
class _Redirect:
    """An answer that names another place."""

    location: str


def _next_hop(url: str, redirect: _Redirect) -> str:
    """Where *redirect* leads from *url*."""
    try:
        return urljoin(url, redirect.location)
    except ValueError as error:
        raise FetchFailed("could not be fetched: redirected to what is no URL") from error


def _file(response: "HTTPResponse", max_bytes: int) -> bytes:
    """The body of *response*; raises TooLarge before reading more than it must, IncompleteRead if it is cut."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("could not be fetched: answered in a content encoding that was not asked for")
    if (response.length or 0) > max_bytes:
        raise TooLarge(f"is larger than {max_bytes} bytes")
    content = io.BytesIO()
    while piece := response.read(CHUNK):
        content.write(piece)
        if content.tell() > max_bytes:
            raise TooLarge(f"is larger than {max_bytes} bytes")
    check_complete(response)
    return content.getvalue()


_parsed = lru_cache(maxsize=256)(partial(parse, schemes=_SCHEMES))
"""Where callbacks go again and again, and the relays that stand in for them."""


def _explain(error: Exception) -> tuple[OutcomeKind, str]:
    """Outcome and detail of an attempt that *error* ended."""
    from http.client import HTTPException, IncompleteRead

    match error:
        case _Ended():
            return error.kind, error.detail
        case BadAddress():
            return "blocked", error.reason
        case TimeoutError():
            return "timeout", "no complete answer in time"
        case ConnectionRefusedError():
            return "refused", "the connection was refused"
        case ssl.SSLCertVerificationError():
            return "refused", f"tls: {error.verify_message}"
        case ConnectionError() | IncompleteRead() | ssl.SSLEOFError():
            return "refused", "cut: the connection was closed before the answer was complete"
        case ssl.SSLError():
            return "refused", f"tls: {error.reason or 'the handshake failed'}"
        case HTTPException() | AnswerTooLong():
            return "refused", f"not HTTP: {type(error).__name__}"
        case OSError():
            return "refused", error.strerror or "the connection failed"
    _log.error("an attempt ended in an unforeseen error", exc_info=error)
    return "refused", f"failed: {type(error).__name__}"
