"""Servers that break rules of the callback (SC)."""

import socket
from contextlib import suppress
from dataclasses import replace

from kling_contract.mutants.messages import (
    DROP,
    CallbackPost,
    Known,
    Memory,
    ReceiverResponse,
    Request,
    Response,
    tasks_in,
    with_header,
)
from kling_contract.mutants.mutant import Deliver, Switch, broken
from kling_contract.mutants.switches import (
    CALLBACK,
    READ,
    Task,
    alters,
    balance,
    follows,
    is_,
    mistakes,
    setting,
    shows,
    swallows,
    tell,
    tells,
)  # fmt: skip
from kling_contract.reading.addresses import parts_of
from kling_contract.reading.contract import shipped

_NO_TASK = shipped().task_path(shipped().unused_id("zzzzzzzz"))
_DELIVERY = "paths/~v1~videos~generations/post/callbacks/taskFinished/{$request.body#~callback_url}/post/x-delivery"
_DELAYS = f"{_DELIVERY}/retry_delays_seconds"
_TIMEOUT = f"{_DELIVERY}/timeout_seconds"


def _cancelled(task: Task, _: Known) -> bool:
    return (task.get("error") or {}).get("code") == "request_cancelled"


def _failed(task: Task, known: Known) -> bool:
    return task["status"] == "failed" and not _cancelled(task, known)


def _early() -> Switch:
    """The receiver is called as soon as the create was answered, and once more at the end."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        url = str(ask.sent.get("callback_url") or "")
        for task in tasks_in(ask, answer) if ask.name == "createVideo" and url else ():
            tell(memory, ask.key, url, task)
        return answer

    return Switch(on_response=on_response)


def _twice(telling: CallbackPost, deliver: Deliver, _: Memory) -> ReceiverResponse:
    reply = deliver(telling)
    if reply.delivered:
        deliver(telling)
    return reply


def _follows(telling: CallbackPost, deliver: Deliver, _: Memory) -> ReceiverResponse:
    """A redirect is looked into, as a library does by itself; the attempt has failed all the same."""
    reply = deliver(telling)
    if reply.location:
        parts = parts_of(reply.location)
        deliver(CallbackPost("GET", parts.path or "/", with_header(telling.headers, "Content-Length", "0"), b""))
    return reply


def _lands(telling: CallbackPost, deliver: Deliver, _: Memory) -> ReceiverResponse:
    """A redirect is followed with the same body, and what answers there decides."""
    reply = deliver(telling)
    return deliver(replace(telling, target=parts_of(reply.location).path)) if reply.location else reply


def _signed(telling: CallbackPost, deliver: Deliver, memory: Memory) -> ReceiverResponse:
    key = memory.task(telling.task["id"]).key if telling.task else ""
    return deliver(replace(telling, headers=with_header(telling.headers, "Authorization", f"Bearer {key}")))


def _counted(telling: CallbackPost, deliver: Deliver, memory: Memory) -> ReceiverResponse:
    """Attempts and failures of each task are counted."""
    if not telling.task:
        return deliver(telling)
    known = memory.task(telling.task["id"])
    memory.count(known, "attempts")
    reply = deliver(telling)
    if not reply.delivered:
        memory.count(known, "failures")
    return reply


_counting = Switch(on_callback=_counted)


def _second_differs(task: Task, known: Known) -> None:
    known.seen["bodies"] += 1
    task["usage"]["user_group"] = f"attempt-{known.seen['bodies']}"


def _tried_again(_: Task, known: Known) -> bool:
    return known.seen["attempts"] > 1


def _unasked() -> Switch:
    """A task that finished without a callback URL is announced at the account's last one."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        for task in tasks_in(ask, answer) if ask.name == "getTask" else ():
            known = memory.task(task["id"])
            over = task["status"] in ("completed", "failed") and "callback_url" not in known.sent
            if over and memory.count(known, "over") == 1:
                tell(memory, ask.key, "https://hooks.example.com/unasked", task)
        return answer

    return Switch(on_response=on_response)


def _unsettled() -> tuple[Switch, ...]:
    """While a callback is on its way, the balance still has a fee in it that the end gives back."""

    def on_callback(telling: CallbackPost, deliver: Deliver, memory: Memory) -> ReceiverResponse:
        known = memory.account(memory.task(telling.task["id"]).key) if telling.task else Known()
        known.seen["telling"] += 1
        try:
            return deliver(telling)
        finally:
            known.seen["telling"] -= 1

    return Switch(on_callback=on_callback), balance(lambda left, known: left - 5 * (known.seen["telling"] > 0))


def _rebound() -> Switch:
    """When a task is cancelled, its callback goes wherever the name leads by now."""

    def on_request(ask: Request, memory: Memory) -> Request:
        if ask.path == "/__mock/names":
            memory.account(ask.key).kept["names"] = ask.sent
        if ask.path.endswith("/cancel"):
            url = str(memory.task(ask.path.split("/")[-2]).sent.get("callback_url") or "")
            parts = parts_of(url)
            for address in memory.account(ask.key).kept.get("names", {}).get(parts.hostname, ()):
                with suppress(OSError), socket.create_connection((address, parts.port or 443), timeout=2.0) as sock:
                    sock.sendall(b"hello")
        return ask

    return Switch(on_request=on_request)


def _forgotten() -> Switch:
    """A task whose callback failed for good cannot be found any more."""

    def on_request(ask: Request, memory: Memory) -> Request:
        if ask.name == "getTask" and ask.task_id in memory.tasks and memory.task(ask.task_id).seen["failures"] > 3:
            return replace(ask, target=_NO_TASK)
        return ask

    return Switch(on_request=on_request)


def _as(status: int, *given: int) -> Switch:
    """Answers with one of the *given* statuses count as *status*; 0 when there was none."""
    return mistakes(lambda reply: ReceiverResponse.of(status) if reply.status in given else reply)


_SLOW = ("callback-slow",)

MUTANTS = (
    broken("SC-01", "silent-on-completion", "sends no callback for a completed task", swallows(is_("completed"))),
    broken("SC-02", "silent-on-failure", "sends no callback for a failed task", swallows(_failed)),
    broken("SC-03", "told-at-create", "sends a callback as soon as a task is made", _early()),
    broken("SC-03", "callback-says-processing", "tells of a task that is still processing",
           shows(setting(status="processing", results=DROP, result_data=DROP), at=(CALLBACK,), when=is_("completed"))),
    broken("SC-04", "callback-by-put", "sends callbacks with PUT", tells(lambda _: True, lambda each: replace(each, method="PUT"))),
    broken("SC-04", "callback-as-text", "sends callbacks as text",
           tells(lambda _: True, lambda each: replace(each, headers=with_header(each.headers, "Content-Type", "text/plain")))),
    broken("SC-05", "callback-without-usage", "leaves usage out of callbacks", shows(setting(usage=DROP), at=(CALLBACK,))),
    broken("SC-05", "callback-contradicts", "tells of a failure when the task completed", follows("callback-contradicts")),
    broken("SC-06", "told-twice", "sends each callback again although it was taken", Switch(on_callback=_twice)),
    broken("SC-07", "one-retry-more", "tries once more than it should", alters(_DELAYS, lambda delays: [*delays, 2 * delays[-1]])),
    broken("SC-08", "retries-too-soon", "waits half as long before each retry",
           alters(_DELAYS, lambda delays: [each / 2 for each in delays])),
    broken("SC-09", "retries-too-late", "waits three times as long before each retry",
           alters(_DELAYS, lambda delays: [3 * each for each in delays]), masked_by="SC-24"),
    broken("SC-10", "half-the-patience", "waits half as long for an answer", alters(_TIMEOUT, lambda seconds: seconds / 2), scripts=_SLOW),
    broken("SC-11", "twice-the-patience", "waits twice as long for an answer", alters(_TIMEOUT, lambda seconds: seconds * 2),
           scripts=_SLOW),
    broken("SC-12", "redirect-looked-into", "asks where a redirect leads", Switch(on_callback=_follows)),
    broken("SC-12", "redirect-followed", "delivers where a redirect leads", Switch(on_callback=_lands), masked_by="SC-22"),
    broken("SC-13", "attempts-differ", "writes each attempt anew", shows(_second_differs, at=(CALLBACK,)), masked_by="SC-05"),
    broken("SC-14", "key-in-callback", "sends the account's key with callbacks", Switch(on_callback=_signed)),
    broken("SC-15", "query-cut-off", "drops the query of a callback URL",
           tells(lambda each: "?" in each.target, lambda each: replace(each, target=each.target.partition("?")[0]))),
    broken("SC-15", "query-spelt-anew", "decodes a callback URL and encodes it again",
           tells(lambda each: "%" in each.target, lambda each: replace(each, target=each.target.replace("%20", "+").replace("%2F", "/")))),
    broken("SC-16", "name-looked-up-again", "connects to wherever a callback's host leads by then", _rebound()),
    broken("SC-16", "local-callbacks", "calls internal addresses", Switch(settings={"callbacks": "local"}), scripts=("callback-rebound",)),
    broken("SC-17", "told-unasked", "tells of a task without callback URL at another task's one", _unasked()),
    broken("SC-18", "failure-has-a-price", "puts an account into another group when its receiver fails twice",
           _counting, shows(setting(usage__user_group="penalised"), at=(READ, CALLBACK), when=_tried_again)),
    broken("SC-19", "told-before-settled", "tells before the charge is settled", *_unsettled()),
    broken("SC-20", "silent-on-cancel", "sends no callback for a cancelled task", swallows(_cancelled)),
    broken("SC-21", "only-200-counts", "takes 204 for a failure", _as(500, 204)),
    broken("SC-21", "201-is-no-yes", "takes 201 and 202 for failures", _as(500, 201, 202)),
    broken("SC-22", "404-counts", "takes 404 for delivered", _as(200, 404)),
    broken("SC-22", "304-counts", "takes a 3xx for delivered", _as(200, 302, 304)),
    broken("SC-22", "cut-counts", "takes a cut connection for delivered", _as(200, 0)),
    broken("SC-23", "forgotten-after-failures", "forgets a task after the last failure of its callback", _counting, _forgotten()),
    broken("SC-24", "retries-half-late", "waits half a second longer before each retry",
           alters(_DELAYS, lambda delays: [each + 0.5 for each in delays])),
)  # fmt: skip
