"""The service's own host names for a scripted server: HTTPS with a local authority, a proxy that leads there, and nowhere else.

A client with those names built in comes here through the proxy, or straight through the fake's preloads for Python and Node.
"""

import json
import ssl
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

from kling_common.authority import Authority
from kling_contract.reading.contract import Contract
from kling_contract.recording.tunnels import Tunnels
from kling_contract.serving import Incoming, Listener

_TIMEOUT = 10.0
_IDLE = 0.4


class Impersonation:
    """`with Impersonation(contract, serve, refuse) as led`: gives *serve* each request to one of the service's names.

    refuse: gets what is asked of the proxy for any other host.
    """

    def __init__(
        self, contract: Contract, serve: Callable[[Incoming], None], refuse: Callable[[Incoming], None]
    ) -> None:
        self._serve, self._refuse = serve, refuse
        self.base_url = str(contract.document["servers"][0]["url"])
        self.link_origin = str(contract.document["x-assumptions"]["link_origin"]["schema"]["default"])
        self._names = sorted({urlsplit(url).hostname or "" for url in (self.base_url, self.link_origin)})
        authority = Authority()
        self._tunnels = Tunnels(authority, self._names)
        self._trust = self._tunnels.variables()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate(self._names))
        context.set_alpn_protocols(["http/1.1"])
        self._direct = Listener(serve, tls=context, timeout=_TIMEOUT, idle=_IDLE)
        self._proxy = Listener(self._led, timeout=_TIMEOUT, idle=_IDLE)

    def __enter__(self) -> Self:
        self._direct.start()
        self._proxy.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._proxy.close()
        self._direct.close()

    @property
    def proxy(self) -> str:
        """Host and port of the proxy."""
        return self._proxy.origin.partition("://")[2]

    def variables(self) -> dict[str, str]:
        """What leads a client here: trust, and where the service's names are; the proxy's own variables come from the fence."""
        fake = self._direct.origin.partition("://")[2]
        routes = {"hosts": self._names, "fake": fake, "proxy": self.proxy}
        return {**self._trust, "KLING_MOCK_ROUTES": json.dumps(routes)}

    def _led(self, request: Incoming) -> None:
        host, _, _ = request.path.rpartition(":")
        name = host.strip("[]").lower()
        if request.command == "CONNECT" and name in self._names:
            self._tunnels.open(request, name, self._serve)
        else:
            self._refuse(request)
