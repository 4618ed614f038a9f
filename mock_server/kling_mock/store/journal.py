"""What happened, in order: exchanges, callback attempts, downloads, clock moves. Capped, without secrets.

Secrets are replaced before an entry is handed to anybody, at the latest when it is read: most are never read, and in memory the keys
are there anyway, as those of the accounts.
"""

import threading
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import orjson
from msgspec import Struct, field

from kling_common.bodies import iso
from kling_common.masking import Mask
from kling_mock.core.notation import parse_choice

_LONGEST_URL = 8 * 1024
_LONGEST_VALUE = 4 * 1024
_MOST_HEADERS = 100
_LONGEST_SECRET = 4 * 1024
"""More is searched than is kept, so that no cut leaves half a secret."""
_LARGE = 32 * 1024
"""An entry that weighs more is cut when it is added."""
_EACH, _EACH_HEADER = 512, 64
"""Bytes that an entry and a header take by themselves."""


class Sent(dict[str, str]):
    """Headers of a request, which may come again with the next: what they weigh is worked out once."""

    __slots__ = ("_weight",)
    _weight: int

    @property
    def weight(self) -> int:
        """Bytes they hold on to; nothing is added to them once this was asked."""
        try:
            return self._weight
        except AttributeError:
            self._weight = _weight(self)
            return self._weight


def _weight(headers: Mapping[str, str]) -> int:
    return sum(map(len, headers)) + sum(map(len, headers.values())) + len(headers) * _EACH_HEADER


class Entry(Struct, gc=False):
    """One thing that happened. `at` is the account's clock, `seconds` the real time it took; bodies are cut at the journal's bound."""

    seq: int
    at: float
    account: str | None
    kind: str
    method: str = ""
    url: str = ""
    request_headers: Mapping[str, str] | None = None
    request_body: bytes = b""
    status: int | None = None
    headers: list[tuple[str, str]] | None = None
    body: bytes = b""
    seconds: float = 0.0
    task_id: str | None = None
    scenario: str | None = None
    fault: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    held: int = 0
    clean: bool = False

    @property
    def weight(self) -> int:
        """Bytes it holds on to."""
        held = len(self.url) + len(self.request_body) + len(self.body) + _EACH
        sent = self.request_headers
        if sent:
            held += sent.weight if isinstance(sent, Sent) else _weight(sent)
        headers = self.headers
        if headers:
            held += sum(map(len, chain.from_iterable(headers))) + len(headers) * _EACH_HEADER
        return held


New = tuple[float, str | None, str, dict[str, Any]]
"""An entry that is to be recorded: when, whose, of which kind, and its facts."""


class Journal:
    """A bounded list of entries: at most *entries* of them and *total* bytes, each body cut at *body* bytes, long headers too.

    `mask` replaces the secrets of every entry.
    `listener` is called with each entry as it is added, from whichever thread added it, and must not block. Before it hands an entry on it
    calls `cleaned`.
    """

    def __init__(self, *, entries: int = 10_000, body: int = 64 * 1024, total: int = 32 * 1024 * 1024) -> None:
        self._entries: deque[Entry] = deque()
        self._most, self._body, self._total = entries, body, total
        self.mask = Mask(b"journal", learns=False)
        self._held = 0
        self.next_seq = 1
        self.listener: Callable[[Entry], None] | None = None
        self._lock, self._cleaning = threading.Lock(), threading.Lock()

    def add(self, at: float, account: str | None, kind: str, **facts: Any) -> Entry:
        """Record what *facts* say; the members of an `Entry`."""
        return self.record(Entry(0, at, account, kind, **facts))

    def record(self, entry: Entry) -> Entry:
        """Record one entry; the oldest make room."""
        weight, listener, entries = entry.weight, self.listener, self._entries
        if weight > _LARGE:
            self._mask_secrets(entry)
            weight = entry.weight
        entry.held = weight
        with self._lock:
            entry.seq = seq = self.next_seq
            self.next_seq = seq + 1
            entries.append(entry)
            self._held += weight
            while len(entries) > self._most or self._held > self._total:
                self._held -= entries.popleft().held
        if listener is not None:
            listener(entry)
        return entry

    def add_all(self, many: Sequence[New]) -> None:
        """Record several entries, in order."""
        for at, account, kind, facts in many:
            self.add(at, account, kind, **facts)

    @contextmanager
    def gathered(self) -> Iterator[Callable[[], Sequence[Entry]]]:
        """Leave what this thread adds in the block to `keep`, where that saves something; the function returns what is left."""
        yield tuple

    def keep(self, entries: Sequence[Entry]) -> None:
        """Write what was left to be written."""
        del entries

    def _mask_secrets(self, entry: Entry) -> None:
        """Replace secrets, and cut what is long: in SQL before an entry is written, in memory at the latest when it is read."""
        mask = self.mask
        url = entry.url[: _LONGEST_URL + _LONGEST_SECRET]
        entry.url = _short(mask.callback(url) if entry.kind == "attempt" else mask.text(url), _LONGEST_URL)
        if entry.request_headers is not None:
            entry.request_headers = dict(_masked(mask, entry.request_headers.items()))
        if entry.headers is not None:
            entry.headers = list(_masked(mask, entry.headers))
        if len(entry.request_body) > self._body:
            entry.more["request_body_bytes"] = len(entry.request_body)
        if len(entry.body) > self._body:
            entry.more["body_bytes"] = len(entry.body)
        entry.request_body, entry.body = self._kept(entry.request_body), self._kept(entry.body)
        entry.clean = True

    def _kept(self, body: bytes) -> bytes:
        return self.mask.bytes(body[: self._body + _LONGEST_SECRET])[: self._body] if body else body

    def entries(self, account: str | None = None, since: int = 0, limit: int | None = None) -> list[Entry]:
        """Entries from number *since* on, oldest first; of one account, or of all."""
        with self._lock:
            kept = list(self._entries)
        found = [entry for entry in kept if entry.seq >= since and (account is None or entry.account == account)]
        found = found[:limit] if limit is not None else found
        return [self.cleaned(entry) for entry in found]

    def cleaned(self, entry: Entry) -> Entry:
        """Return *entry* without secrets, as everybody sees it."""
        if not entry.clean:
            with self._cleaning:
                if not entry.clean:
                    self._mask_secrets(entry)
        return entry

    def forget(self, account: str | None = None) -> None:
        """Drop one account's entries, or all."""
        with self._lock:
            self._entries = deque(entry for entry in self._entries if account is not None and entry.account != account)
            self._held = sum(entry.held for entry in self._entries)


def _masked(mask: Mask, headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in islice(headers, _MOST_HEADERS):
        yield name.lower(), _short(mask.value(name, value[: _LONGEST_VALUE + _LONGEST_SECRET]), _LONGEST_VALUE)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def as_json(entry: Entry) -> dict[str, Any]:
    """The entry as the control protocol shows it."""
    shown: dict[str, Any] = {"seq": entry.seq, "at": entry.at, "account": entry.account, "kind": entry.kind}
    if entry.method:
        shown["request"] = {
            "method": entry.method,
            "url": entry.url,
            "headers": _shown_headers(entry.request_headers),
            "body": _text(entry.request_body),
        }
        shown["response"] = None if entry.status is None else {
            "status": entry.status,
            "headers": _shown_headers(dict(entry.headers or ())),
            "body": _text(entry.body),
        }  # fmt: skip
        shown["seconds"] = round(entry.seconds, 6)
    return {**shown, **_circumstances(entry)}


def _circumstances(entry: Entry) -> dict[str, Any]:
    """Which task it was about, what scenario that follows and with which params, and the fault that acted."""
    name, params = parse_choice(entry.scenario) if entry.scenario else (None, {})
    said = {"task_id": entry.task_id, "scenario": name, "params": params or None, "fault": entry.fault}
    return {**{key: value for key, value in said.items() if value is not None}, **entry.more}


def as_har(entries: list[Entry], *, creator: str, version: str, origin: str) -> dict[str, Any]:
    """Return the exchanges, attempts and downloads as HAR 1.2; what HAR has no place for stands in members that begin with `_`.

    *origin* completes the URL of a request that named no host. Moves of clocks are `_clock` of the log.
    """
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": creator, "version": version},
            "entries": [_har_entry(entry, origin) for entry in entries if entry.method],
            "_clock": [as_json(entry) for entry in entries if entry.kind == "clock"],
        }
    }


def _absolute(url: str, headers: dict[str, str], origin: str) -> str:
    """Return *url* with scheme and host, which a request to a server leaves out."""
    if not url.startswith("/"):
        return url
    scheme = origin.partition("://")[0]
    return f"{scheme}://{headers['host']}{url}" if headers.get("host") else origin + url


def _har_entry(entry: Entry, origin: str) -> dict[str, Any]:
    url = _absolute(entry.url, _shown_headers(entry.request_headers), origin)
    request_headers = _shown_headers(entry.request_headers)
    headers = _shown_headers(dict(entry.headers or ()))
    milliseconds = round(entry.seconds * 1000, 3)
    return {
        "startedDateTime": iso(entry.at),
        "time": milliseconds,
        "request": {
            "method": entry.method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(request_headers),
            "queryString": _query(url),
            **(
                {"postData": {"mimeType": request_headers.get("content-type", ""), "text": _plain(entry.request_body)}}
                if entry.request_body
                else {}
            ),
            "headersSize": -1,
            "bodySize": entry.more.get("request_body_bytes", len(entry.request_body)),
        },
        "response": {
            "status": entry.status or 0,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(headers),
            "content": _content(entry, headers.get("content-type", "")),
            "redirectURL": headers.get("location", ""),
            "headersSize": -1,
            "bodySize": entry.more.get("body_bytes", len(entry.body)),
        },
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        "_seq": entry.seq,
        "_at": entry.at,
        "_kind": entry.kind,
        "_account": entry.account,
        **{f"_{name}": value for name, value in _circumstances(entry).items()},
    }


def _plain(body: bytes) -> str:
    """Return a body as text; bytes that are no text are shown as Latin-1, for HAR has no other place for them."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode("latin-1")


def _content(entry: Entry, mime: str) -> dict[str, Any]:
    size = entry.more.get("body_bytes", len(entry.body))
    if size and not entry.body:
        return {"size": size, "mimeType": mime}
    try:
        return {"size": size, "mimeType": mime, "text": entry.body.decode()}
    except UnicodeDecodeError:
        return {"size": size, "mimeType": mime, "text": b64encode(entry.body).decode(), "encoding": "base64"}


def _shown_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    return dict(headers.items()) if headers else {}


def _pairs(headers: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers.items()]


def _query(url: str) -> list[dict[str, str]]:
    from urllib.parse import parse_qsl

    found = parse_qsl(url.partition("#")[0].partition("?")[2], keep_blank_values=True)
    return [{"name": name, "value": value} for name, value in found]


def _text(body: bytes) -> Any:
    """A body as JSON where it is JSON, as text where it is text, else how long it was.

    What is nested too deeply to be written again, inside an entry of a list, is text as well.
    """
    if not body:
        return None
    try:
        value = orjson.loads(body)
        orjson.dumps([[[[[[[[value]]]]]]]])
        return value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"[{len(body)} bytes]"
