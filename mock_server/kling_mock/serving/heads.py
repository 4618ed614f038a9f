"""Heads of requests that came before. A client that polls sends the same one again and again; what is the same byte for byte is not
parsed again.
"""

from typing import NamedTuple

from kling_mock.serving.exchange import Application, Exchange
from kling_mock.web.http import Headers, Request, RequestHeaders

LONG_HEAD = "the headers are too long, or too many"
_MOST_HEADERS = 100
_MOST_TARGET = 65_535
_VERSIONS = ("1.0", "1.1")
_MOST = 1024
_LONGEST = 4096
_SPECIAL = ("transfer-encoding", "expect", "upgrade")
"""Headers with which more than the length decides where a request ends, or what happens before it does."""

_END = b"\r\n\r\n"


class Head(NamedTuple):
    """What a head says: `length` is that of the body behind it."""

    method: str
    path: str
    query: str
    headers: Headers
    length: int


class Heads:
    """The heads of requests to *application* that came lately, by their bytes. They hold keys, as the accounts do."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._seen: dict[bytes, Head] = {}
        self._once: set[int] = set()

    def request(self, data: bytes, client: str, scheme: str) -> Request | None:
        """Return the request that *data* is, all of it and nothing else, where its head came before and its body may be read."""
        end = data.find(_END) + len(_END)
        head = self._seen.get(data[:end])
        if head is None or len(data) - end != head.length:
            return None
        request = Request(head.method, head.path, head.query, head.headers, data[end:], client, scheme)
        if head.length:
            most = self._application.most(request)
            if not isinstance(most, int) or head.length > most:
                return None
        return request

    def keep(self, data: bytes, exchange: Exchange) -> None:
        """Keep the head of *exchange*, where *data* was that request and nothing else, and only a length says where it ends.

        One that comes for the first time is only remembered as such: many have a number of their own and never come again.
        """
        end = data.find(_END) + len(_END)
        mark = hash(data[:end])
        if mark not in self._once:
            if len(self._once) >= _MOST:
                self._once.clear()
            self._once.add(mark)
            return
        request, headers = exchange.request, exchange.request.headers
        length = headers.get("content-length")
        if not exchange.modern or not exchange.keep or end > _LONGEST or any(map(headers.get, _SPECIAL)):
            return
        if request.method == "GET":
            plain = length is None and len(data) == end
        else:
            plain = request.method == "POST" and length == str(exchange.size) and len(data) - end == exchange.size
        if plain and len(dict(headers.items())) == len(list(headers.items())):
            if len(self._seen) >= _MOST:
                self._seen.clear()
            self._seen[data[:end]] = Head(request.method, request.path, request.query, headers, exchange.size)


def wrong_head(target: bytes, headers: RequestHeaders, version: str) -> tuple[int, str] | None:
    """Return status and reason where a head is one that is not served."""
    if len(target) > _MOST_TARGET:
        return 414, "the URL is too long"
    if len(headers) > _MOST_HEADERS:
        return 431, LONG_HEAD
    return None if version in _VERSIONS else (400, f"the request is not HTTP/1.1: its version is {version}")


def without_upgrade(method: bytes, target: bytes, headers: RequestHeaders) -> bytes:
    """Return a head again, without the offer to go on in another protocol."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name != "upgrade"]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, "".join(lines).encode("latin-1"))
