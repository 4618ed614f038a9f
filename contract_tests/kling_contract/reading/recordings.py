"""Recorded histories from anywhere: our JSON Lines, our HAR, a browser's or proxy's HAR, the fake's journal.

In a foreign recording exchanges are known by their path, callbacks by being marked or by a task posted to another host, and
downloads by their link having been seen in a result. Everything else in the file is left out.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kling_common.bodies import body_bytes, json_or_none
from kling_contract.history import har
from kling_contract.history.events import (
    AnyEvent,
    Callback,
    ClockMove,
    Download,
    Exchange,
    HistoryError,
    Moment,
    Recorder,
    from_json,
    read_jsonl,
)  # fmt: skip
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.contract import Contract, shipped

_FETCHES = {"download", "link", "fetch"}
_POSTS = {"callback", "attempt", "delivery"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loose:
    """One request of a foreign file, whatever kind of event it is."""

    at: float
    seconds: float
    method: str
    url: str
    sent: list[tuple[str, str]]
    body: bytes
    status: int
    headers: list[tuple[str, str]]
    content: bytes
    size: int
    kind: str = ""
    account: str = ""
    lost: str = ""


def read(path: Path) -> list[AnyEvent]:
    """The events of a recording, whichever of the formats it is in.

    Raises:
        HistoryError: it is not one of them; one line that names the file. OSError: *path* cannot be read.
    """
    data = path.read_bytes()
    head = data.lstrip()[:1]
    if not head:
        raise HistoryError(f"{path}: empty")
    document = json_or_none(data) if head in b"{[" else None
    if isinstance(document, dict) and isinstance(document.get("log"), dict):
        return _located(path, _from_log, document["log"], data)
    if isinstance(document, dict) and isinstance(document.get("entries"), list):
        return _located(path, _from_journal, document["entries"], data)
    return read_jsonl(path)


def _located(path: Path, reader: Any, document: Any, data: bytes) -> list[AnyEvent]:
    """Read *document*; whatever is wrong with it becomes one line. The salt comes from the file, so that a file always
    gives the same history."""
    recorder = Recorder(salt=hashlib.sha256(data).digest(), clock=lambda: Moment(0.0))
    try:
        events: list[AnyEvent] = reader(document, recorder)
    except (HistoryError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise HistoryError(f"{path}: not a recording that can be read: {error!r}"[:300]) from error
    return events


def _from_log(log: Mapping[str, Any], recorder: Recorder) -> list[AnyEvent]:
    if har.is_own(log):
        return har.own_events(log)
    return _events([_loose(entry) for entry in log["entries"]], recorder)


def _loose(entry: Mapping[str, Any]) -> _Loose:
    request, response = entry["request"], entry["response"]
    at = entry.get("_at")
    return _Loose(
        at=float(at) if isinstance(at, int | float) else har.moment_of(entry["startedDateTime"]),
        seconds=max(float(entry.get("time") or 0), 0) / 1000,
        method=str(request["method"]),
        url=str(request["url"]),
        sent=_pairs(request.get("headers")),
        body=har.bytes_of(request.get("postData")),
        status=int(response.get("status") or 0),
        headers=_pairs(response.get("headers")),
        content=har.bytes_of(response.get("content")),
        size=int((response.get("content") or {}).get("size") or 0),
        kind=str(entry.get("_kind") or ""),
        account=str(entry.get("_account") or ""),
        lost=str(entry.get("_fault") or entry.get("_error") or ""),
    )


def _from_journal(entries: list[Mapping[str, Any]], recorder: Recorder) -> list[AnyEvent]:
    """The fake's own journal: entries with a request are calls, those of kind `clock` are moves, others are skipped."""
    loose: list[_Loose | ClockMove] = []
    for entry in entries:
        if isinstance(entry.get("request"), dict):
            loose.append(_loose_journal(entry))
        elif entry.get("kind") == "clock":
            loose.append(_move(entry))
    return _events(loose, recorder)


def _move(entry: Mapping[str, Any]) -> ClockMove:
    names = ("mode", "rate", "before", "after", "from", "to")
    given = {name: entry[name] for name in names if name in entry}
    before, after = given.pop("from", None), given.pop("to", None)
    at = float(entry["at"])
    found = {"before": at if before is None else before, "after": at if after is None else after, **given}
    event = from_json({"kind": "clock", "at": at, **found})
    assert isinstance(event, ClockMove)
    return event


def _loose_journal(entry: Mapping[str, Any]) -> _Loose:
    request, response = entry["request"], entry.get("response") or {}
    content = body_bytes(response.get("body"))
    return _Loose(
        at=float(entry["at"]),
        seconds=float(entry.get("seconds") or 0),
        method=str(request["method"]),
        url=str(request["url"]),
        sent=_pairs(request.get("headers")),
        body=body_bytes(request.get("body")),
        status=int(response.get("status") or 0),
        headers=_pairs(response.get("headers")),
        content=content,
        size=int(entry.get("body_bytes") or len(content)),
        kind=str(entry.get("kind") or ""),
        account=str(entry.get("account") or ""),
        lost=str(entry.get("fault") or ""),
    )


def _pairs(headers: Any) -> list[tuple[str, str]]:
    if isinstance(headers, Mapping):
        return [(str(name), str(value)) for name, value in headers.items()]
    return [(str(item["name"]), str(item.get("value", ""))) for item in headers or ()]


def _events(found: list[_Loose | ClockMove] | list[_Loose], recorder: Recorder) -> list[AnyEvent]:
    """The events of a foreign recording in the order in which they began."""
    ordered = sorted(found, key=lambda item: item.at)
    start = ordered[0].at if ordered else 0.0
    contract, links = shipped(), set[str]()
    for item in ordered:  # first, so that a key is known wherever it stands, echoed before it was sent included
        if isinstance(item, _Loose):
            recorder.mask.learn_from(item.sent)
    for item in ordered:
        # mono may not be zero: the recorder would take it for "not given".
        mono = item.at - start + 1e-6
        if isinstance(item, ClockMove):
            recorder.add(item)
            continue
        event = _event(item, mono, contract, links, recorder)
        if event is not None:
            recorder.add(event)
            links.update(_links(event))
    return list(recorder.events)


def _event(
    item: _Loose, mono: float, contract: Contract, links: set[str], recorder: Recorder
) -> Exchange | Callback | Download | None:
    times: dict[str, Any] = {"at": item.at, "mono": mono, "ended_at": item.at + item.seconds}
    times["ended_mono"] = mono + item.seconds
    answered = recorder.answer(item.status, item.headers, item.content) if item.status else None
    sent = recorder.message(item.sent, item.body)
    if item.kind in _FETCHES or (item.method == "GET" and item.url in links):
        return _download(item, times, recorder)
    if item.kind in _POSTS or _is_callback(item, contract):
        times["ended"] = "answered" if answered else "gone"
        return Callback(method=item.method, url=item.url, request=sent, answer=answered, **times)
    if not contract.routes(parts_of(item.url).path):
        return None
    who = _account(item, recorder)
    lost = "" if answered else item.lost or "no answer"
    return Exchange(method=item.method, url=item.url, request=sent, answer=answered, lost=lost, who=who, **times)


def _account(item: _Loose, recorder: Recorder) -> str:
    """The recording's own name of the account, where it has one: its credentials may have been blotted out."""
    return recorder.mask.token(item.account) if item.account else ""


def _download(item: _Loose, times: dict[str, Any], recorder: Recorder) -> Download:
    asked = next((value for name, value in item.sent if name.lower() == "range"), "")
    complete = item.content if len(item.content) == item.size else b""
    return Download(
        url=item.url,
        asked_range=asked,
        status=item.status or None,
        headers=recorder.mask.headers(item.headers),
        size=item.size,
        sha256=hashlib.sha256(complete).hexdigest() if complete else "",
        lost="" if item.status else item.lost or "no answer",
        who=recorder.mask.who(item.sent),
        **times,
    )


def _is_callback(item: _Loose, contract: Contract) -> bool:
    if item.method != "POST" or contract.routes(parts_of(item.url).path):
        return False
    task = json_or_none(item.body)
    return isinstance(task, dict) and bool(contract.task_id_pattern.match(str(task.get("id", "")))) and "status" in task


def _links(event: Exchange | Callback | Download) -> Iterator[str]:
    if isinstance(event, Download) or event.answer is None:
        return
    body = json_or_none(event.answer.body.content)
    tasks = body.get("data") if isinstance(body, dict) and isinstance(body.get("data"), list) else [body]
    for task in tasks or ():
        results = task.get("results") if isinstance(task, dict) else None
        yield from (str(link) for link in results or ())
