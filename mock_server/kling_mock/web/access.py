"""Who may use the control protocol and the page, and whose wishes may reach this machine's own network.

The service's own routes respond under any Host. Everything that steers or shows the fake needs a Host that is the fake's own, which
closes DNS rebinding; no foreign Origin, which closes other web pages; and a token from callers that are, or may be, on another machine.
"""

import hmac
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from kling_mock.config import Settings
from kling_mock.web.http import Headers, Request

FORWARDED = (
    *(
        "forwarded",
        "via",
        "x-forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cdn-loop",
    ),
    *(
        "x-original-",
        "x-rewrite-url",
        "x-proxyuser-ip",
        "x-remote-",
        "x-host",
        "x-azure-",
        "x-appengine-",
        "x-amzn-trace-id",
    ),
    *("cf-", "fastly-", "fly-", "x-envoy-", "x-ngrok-", "ngrok-", "tailscale-", "x-vercel-", "x-nf-", "x-arr-"),
)
"""How headers begin that proxies and tunnels add: the caller may be on another machine, whatever the connection looks like."""

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_OWN_SITE = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HTTPS = _DEFAULT_PORTS["https"]


class Access:
    """Judges callers. *names* are the host names that the fake impersonates."""

    def __init__(self, settings: Settings, names: tuple[str, ...] = ()) -> None:
        public = urlsplit(settings.public_url or "")
        self._token = settings.admin_token
        self._any_address = settings.host in _EVERY_ADDRESS
        self._public = _authority(settings.public_url or "")
        self._names = frozenset(
            _bare(name) for name in (settings.host, public.hostname or "", *settings.allowed_host, *names) if name
        )

    def refusal(self, request: Request, *, page: bool = False) -> str | None:
        """Return why *request* may not use the control protocol; None when it may.

        *page*: a page for people, which a link on another site may open, since that site does not see it.
        """
        headers = request.headers
        if not self._own_host(headers):
            host = headers.get("host") or ""
            return f"{host[:100]!r} is not a name of this fake; start it with --allowed-host NAME to allow it"
        if not self._own_origin(headers) and not (page and _navigation(request)):
            return "a page of another site must not control the fake"
        if not self._near(request) and not self._has_token(headers):
            return (
                "off the loopback, or through a proxy, a control call needs the header X-Mock-Token; "
                "start the fake with --admin-token TOKEN and send the same"
            )
        return None

    def may_call(self, request: Request) -> bool:
        """Return whether *request* may use the control protocol or the page."""
        return self.refusal(request, page=True) is None or request.headers.get("cookie") is not None

    def local(self, request: Request) -> bool:
        """Return whether *request* is from a program on this machine, under a Host that is the fake's own."""
        return self._near(request) and self._own_host(request.headers) and self._own_origin(request.headers)

    def _near(self, request: Request) -> bool:
        """Return whether the caller is on this machine: a loopback address or a unix socket, and nothing in between."""
        return _is_loopback(request.client) and not _forwarded(request.headers)

    def _has_token(self, headers: Headers) -> bool:
        given = headers.get("x-mock-token") or ""
        return self._token is not None and hmac.compare_digest(self._token.encode(), given.encode("utf-8", "replace"))

    def _own_host(self, headers: Headers) -> bool:
        """Return whether the Host header names the fake, whatever the port: tunnels and containers map ports."""
        if _several(headers):
            return False
        host = _host_of(headers.get("host") or "")
        if host is None:
            return False
        if host == "localhost" or host.endswith(".localhost") or host in self._names:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        # A page cannot rebind an address: where the fake listens on all of the machine's, any may be its own.
        return _is_loopback(host) or self._any_address or str(address) in self._names

    def _own_origin(self, headers: Headers) -> bool:
        """Return whether *headers* are those of a program, or of the fake's own page."""
        site = headers.get("sec-fetch-site")
        if site is not None and site.lower() not in _OWN_SITE:
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        scheme, separator, _ = origin.partition("://")
        asked = _authority(f"{scheme}://{headers.get('host') or ''}") if separator else None
        return asked is not None and _authority(origin) in (asked, self._public)


def _forwarded(headers: Headers) -> bool:
    """Return whether something between the caller and the fake has left its mark."""
    return any(name.lower().replace("_", "-").startswith(FORWARDED) for name, _ in headers.items())


def _several(headers: Headers) -> bool:
    """Return whether there is more than one Host: two readers could take two places for the one that was meant."""
    return sum(name.lower() == "host" for name, _ in headers.items()) > 1


def _navigation(request: Request) -> bool:
    """Return whether a browser opens *request* as a page of its own, in a tab and not in a frame."""
    mode, target = request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")
    return request.method in ("GET", "HEAD") and (mode, target) == ("navigate", "document")


def _bare(host: str) -> str:
    """Return one spelling of a host: lower case, no brackets, no dot at the end."""
    return host.strip("[]").lower().removesuffix(".")


def _host_of(text: str) -> str | None:
    """Return the host of a Host header; None where it is not one."""
    if not text or any(character in text for character in "/\\@?#, \t"):
        return None
    try:
        return _bare(urlsplit(f"//{text}").hostname or "") or None
    except ValueError:
        return None


def _authority(url: str) -> tuple[str, int] | None:
    """Return host and port of *url*; None where it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (_bare(host), port) if host and port else None


def _is_loopback(client: str) -> bool:
    """Return whether *client* is this machine: an address as servers write it, or none at all for a unix socket."""
    bare = client.strip("[]")
    if not bare or bare == "localhost" or bare.startswith("unix:"):
        return True
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def service_hosts(document: dict[str, Any]) -> tuple[str, ...]:
    """Return the service's host names as the contract lists them: for all operations, and for single ones."""
    calls = [call for item in document["paths"].values() for call in item.values()]
    servers = [server for place in (document, *calls) for server in place.get("servers", ())]
    return tuple(dict.fromkeys(urlsplit(server["url"]).hostname or "" for server in servers))


def impersonated(settings: Settings, document: dict[str, Any]) -> tuple[str, ...]:
    """Return the names that a client of an impersonating fake may call at port 443: the service's, and that of the public URL."""
    public = urlsplit(settings.public_url or "")
    ours = [public.hostname] if public.scheme == "https" and public.hostname and public.port in (None, _HTTPS) else []
    return tuple(dict.fromkeys((*service_hosts(document), *ours)))
