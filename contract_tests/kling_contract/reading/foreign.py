"""What others recorded, as events of ours.

Exchanges are known by their path, callbacks by being marked or by a task posted to another host, downloads by their link having been
seen in a result. Everything else is left out, a browser's preflights too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kling_common.bodies import json_or_none
from kling_common.masking import header
from kling_contract.history.events import AnyEvent, Body, Callback, ClockMove, Download, Exchange, Message, Recorder
from kling_contract.history.events import Response as Answered
from kling_contract.history.labels import Topic
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.contract import Contract, shipped

_FETCHES = {"download", "link", "fetch"}
_POSTS = {"callback", "attempt", "delivery"}
_UNSEEN = Body(unseen=True)
KEY_RULES = ("CQ-01", "CQ-02", "CQ-04")
"""Rules that look at the key."""
_NO_KEY = "the recording has no Authorization header anywhere: it was exported without credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loose:
    """One request of a foreign file, whatever kind of event it is. Bodies are None where the file does not hold them.

    ended: the moment (account's clock) at which it was over, where the file says so. resent: the task whose callback was asked
    for once more, by hand.
    """

    at: float
    seconds: float
    method: str
    url: str
    sent: list[tuple[str, str]]
    body: bytes | None
    status: int
    headers: list[tuple[str, str]]
    content: bytes | None
    size: int
    kind: str = ""
    account: str = ""
    lost: str = ""
    ended: float | None = None
    resent: str = ""


def events_of(found: Sequence[Loose | ClockMove], recorder: Recorder) -> list[AnyEvent]:
    """Return the events of a foreign recording in the order in which they began; what no key rule can be judged by is noted."""
    ordered = sorted(found, key=lambda item: item.at)
    start = min((item.at for item in ordered if isinstance(item, Loose)), default=0.0)
    contract, links = shipped(), set[str]()
    clocks: dict[str, ClockMove] = {}
    for item in ordered:
        if isinstance(item, Loose):
            recorder.mask.learn_from(item.sent)
    for item in ordered:
        if isinstance(item, ClockMove):
            clocks[item.who] = item
            recorder.add(replace(item, at=max(item.at, start), who=_token(item.who, recorder)))
            continue
        clock = clocks.get(item.account, clocks.get(""))
        event = _event(item, _times(item, start, clock), contract, links, recorder)
        if event is not None:
            recorder.add(event)
            links.update(_links(event))
        if item.resent:
            recorder.note(Topic.RESENT, task_id=item.resent)
    _note_missing_keys(recorder)
    return list(recorder.events)


def _note_missing_keys(recorder: Recorder) -> None:
    """Note that nothing can be said of keys where every one was taken out of the recording and calls were accepted all the same."""
    calls = [event for event in recorder.events if isinstance(event, Exchange) and event.answer is not None]
    keyed = any(header(call.request.headers, "authorization") for call in calls)
    if calls and not keyed and not any(call.answer and call.answer.status == 401 for call in calls):
        for rule in KEY_RULES:
            recorder.note(Topic.NOT_RUN, rule=rule, reason=_NO_KEY)


def _times(item: Loose, start: float, clock: ClockMove | None) -> dict[str, Any]:
    """Return when it began and ended: on a clock that stands still no time passes, on a scaled one more or less of it."""
    # mono may not be zero: the recorder would take it for "not given".
    mono = item.at - start + 1e-6
    rate = {"manual": 0.0, "scaled": clock.rate}.get(clock.mode, 1.0) if clock is not None else 1.0
    ended = item.at + item.seconds * rate if item.ended is None else item.ended
    return {"at": item.at, "mono": mono, "ended_at": ended, "ended_mono": mono + item.seconds}


def _event(
    item: Loose, times: dict[str, Any], contract: Contract, links: set[str], recorder: Recorder
) -> Exchange | Callback | Download | None:
    answered = _answered(item, recorder) if item.status else None
    sent = recorder.message(item.sent, item.body or b"")
    sent = replace(sent, body=_UNSEEN) if item.body is None else sent
    if item.kind in _FETCHES or (item.method == "GET" and item.url in links):
        return _download(item, times, recorder)
    if item.kind in _POSTS or _is_callback(item, contract):
        return _callback(item, sent, answered, times)
    if item.method == "OPTIONS" or not contract.routes(parts_of(item.url).path):
        return None
    who = _token(item.account, recorder)
    lost = "" if answered else item.lost or "no answer"
    return Exchange(method=item.method, url=item.url, request=sent, answer=answered, lost=lost, who=who, **times)


def _answered(item: Loose, recorder: Recorder) -> Answered:
    found = recorder.answer(item.status, item.headers, item.content or b"")
    return replace(found, body=_UNSEEN) if item.content is None else found


def _callback(item: Loose, sent: Message, answered: Answered | None, times: dict[str, Any]) -> Callback:
    """Return an attempt. Where it had no answer, the recording does not say who ended it, so the sender is not blamed."""
    ended: Any = "answered" if answered else "cut"
    return Callback(method=item.method, url=item.url, request=sent, answer=answered, ended=ended, **times)


def _token(account: str, recorder: Recorder) -> str:
    """The recording's own name of the account, where it has one: its credentials may have been blotted out."""
    return recorder.mask.token(account) if account else ""


def _download(item: Loose, times: dict[str, Any], recorder: Recorder) -> Download:
    asked = next((value for name, value in item.sent if name.lower() == "range"), "")
    complete = item.content if item.content is not None and len(item.content) == item.size else b""
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


def _is_callback(item: Loose, contract: Contract) -> bool:
    if item.method != "POST" or contract.routes(parts_of(item.url).path):
        return False
    task = json_or_none(item.body or b"")
    return isinstance(task, dict) and bool(contract.task_id_pattern.match(str(task.get("id", "")))) and "status" in task


def _links(event: Exchange | Callback | Download) -> Iterator[str]:
    if isinstance(event, Download) or event.answer is None:
        return
    body = json_or_none(event.answer.body.content)
    tasks = body.get("data") if isinstance(body, dict) and isinstance(body.get("data"), list) else [body]
    for task in tasks or ():
        results = task.get("results") if isinstance(task, dict) else None
        yield from (str(link) for link in results) if isinstance(results, list) else ()
