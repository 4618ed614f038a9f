"""Recorded histories from anywhere: our JSON Lines, our HAR, a browser's or proxy's HAR, the fake's journal.

Files may begin with a byte order mark, a HAR may be packed (`.har.zip`), and its bodies may stand in files of their own.
What a recording does not hold is marked as unseen, and no judge says anything about it.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kling_common.bodies import LAST_MOMENT, body_bytes, json_or_none
from kling_contract.history import har
from kling_contract.history.events import AnyEvent, ClockMove, HistoryError, Moment, Recorder, events_in
from kling_contract.reading.foreign import Loose, events_of
from kling_contract.reading.opening import LARGEST_BESIDE, MOST_EVENTS, Attached, check_count, opened, too_many

_BODILESS = ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")
_EMPTY = (204, 304)
_LARGEST_NUMBER = 2**53
_PORTS = {"http": 80, "https": 443}
_MARK = re.compile(
    r"[\[<({*]*\s*(\*+|[x•·.…_-]{3,}|(value[ _-])?"
    r"(redacted|removed|hidden|filtered|masked|saniti[sz]ed|stripped|secret|omitted)([ _-]\w+)*)?\s*[\]>)}*]*",
    re.IGNORECASE,
)
"""What tools write where a credential stood."""
_SCHEME = re.compile(r"(bearer|basic|token|digest|api-?key)?", re.IGNORECASE)
"""A scheme, behind which a tool cut the credential off, or nothing at all."""


def read(path: Path) -> list[AnyEvent]:
    """Return the events of a recording, whichever of the formats it is in.

    Raises:
        HistoryError: it is not one of them; one line that names the file. OSError: *path* cannot be read.
    """
    data, attached = opened(path)
    head = data.lstrip()[:1]
    if not head:
        raise HistoryError(f"{path}: empty")
    document = json_or_none(data) if head in b"{[" else None
    if isinstance(document, dict) and isinstance(document.get("log"), dict):
        return _located(path, partial(_from_log, attached=attached), document["log"], data)
    if isinstance(document, dict) and isinstance(document.get("entries"), list):
        return _located(path, _from_journal, document["entries"], data)
    if (lines := data.count(b"\n")) > MOST_EVENTS:
        raise HistoryError(f"{path}: {too_many(lines)}")
    return events_in(data, str(path))


def _located(path: Path, reader: Any, document: Any, data: bytes) -> list[AnyEvent]:
    """Read *document*; whatever is wrong with it becomes one line. The salt comes from the file, so that a file always
    gives the same history."""
    recorder = Recorder(salt=hashlib.sha256(data).digest(), clock=lambda: Moment(0.0))
    try:
        events: list[AnyEvent] = reader(document, recorder)
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise HistoryError(f"{path}: not a recording that can be read: {error!r}"[:300]) from error
    return events


def _why_lost(entry: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    """Return what a tool says of a call without an answer: ours in the entry, a browser's in the response."""
    said = (entry.get("_fault"), entry.get("_error"), response.get("_error"), response.get("_failureText"))
    return next((str(text) for text in said if text), "")


def _from_log(log: Mapping[str, Any], recorder: Recorder, attached: Attached) -> list[AnyEvent]:
    if not isinstance(log.get("entries"), list):
        raise HistoryError("a HAR without log.entries; export it again with its requests")
    check_count(len(log["entries"]) + len(log.get("_events") or log.get("_clock") or ()))
    if har.is_own(log):
        return har.own_events(log)
    entries = [_of_har(entry, attached) for entry in log["entries"]]
    return events_of([*entries, *_moves(log.get("_clock") or ())], recorder)


def _of_har(entry: Mapping[str, Any], attached: Attached) -> Loose:
    request, response = entry["request"], entry.get("response") or {}
    at, status = _number(entry.get("_at")), _whole(response.get("status"))
    content = response.get("content") or {}
    return Loose(
        at=at if at is not None else har.moment_of(entry["startedDateTime"]),
        seconds=_seconds(entry.get("time")) / 1000,
        method=str(request["method"]),
        url=_usual(str(request["url"])),
        sent=[pair for pair in _pairs(request.get("headers")) if not _is_blotted(*pair)],
        body=_kept(
            _full(har.bytes_of(request.get("postData"), attached), request.get("bodySize")),
            str(request["method"]).upper() in _BODILESS,
        ),
        status=status,
        headers=_pairs(response.get("headers")),
        content=_kept(_full(_decoded(har.bytes_of(content, attached)), content.get("size")), status in _EMPTY),
        size=_whole(content.get("size")),
        kind=str(entry.get("_kind") or ""),
        account=str(entry.get("_account") or ""),
        lost=_why_lost(entry, response),
        ended=_number(entry.get("_ended")),
        resent=str(entry.get("_task_id") or "") if entry.get("_resent") else "",
    )


def _usual(url: str) -> str:
    """Return *url* as clients and servers write it: scheme and host in small letters, without the scheme's own port."""
    try:
        parts = urlsplit(url)
        usual = parts.port is None or parts.port == _PORTS.get(parts.scheme)
    except ValueError:
        return url
    if not parts.hostname or "@" in parts.netloc:
        return url
    host = parts.netloc.lower().removesuffix(f":{parts.port}") if usual else parts.netloc.lower()
    return parts._replace(netloc=host).geturl()


def _is_blotted(name: str, value: str) -> bool:
    """Whether a tool wrote a mark in the place of the whole credential, scheme and all, or left the scheme alone."""
    said = value.strip()
    blotted = _MARK.fullmatch(said) is not None or _SCHEME.fullmatch(said) is not None
    return blotted and name.lower() in ("authorization", "proxy-authorization")


def _decoded(body: bytes | None) -> bytes | None:
    """Return a body that a tool kept as it was packed on the wire unpacked; one that cannot be stays as it is."""
    if body is None or not body.startswith(b"\x1f\x8b"):
        return body
    try:
        unpacker = zlib.decompressobj(wbits=31)
        found = unpacker.decompress(body, LARGEST_BESIDE)
    except zlib.error:
        return body
    return body if unpacker.unconsumed_tail else found


def _full(body: bytes | None, size: Any) -> bytes | None:
    """Return a body; None for an empty one of which the tool says that it was not, or does not know."""
    return None if body == b"" and size not in (0, "0") else body


def _kept(body: bytes | None, is_empty: bool) -> bytes | None:
    """Return a body: an empty one where there can be none, None where there must have been one that was not kept."""
    return b"" if body is None and is_empty else body


def _number(value: Any) -> float | None:
    """Return a moment or a span of the account's clock; None where there is none, or none that a clock could show."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LAST_MOMENT
    return float(value) if is_one else None


def _moment(value: Any) -> float:
    found = _number(value)
    if found is None:
        raise HistoryError(f"{value!r:.40} is no moment")
    return found


def _seconds(value: Any) -> float:
    """Return how long something took; tools write -1 for what they do not know."""
    return min(max(float(value or 0), 0.0), LAST_MOMENT)


def _whole(value: Any) -> int:
    """Return a status or a size; tools write -1 for what they do not know."""
    return min(max(int(value or 0), 0), _LARGEST_NUMBER)


def _from_journal(entries: list[Mapping[str, Any]], recorder: Recorder) -> list[AnyEvent]:
    """The fake's own journal: entries with a request are calls, those of kind `clock` are moves, others are skipped."""
    check_count(len(entries))
    calls = [_of_journal(entry) for entry in entries if isinstance(entry.get("request"), dict)]
    return events_of([*calls, *_moves(entry for entry in entries if entry.get("kind") == "clock")], recorder)


def _of_journal(entry: Mapping[str, Any]) -> Loose:
    request, response = entry["request"], entry.get("response") or {}
    content, sent = body_bytes(response.get("body")), _pairs(request.get("headers"))
    size = _whole(entry.get("body_bytes")) or len(content)
    return Loose(
        at=_moment(entry["at"]),
        seconds=_seconds(entry.get("seconds")),
        method=str(request["method"]),
        url=_absolute(str(request["url"]), sent),
        sent=sent,
        body=body_bytes(request.get("body")),
        status=_whole(response.get("status")),
        headers=_pairs(response.get("headers")),
        content=content if len(content) == size or entry.get("kind") != "download" else None,
        size=size,
        kind=str(entry.get("kind") or ""),
        account=str(entry.get("account") or ""),
        lost=str(entry.get("fault") or ""),
        ended=_number(entry.get("ended")),
        resent=str(entry.get("task_id") or "") if entry.get("resent") else "",
    )


def _absolute(url: str, sent: Iterable[tuple[str, str]]) -> str:
    """Return a URL with the host that the request named; a journal has the path alone."""
    host = next((value for name, value in sent if name.lower() == "host"), "")
    return f"http://{host}{url}" if host and url.startswith("/") and not urlsplit(url).netloc else url


def _moves(entries: Iterable[Mapping[str, Any]]) -> list[ClockMove]:
    """Return the moves of clocks; a clock that is advanced before it was set was manual from the start."""
    found: list[ClockMove] = []
    known: set[str] = set()
    for entry in entries:
        who, at, ahead = str(entry.get("account") or ""), _moment(entry["at"]), _number(entry.get("seconds"))
        if ahead is not None and who not in known:
            found.append(ClockMove(mode="manual", who=who))
        known.add(who)
        before = next((one for name in ("before", "from") if (one := _number(entry.get(name))) is not None), None)
        after = next((one for name in ("after", "to") if (one := _number(entry.get(name))) is not None), at)
        mode = entry.get("mode", "manual")
        if mode not in ("real", "scaled", "manual"):
            raise HistoryError(f"mode: {mode!r} is not real, scaled or manual")
        rate = _number(entry.get("rate")) or 1.0
        before = at - (ahead or 0.0) if before is None else before
        found.append(ClockMove(at=at, mode=mode, rate=rate, before=before, after=after, who=who))
    return found


def _pairs(headers: Any) -> list[tuple[str, str]]:
    if isinstance(headers, Mapping):
        return [(str(name), str(value)) for name, value in headers.items()]
    return [(str(item["name"]), str(item.get("value", ""))) for item in headers or ()]
