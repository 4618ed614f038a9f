"""The fake's journal as events of a case: what the server saw, and whether its answer got out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from kling_common.bodies import body_bytes
from kling_contract.history.events import AnyEvent, Callback, Download, Exchange, Recorder

_LOST = {"cut": "cut", "silent": "timeout", "short": "cut", "endless": "endless"}
_UNSENT = ("refused", "dns", "blocked")
"""Outcomes of an attempt that reached no receiver."""

Entry = Mapping[str, Any]


class Reader:
    """Turns entries into events. origin: where the API is; links: where downloads are; began: the wall time at which the
    recorder's own clock began."""

    def __init__(self, recorder: Recorder, *, origin: str, links: str, began: float) -> None:
        self._recorder, self._origin, self._links, self._began = recorder, origin, links, began

    def events(self, entries: Iterable[Entry], *, case: str, key: str) -> list[AnyEvent]:
        """The calls, downloads and attempts among *entries* of the account of *key*, or of none where *key* is empty."""
        found = (self._event(entry, case, key) for entry in entries if isinstance(entry.get("request"), dict))
        return [event for event in found if event is not None]

    def _event(self, entry: Entry, case: str, key: str) -> AnyEvent | None:
        kind = entry.get("kind")
        own = f"key-{str(entry.get('account') or '')[:8]}" if key and entry.get("account") else ""
        request = _restored(entry["request"], own, key) if own else entry["request"]
        response, times = entry.get("response"), self._times(entry)
        headers = [(str(name), str(value)) for name, value in (request.get("headers") or {}).items()]
        sent = self._recorder.message(headers, body_bytes(request.get("body")))
        if kind == "exchange":
            answer = (
                self._recorder.answer(response["status"], _pairs(response), body_bytes(response["body"]))
                if response
                else None
            )
            return Exchange(
                method=request["method"], url=self._origin + request["url"], request=sent, answer=answer, lost=_lost(entry),
                case=case, who=key, **times,
            )  # fmt: skip
        if kind == "download":
            return self._download({**entry, "request": request}, headers, case, key, times)
        if kind == "attempt" and entry.get("outcome") not in _UNSENT:
            answer = self._recorder.answer(response["status"], (), b"") if response else None
            return Callback(
                method="POST", url=request["url"], request=sent, answer=answer, ended="answered" if answer else "gone",
                case=case, who=key, **times,
            )  # fmt: skip
        return None

    def _times(self, entry: Entry) -> dict[str, Any]:
        at, seconds = float(entry["at"]), float(entry.get("seconds") or 0.0)
        mono = max(at - self._began, 1e-6)
        return {"at": at, "mono": mono, "ended_at": at + seconds, "ended_mono": mono + seconds}

    def _download(
        self, entry: Entry, headers: list[tuple[str, str]], case: str, key: str, times: dict[str, Any]
    ) -> Download:
        named = {name.lower(): value for name, value in headers}
        response = entry.get("response") or {}
        return Download(
            url=self._links + entry["request"]["url"], asked_range=named.get("range", ""), status=response.get("status"),
            headers=self._recorder.mask.headers(_pairs(response)), size=int(entry.get("body_bytes") or 0), lost=_lost(entry),
            who=key if "authorization" in named else "", case=case, **times,
        )  # fmt: skip


def _restored(request: Entry, own: str, key: str) -> Entry:
    """*request* with the account's own key where the journal has *own*, its pseudonym: the beginning of the account's name."""
    restored: Entry = orjson.loads(orjson.dumps(request).decode().replace(own, key))
    return restored


def _pairs(response: Entry | None) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in ((response or {}).get("headers") or {}).items()]


def _lost(entry: Entry) -> str:
    """Why the answer did not get out, or not whole."""
    fault = str(entry.get("fault") or "").partition(" ")[0]
    return _LOST.get(fault, "")


def carries(entry: Entry, account: str) -> bool:
    """Whether a call that belongs to no account carries that account's key, as the journal masks it."""
    value = str((entry["request"].get("headers") or {}).get("authorization", "")) if entry.get("request") else ""
    return entry["account"] is None and bool(account) and value.endswith(f"key-{account[:8]}")


def hooked(events: Sequence[AnyEvent]) -> bool:
    """Whether a create named a callback, or a callback arrived."""
    creates = (
        event.request.body.text or "" for event in events if isinstance(event, Exchange) and event.method == "POST"
    )
    return any('"callback_url"' in text for text in creates) or any(isinstance(event, Callback) for event in events)
