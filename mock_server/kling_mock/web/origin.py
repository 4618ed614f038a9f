"""The origin of result links: that under which the caller reached the fake, unless `--public-url` says otherwise.

It is decided at the create and kept with the task, so that every later reading, by whichever name or from whichever network, gives the
same link. A container that listens on 0.0.0.0 and is published at another port hands out links that its caller can follow.
"""

import re
from functools import lru_cache

from kling_mock.config import Settings
from kling_mock.web.http import Request

_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Origins:
    """Chooses the origin of links by a request's Host; by what a proxy forwards, where *settings* trust it."""

    def __init__(self, settings: Settings) -> None:
        self._fixed, self._own, self._trust = settings.public_url, settings.own_origin, settings.trust_proxy

    def of(self, request: Request) -> str:
        """Return scheme, host and port for the links of a task that *request* creates."""
        if self._fixed is not None:
            return self._fixed
        headers = request.headers
        host, scheme = headers.get("host") or "", request.scheme
        if self._trust:
            host = _first(headers.get("x-forwarded-host")) or host
            scheme = _first(headers.get("x-forwarded-proto")).lower() or scheme
            port = _first(headers.get("x-forwarded-port"))
            if port.isdecimal() and ":" not in host.rpartition("]")[2]:
                host = f"{host}:{port}"
        return _origin(scheme, host) or self._own


def _first(value: str | None) -> str:
    """Return the first of a list of values: that of the proxy which the caller reached."""
    return (value or "").partition(",")[0].strip()


@lru_cache(256)
def _origin(scheme: str, host: str) -> str | None:
    """Return the origin, the default port left out; None where *host* is no host: what a caller sends must not bend a link."""
    if scheme not in _DEFAULT_PORTS or not _AUTHORITY.fullmatch(host):
        return None
    return f"{scheme}://{host.lower().removesuffix(_DEFAULT_PORTS[scheme])}"
