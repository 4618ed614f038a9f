"""One HTTP call to a fake, as its own tools make it.

`http.client` reads nothing of the machine or the test around it: no proxy variables, no `.netrc`, no patched `requests`. So a command or a
fixture reaches the fake behind a company's proxy, and while `responses` or `requests-mock` stands in for the network.
"""

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson


class Unreachable(Exception):
    """No response came; the message says why."""


class Distrusted(Unreachable):
    """The server's certificate is not trusted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < http.client.BAD_REQUEST

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ValueError: it is not JSON.
        """
        return orjson.loads(self.body)


def call(
    method: str,
    url: str,
    *,
    json: Any = None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    ca: Path | None = None,
) -> Answer:
    """Return the response to one call. *ca*: certificates to trust in place of the system's.

    Raises:
        Unreachable: there is no response; Distrusted where the certificate is the reason.
    """
    sent = {"accept": "application/json", **(headers or {})}
    body = None if json is None else orjson.dumps(json)
    if body is not None:
        sent["content-type"] = "application/json"
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{urlencode(query)}" if query else f"?{parts.query}" if parts.query else "")
    try:
        connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout, ca)
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise Distrusted(error.verify_message) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(" ".join(str(error).split()) or type(error).__name__) from error


def _connection(
    scheme: str, host: str, port: int | None, timeout: float, ca: Path | None
) -> http.client.HTTPConnection:
    if scheme == "https":
        trusted = ssl.create_default_context(cafile=ca)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=trusted)
    if scheme != "http":
        raise ValueError("not an http or https URL")
    return http.client.HTTPConnection(host, port, timeout=timeout)
