"""How requests leave this process: no redirects, no netrc, certificates verified, every read bounded in size and time.

The seam for tests is that of requests itself: `transport` is a `requests.adapters.BaseAdapter`. `FunctionTransport`
makes one out of a function, so that a story runs in this process without a socket.
"""

import base64
import io
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, SSLError

from kling_client.alarm import Alarm
from kling_client.contract import is_loopback
from kling_client.errors import ConfigError, NetworkError
from kling_client.settings import check_seconds
from kling_client.timing import Clock

CHUNK = 1 << 16
_SHORTEST_SECRET = 8
_UNSENDABLE = (requests.exceptions.ProxyError, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, between two reads, and for a call as a whole."""

    connect: float = 10.0
    read: float = 20.0
    total: float = 60.0

    def __post_init__(self) -> None:
        """Refuse times of no length.

        Raises:
            BadSetting: one is not above 0, or beyond what timers take.
        """
        for name in ("connect", "read", "total"):
            check_seconds(name, getattr(self, name))

    def within(self, seconds: float | None) -> "Timeouts":
        """These, but none longer than *seconds*."""
        if seconds is None:
            return self
        most = max(0.001, seconds)
        return Timeouts(min(self.connect, most), min(self.read, most), min(self.total, most))


class Bearer(AuthBase):
    """Sets the Authorization header, so that requests never looks into netrc. Its repr hides the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the key on *request*."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def __repr__(self) -> str:
        return "Bearer(***)"

    def hide(self, text: str) -> str:
        """*text* with the key blotted out, in case a server echoes it."""
        return blot(text, self._key)


def blot(text: str, key: str) -> str:
    """*text* without *key*, percent-encoded and in base64 too. One of a few characters is a placeholder, which would garble words."""
    if len(key) < _SHORTEST_SECRET:
        return text
    for spelling in sorted(_spellings(key), key=len, reverse=True):
        text = text.replace(spelling, "***")
    return text


def _spellings(key: str) -> set[str]:
    """How *key* may be written: in base64 it depends on what stands ahead of it, and its ends on what stands around it."""
    found = {key, quote(key, safe="")}
    for ahead in range(3):
        data = b"\0" * ahead + key.encode()
        core = base64.b64encode(data)[(0, 2, 3)[ahead] :].decode().rstrip("=")
        core = core[: len(core) - (1 if len(data) % 3 else 0)]
        if len(core) >= _SHORTEST_SECRET:
            found |= {core, core.replace("+", "-").replace("/", "_")}
    return found


class NoCredentials(AuthBase):
    """Sends none, not even from netrc or from the URL."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave *request* as it is."""
        return request


_call = threading.local()


class _Watched(HTTPConnection):
    """A connection that the alarm of the thread's call watches from the moment when an answer is waited for."""

    def getresponse(self) -> Any:
        """Have the alarm watch, then wait."""
        alarm: Alarm | None = getattr(_call, "alarm", None)
        if alarm is not None and self.sock is not None:
            alarm.watch(self.sock)
        return super().getresponse()


class _WatchedTls(_Watched, HTTPSConnection):
    """The same with TLS."""


class _Pool(HTTPConnectionPool):
    """Makes connections that are watched."""

    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    """Makes connections with TLS that are watched."""

    ConnectionCls = _WatchedTls


class _Adapter(HTTPAdapter):
    """The adapter of requests, with connections that are watched."""

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """Take these pools."""
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """Take these pools behind a proxy, too."""
        manager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


class Web:
    """Sends one request at a time for each thread and gives back the open answer.

    Args:
        transport: what carries requests; None for real connections.
        user_agent: names this client (CQ-13).
        clock: monotonic seconds.
    """

    def __init__(self, transport: BaseAdapter | None, user_agent: str, clock: Clock) -> None:
        self._transport = transport
        self._user_agent = user_agent
        self._local = threading.local()
        self._clock = clock

    def send(self, request: requests.Request, timeouts: Timeouts, *, fresh: bool = False) -> requests.Response:
        """Send *request*; the body of the answer is still to be read, with `chunks`.

        Args:
            request: with its `auth` set, so that no other credentials are added.
            timeouts: of this call.
            fresh: use a new connection. A kept one may just have been closed by the server, and a create whose
                connection is cut is a create whose outcome is not known.

        Raises:
            NetworkError: no answer came.
            ConfigError: the certificate bundle named in the environment cannot be used.
        """
        session = self._session(fresh)
        self._set_alarm(timeouts)
        try:
            prepared = session.prepare_request(request)
            settings = session.merge_environment_settings(prepared.url or "", {}, True, None, None)
            if is_loopback(urlsplit(prepared.url or "").hostname or ""):
                settings["proxies"] = {}
            return session.send(prepared, timeout=(timeouts.connect, timeouts.read), allow_redirects=False, **settings)
        except (requests.exceptions.RequestException, HTTPError) as error:
            if self._local.alarm is not None and self._local.alarm.rang:
                late = replace(timeouts, read=timeouts.total)
                raise network_error(request, requests.exceptions.ReadTimeout(), late) from None
            raise network_error(request, error, timeouts) from None
        except OSError as error:
            raise ConfigError(f"certificates: {error}") from None

    def chunks(self, response: requests.Response, timeouts: Timeouts, started: float) -> "Chunks":
        """The body of *response*, piece by piece as it arrives."""
        return Chunks(response, timeouts, started, self._clock, self._local.alarm)

    def _set_alarm(self, timeouts: Timeouts) -> None:
        """End this call at its total time. The alarm of the call before is over: this thread is done with it."""
        before: Alarm | None = getattr(self._local, "alarm", None)
        if before is not None:
            before.stop()
        self._local.alarm = _call.alarm = Alarm(timeouts.total) if self._transport is None else None

    def _session(self, fresh: bool) -> requests.Session:
        """This thread's session; requests does not promise that one can be shared."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None and fresh:
            session.close()
        if session is None:
            session = self._local.session = requests.Session()
            session.headers["User-Agent"] = self._user_agent
            # No call depends on another, so no host's cookies are kept.
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.verify = os.environ.get("SSL_CERT_FILE") or True
            carrier = self._transport or _Adapter()
            session.mount("https://", carrier)
            session.mount("http://", carrier)
        return session


@dataclass(frozen=True, slots=True)
class Chunks:
    """An iterator over a body. A server that sends a byte now and then cannot hold it beyond the total timeout."""

    response: requests.Response
    timeouts: Timeouts
    started: float
    clock: Clock
    alarm: Alarm | None

    def __iter__(self) -> "Chunks":
        return self

    def __next__(self) -> bytes:
        if self.clock() - self.started > self.timeouts.total:
            raise self._late()
        try:
            data: bytes = self.response.raw.read1(CHUNK, decode_content=True)
        except (HTTPError, OSError) as error:
            if self.alarm is not None and self.alarm.rang:
                raise self._late() from None
            self.response.close()
            raise NetworkError(f"the answer was cut: {_reason(error)}") from None
        if data:
            return data
        if self.alarm is not None:
            if self.alarm.rang:
                raise self._late()
            self.alarm.stop()
        raise StopIteration

    def _late(self) -> NetworkError:
        """Close the connection; return the error."""
        self.response.close()
        return NetworkError(f"timed out: the answer was not complete after {self.timeouts.total:.3g} s")


def network_error(request: requests.Request, error: Exception, timeouts: Timeouts) -> NetworkError:
    """*error* as one line without key or link signature; `sent` is False where nothing can have left."""
    parts = urlsplit(request.url)
    place = f"{request.method} {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return NetworkError(f"{place}: no connection after {timeouts.connect:.3g} s", sent=False)
    if isinstance(error, requests.exceptions.Timeout):
        return NetworkError(f"{place}: no answer after {timeouts.read:.3g} s")
    cause = error.args[0] if error.args else error
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    never_left = isinstance(reason, NewConnectionError) or _is_handshake(reason) or isinstance(error, _UNSENDABLE)
    return NetworkError(f"{place}: {_reason(reason)}", sent=not never_left)


def _is_handshake(error: object) -> bool:
    """A TLS failure that comes before the request; any other may come in the middle of it."""
    if not isinstance(error, SSLError):
        return False
    refused = any(isinstance(part, ssl.SSLCertVerificationError) for part in error.args)
    return refused or "WRONG_VERSION_NUMBER" in str(error)


def _reason(error: object) -> str:
    """What went wrong, in one short line."""
    if isinstance(error, SSLError):
        return f"TLS: {_last_words(error)}"
    if isinstance(error, NewConnectionError):
        return f"cannot connect: {_last_words(error)}"
    return f"connection lost: {_last_words(error)}"


def _last_words(error: object) -> str:
    """The end of a nested urllib3 message, where its reason stands; no object addresses, no URLs."""
    text = " ".join(str(error).split())
    return text.rsplit(": ", 1)[-1].strip("')\"") or type(error).__name__


@dataclass(frozen=True, slots=True)
class Reply:
    """What a scripted server answers. `body` may be a file-like object, to come in pieces or to break."""

    status: int = 200
    headers: Mapping[str, str] | None = None
    body: bytes | io.RawIOBase | io.BufferedIOBase = b""


class FunctionTransport(BaseAdapter):
    """A server in this process: *handler* takes the request and returns a Reply, or raises what requests would."""

    def __init__(self, handler: Callable[[requests.PreparedRequest], Reply]) -> None:
        super().__init__()
        self._handler = handler

    def send(self, request: requests.PreparedRequest, *_args: Any, **_settings: Any) -> requests.Response:
        """Ask the handler."""
        reply = self._handler(request)
        body = io.BytesIO(reply.body) if isinstance(reply.body, bytes) else reply.body
        raw = HTTPResponse(body=body, headers=dict(reply.headers or {}), status=reply.status, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing is held."""
