"""Authenticated API calls: one request, one JSON object or one error of the tree."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from kling_client.contract import host_address, is_loopback
from kling_client.errors import (
    ApiError,
    AuthError,
    BalanceError,
    ConfigError,
    NotFound,
    PermissionDenied,
    RateLimited,
    RedirectRefused,
    ServerError,
    ValidationError,
)
from kling_client.retry_after import retry_after
from kling_client.timing import Clock
from kling_client.transport import Bearer, Timeouts, Web

# An answer of the API is a few kilobytes; this only keeps a broken server from filling the memory.
MAX_ANSWER_BYTES = 8 << 20
_REQUEST_ID_HEADERS = ("x-request-id", "x-oneapi-request-id")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthError,
    402: BalanceError,
    403: PermissionDenied,
    404: NotFound,
    429: RateLimited,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer: the JSON object and the headers."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


class Api:
    """The API at one origin.

    Args:
        base_url: https, or http on the loopback; a path in it is kept as a prefix.
        key: the API key; sent to this origin only.
        web: what sends.
        clock: monotonic seconds.
        wall: Unix seconds.
        allow_http: take an http URL for any host.

    Raises:
        ConfigError: the URL or the key cannot be used. The message does not hold the key.
    """

    def __init__(self, base_url: str, key: str, web: Web, *, clock: Clock, wall: Clock, allow_http: bool) -> None:
        self.base_url = check_base_url(base_url, allow_http=allow_http)
        self.bearer = Bearer(check_key(key))
        self._web = web
        self._clock = clock
        self._wall = wall

    def call(
        self,
        method: str,
        path: str,
        timeouts: Timeouts,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> Answer:
        """Make one call; it is never repeated here.

        Raises:
            ApiError: any answer but a 2xx with a JSON object.
            NetworkError: no answer, or half of one.
        """
        request = requests.Request(method, self.base_url + path, auth=self.bearer, files=files)
        request.headers = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            request.headers["Content-Type"] = "application/json"
            request.data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        started = self._clock()
        response = self._web.send(request, timeouts, fresh=fresh)
        content = self._read(response, timeouts, started)
        return self._judge(response, content)

    def _read(self, response: requests.Response, timeouts: Timeouts, started: float) -> bytes:
        """The whole body, within its bounds."""
        content = bytearray()
        with response:
            for chunk in self._web.chunks(response, timeouts, started):
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise ServerError("the answer is too large to be one of this API", status=response.status_code)
        return bytes(content)

    def _judge(self, response: requests.Response, content: bytes) -> Answer:
        """The answer, or the error that it is."""
        status = response.status_code
        body = _json_object(content)
        if 200 <= status < 300:
            if body is None:
                raise self._error(ServerError, response, {}, "the answer is not a JSON object")
            return Answer(body, response.headers)
        if 300 <= status < 400:
            raise self._error(RedirectRefused, response, {}, f"the API answered a redirect ({status}), not followed")
        kind = _BY_STATUS.get(status) or (ValidationError if status < 500 else ServerError)
        envelope = (body or {}).get("error", {"code": (body or {}).get("code"), "message": (body or {}).get("msg")})
        raise self._error(kind, response, envelope if isinstance(envelope, dict) else {}, "no reason given")

    def _error(
        self, kind: type[ApiError], response: requests.Response, envelope: Mapping[str, Any], default: str
    ) -> ApiError:
        """One error from an envelope of either dialect, or of the file host; missing members are None."""
        words = {name: self.bearer.hide(value) for name, value in envelope.items() if isinstance(value, str)}
        code = envelope.get("code")
        code = words.get("code") or (code if isinstance(code, int) and not isinstance(code, bool) else None)
        text = one_line(words.get("message") or default)
        hint = words.get("fallback_suggestion")
        shown = f" {code}" if code is not None and code != response.status_code else ""
        return kind(
            f"HTTP {response.status_code}{shown}: {text}{f' ({hint})' if hint else ''}",
            status=response.status_code,
            code=code,
            type=words.get("type"),
            param=words.get("param"),
            request_id=self._request_id(response),
            fallback_suggestion=hint,
            retry_after=retry_after(response.headers, self._wall),
        )

    def _request_id(self, response: requests.Response) -> str | None:
        """Return the service's name for this call, where it gives one."""
        found = next((response.headers[name] for name in _REQUEST_ID_HEADERS if name in response.headers), None)
        return None if found is None else self.bearer.hide(found)


def check_base_url(url: str, *, allow_http: bool) -> str:
    """Return *url* in its normal form: one address has one spelling, so that state files can be compared.

    Without a scheme it is http on the loopback and https for other hosts.

    Scheme and host are in lower case, a default port, closing slashes and a closing `/v1` are left out: the contract's
    paths begin with it, and many base URLs end in it.

    Raises:
        ConfigError: it is not https (http is taken on the loopback, or when the user says so), has no host, or carries
            more than scheme, host, port and path.
    """
    try:
        parts = urlsplit(_with_scheme(url))
        host, number = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the base URL is not a URL; write it like https://HOST[:PORT]") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("the base URL must be https://HOST[:PORT][/PREFIX]")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError("the base URL must hold no credentials, query or fragment")
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        raise ConfigError(f"plain http to {host} would show the key to the network; use https, or --allow-http")
    port = "" if number in (None, _DEFAULT_PORTS[parts.scheme]) else f":{number}"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{_plain_host(host)}{port}{path}"


def _with_scheme(url: str) -> str:
    """Return *url* with a scheme: HOST[:PORT] is http on the loopback, https for other hosts; a bare word is no host.

    Raises:
        ValueError: it is no URL.
    """
    first = url.partition("/")[0]
    if "://" in url or not ({".", ":"} & set(first) or first.lower() == "localhost"):
        return url
    host = urlsplit(f"https://{url}").hostname or ""
    return f"{'http' if is_loopback(host) else 'https'}://{url}"


def _plain_host(host: str) -> str:
    """Return *host* as it stands in a URL's normal form: numbers dotted, names in ASCII.

    Raises:
        ConfigError: it is no name of a host.
    """
    address = host_address(host)
    if address is not None:
        return f"[{address}]" if address.version == 6 else str(address)
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ConfigError("the base URL is not a URL") from None


def check_key(key: str) -> str:
    """*key* as it is.

    Raises:
        ConfigError: it is empty, or no header can carry it.
    """
    if not key:
        raise ConfigError("no API key: set KLING_API_KEY, or give --api-key")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigError("the API key holds spaces or characters that no header can carry")
    return key


def one_line(text: str, limit: int = 500) -> str:
    """*text* without line breaks and control characters, cut at *limit* characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:limit]


def _json_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in *content*, None when it is anything else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
