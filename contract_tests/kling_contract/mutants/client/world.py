"""What the client stands on: requests, time and files, so that the same client runs on sockets or without any."""

import email.utils
import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Lost(Exception):
    """No whole answer came. sent: whether anything may have left; partial: what came of the body."""

    def __init__(self, why: str, *, sent: bool = True, partial: bytes = b"") -> None:
        super().__init__(why)
        self.sent, self.partial = sent, partial


class TooLong(Exception):
    """The body is longer than was asked for."""


@dataclass(frozen=True)
class Reply:
    """An answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Setup:
    """What the user asked for.

    request: members of the create besides the model. deadline: seconds until it gives up; pause: the least between two reads;
    spread: the share by which this run's waits are longer, so that many runs do not keep step; timeout: of one call.
    limits: the contract's, as `clients.limits_of` gives them. mutant: the switch that is thrown.
    """

    base_url: str
    key: str
    request: Mapping[str, Any]
    out: Path
    deadline: float
    pause: float
    timeout: float
    limits: Mapping[str, Any]
    callback_url: str = ""
    mutant: str = ""
    spread: float = 0.15


class World(Protocol):
    """Everything outside the client."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float, most: int
    ) -> Reply:
        """One request. Raises Lost, TooLong."""
        ...

    def sleep(self, seconds: float, news: threading.Event) -> None:
        """Wait, at most until *news*."""
        ...

    def clock(self) -> float:
        """Seconds; never goes back."""
        ...

    def wall(self) -> float:
        """Unix seconds."""
        ...

    def say(self, line: str) -> None:
        """One line for the user."""
        ...


class Sockets:
    """The real world. verify: whether certificates are."""

    def __init__(self, *, verify: bool = True) -> None:
        self._verify = verify

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What secures a connection: made for the first that is, since most runs have none."""
        context = ssl.create_default_context()
        if not self._verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float, most: int
    ) -> Reply:
        """One request over a connection of its own."""
        parts = urlsplit(url)
        until = self.clock() + seconds
        if parts.scheme == "https":
            link: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=seconds, context=self._tls
            )
        else:
            link = http.client.HTTPConnection(parts.netloc, timeout=seconds)
        try:
            link.connect()
        except OSError as error:
            raise Lost(f"no connection: {error}", sent=False) from None
        try:
            link.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, dict(headers))
            return self._read(link.getresponse(), until, most)
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"connection lost: {type(error).__name__}") from None
        finally:
            link.close()

    def _read(self, answer: http.client.HTTPResponse, until: float, most: int) -> Reply:
        body = bytearray()
        wanted = answer.length
        try:
            while data := answer.read1(CHUNK):
                body += data
                if len(body) > most:
                    raise TooLong
                if self.clock() > until:
                    raise Lost("timed out", partial=bytes(body))
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"cut: {type(error).__name__}", partial=bytes(body)) from None
        if wanted is not None and len(body) < wanted:
            raise Lost("cut", partial=bytes(body))
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, bytes(body))

    def sleep(self, seconds: float, news: threading.Event) -> None:
        """Wait."""
        news.wait(seconds)

    def clock(self) -> float:
        """The machine's."""
        return time.monotonic()  # noqa: TID251 - a client in a process of its own

    def wall(self) -> float:
        """The machine's."""
        return time.time()  # noqa: TID251 - as above

    def say(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)  # noqa: T201 - a command's output


def retry_after(reply: Reply, now: float, *, dates: bool = True) -> float:
    """Seconds that an answer asks to wait; 0 when it does not say."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now) if dates else 0.0
    except (TypeError, ValueError):
        return 0.0
