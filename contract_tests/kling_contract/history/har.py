"""A history as HAR 1.2: ours both ways without loss, a browser's, a proxy's or the fake's journal as far as they go.

What HAR has no place for stands in members that begin with an underscore, as the format asks: `_event` in an entry
(our event without its bodies) and `_events` in the log (clock moves, balances, notes).
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from kling_common.bodies import iso
from kling_common.masking import header
from kling_contract.history.events import (
    AnyEvent,
    Callback,
    Download,
    Exchange,
    HistoryError,
    Message,
    from_json,
    to_json,
)

Json = dict[str, Any]


def to_har(events: Iterable[AnyEvent]) -> Json:
    """*events* as a HAR log."""
    entries, others = [], []
    for event in events:
        if isinstance(event, Exchange | Callback | Download):
            entries.append(_entry(event))
        else:
            others.append(to_json(event))
    creator = {"name": "kling-contract", "version": "1"}
    return {"log": {"version": "1.2", "creator": creator, "entries": entries, "_events": others}}


def write_har(path: Path, events: Iterable[AnyEvent]) -> None:
    """Write *events* to *path* as HAR."""
    path.write_bytes(orjson.dumps(to_har(events), option=orjson.OPT_INDENT_2))


def own_events(log: Mapping[str, Any]) -> list[AnyEvent]:
    """The events of a log that `to_har` wrote, in their order.

    Raises:
        HistoryError: an `_event` is not an event.
    """
    documents = [_own(entry) for entry in log.get("entries", ()) if "_event" in entry]
    events = [from_json(document) for document in (*documents, *log.get("_events", ()))]
    return sorted(events, key=lambda event: event.seq)


def is_own(log: Mapping[str, Any]) -> bool:
    """Whether *log* was written by `to_har`."""
    return "_events" in log


def _own(entry: Mapping[str, Any]) -> Json:
    """The event's JSON with the bodies, which stand where HAR wants them, put back."""
    document: Json = orjson.loads(orjson.dumps(entry["_event"]))
    for member, har_body in (("request", entry["request"].get("postData")), ("answer", entry["response"]["content"])):
        message = document.get(member)
        if message and "body" in message and har_body is not None and "_kept" in har_body:
            message["body"][har_body["_kept"]] = har_body["text"]
    return document


def _entry(event: Exchange | Callback | Download) -> Json:
    document = to_json(event)
    posted = _take(document.get("request", {}).get("body"))
    content = _take(document.get("answer", {}).get("body"))
    milliseconds = round(max(event.ended_mono - event.mono, 0) * 1000, 3)
    return {
        "startedDateTime": iso(event.at),
        "time": milliseconds,
        "request": _request(event, posted),
        "response": _response(event, content),
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        "_event": document,
    }


def _request(event: Exchange | Callback | Download, posted: Json) -> Json:
    sent = Message() if isinstance(event, Download) else event.request
    mime = header(sent.headers, "content-type") or ""
    return {
        "method": "GET" if isinstance(event, Download) else event.method,
        "url": event.url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(sent.headers),
        "queryString": [{"name": name, "value": value} for name, value in _query(event.url)],
        **({"postData": {"mimeType": mime, **posted}} if posted else {}),
        "headersSize": -1,
        "bodySize": sent.body.size,
    }


def _response(event: Exchange | Callback | Download, content: Json) -> Json:
    if isinstance(event, Download):
        status, headers, size = event.status, event.headers, event.size
    elif event.answer is not None:
        status, headers, size = event.answer.status, event.answer.headers, event.answer.body.size
    else:
        status, headers, size = 0, (), 0
    return {
        "status": status or 0,
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(headers),
        "content": {"size": size, "mimeType": header(headers, "content-type") or "", **content},
        "redirectURL": header(headers, "location") or "",
        "headersSize": -1,
        "bodySize": -1,
    }


def _take(body: Json | None) -> Json:
    """Move the kept bytes out of a body's JSON into what HAR calls them."""
    if not body:
        return {}
    if "base64" in body:
        return {"text": body.pop("base64"), "encoding": "base64", "_kept": "base64"}
    return {"text": body.pop("text"), "_kept": "text"} if "text" in body else {}


def _pairs(headers: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in headers]


def _query(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return []


def moment_of(text: Any) -> float:
    """Unix seconds of a HAR date.

    Raises:
        HistoryError: *text* is not a moment.
    """
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError as error:
        raise HistoryError(f"startedDateTime: {text!r} is no date") from error


def bytes_of(content: Mapping[str, Any] | None, attached: Callable[[str], bytes | None]) -> bytes | None:
    """Return the body that a HAR `postData` or `content` holds; None where it holds none.

    JSON that a writer left unquoted is written out again. *attached* gives the bytes of a file that stands with the HAR.
    """
    text = (content or {}).get("text")
    if text is None:
        name = (content or {}).get("_file")
        if isinstance(name, str):
            return attached(name)
        params = (content or {}).get("params")
        return urlencode([(one["name"], one.get("value", "")) for one in params]).encode() if params else None
    if not isinstance(text, str):
        return orjson.dumps(text)
    if (content or {}).get("encoding") == "base64":
        try:
            return base64.b64decode(text)
        except ValueError:
            return text.encode(errors="replace")
    return text.encode(errors="replace")
