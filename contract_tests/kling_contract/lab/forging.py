"""Callbacks that the kit sends itself: what an attacker who has guessed the URL might send."""

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from kling_contract.driving.sender import Limits, Sender
from kling_contract.driving.target import made_up_id
from kling_contract.history.events import AnyEvent, Callback, Recorder
from kling_contract.rules.case_facts import Forgery

_HUGE = 2 << 20
_TICK = 0.03


class Forger:
    """Sends forged callbacks of one case to its client.

    relay: where the client really listens, given once it is known; task: a body of the case's task, as the fake would show it.
    """

    def __init__(self, recorder: Recorder, wire: Sender, *, case: str, url: str, seconds: float) -> None:
        self._recorder, self._wire, self._case, self._url, self._seconds = recorder, wire, case, url, seconds

    def send(self, kinds: Iterable[Forgery], origin: str, task: dict[str, Any], elsewhere: str) -> list[AnyEvent]:
        """Send each of *kinds* to *origin*; return the attempts."""
        return [self._post(kind, origin, task, elsewhere) for kind in kinds]

    def _post(self, kind: Forgery, origin: str, task: dict[str, Any], elsewhere: str) -> Callback:
        body = _body(kind, task, elsewhere)
        method = "GET" if kind == "get" else "POST"
        path = "/" + self._url.partition("://")[2].partition("/")[2]
        headers = [("Host", self._url.partition("://")[2].partition("/")[0]), ("User-Agent", "kling-contract")]
        if body:
            headers.append(("Content-Type", "application/json"))
        mono, at = self._recorder.mono(), self._recorder.clock().at
        reply = self._wire.send(method, origin + path, headers, body or None, Limits(self._seconds))
        answer = None if reply.status is None else self._recorder.answer(reply.status, reply.headers, reply.body)
        return Callback(
            method=method, url=self._url, request=self._recorder.message(headers, body), answer=answer, case=self._case,
            ended="answered" if answer else "cut" if reply.lost == "cut" else "gone", mono=mono, at=at,
            ended_mono=self._recorder.mono(), ended_at=self._recorder.clock().at,
        )  # fmt: skip


def _body(kind: Forgery, task: dict[str, Any], elsewhere: str) -> bytes:
    done = {**task, "status": "completed", "progress": 100, "results": [elsewhere]}
    match kind:
        case "unknown-id":
            return orjson.dumps({**done, "id": made_up_id()})
        case "huge":
            return orjson.dumps({**done, "padding": "x" * _HUGE})
        case "not-json":
            return b"<html>the task is finished</html>"
        case "early":
            return orjson.dumps(done)
        case _:
            return b""


def wait_for(found: Callable[[], Any], stop: threading.Event) -> Any:
    """What *found* answers as soon as it answers something; None once *stop* is set."""
    while not stop.is_set():
        answer = found()
        if answer:
            return answer
        stop.wait(_TICK)
    return None


def listens(origin: str) -> bool:
    """Return whether connections are taken at *origin*."""
    host, _, port = origin.partition("://")[2].partition("/")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 0.5):
            return True
    except (OSError, ValueError):
        return False
