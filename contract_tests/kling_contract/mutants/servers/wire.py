"""Servers that break rules of the wire (SW)."""

import re
from dataclasses import replace
from typing import Any

from kling_contract.mutants.messages import DROP, CallbackPost, Known, Memory, ReceiverResponse, Request, Response
from kling_contract.mutants.mutant import Deliver, Switch, broken
from kling_contract.mutants.switches import (
    CREATE,
    READ,
    answers,
    both,
    chosen,
    error,
    every,
    header,
    is_,
    merged,
    ok,
    setting,
    shows,
    status,
    status_was,
)  # fmt: skip
from kling_contract.reading.contract import shipped

_PREFIX = shipped().id.prefix
_ID = re.compile(_PREFIX.encode() + rb"([0-9]+)-([a-z0-9]{8})")
_SHOUTED = re.compile(_PREFIX + r"([0-9]+)-([A-Z0-9]{8})")


def _of_service(ask: Request, _: Response) -> bool:
    return ask.path.startswith(shipped().root)


def _shouted(body: bytes) -> bytes:
    return _ID.sub(lambda found: found[0][: len(_PREFIX)] + found[0][len(_PREFIX) :].upper(), body)


def _whispered(text: str) -> str:
    return _SHOUTED.sub(lambda found: found[0].lower(), text)


def _shouting() -> Switch:
    """Ids in capitals, outside; inside they are what they were."""

    def on_request(ask: Request, _: Memory) -> Request:
        return replace(
            ask, target=_whispered(ask.target), body=_whispered(ask.body.decode("latin-1")).encode("latin-1")
        )

    def on_response(_: Request, answer: Response, __: Memory) -> Response:
        return answer if answer.json is None else replace(answer, body=_shouted(answer.body))

    def on_callback(telling: CallbackPost, deliver: Deliver, _: Memory) -> ReceiverResponse:
        return deliver(replace(telling, body=_shouted(telling.body)))

    return Switch(on_request=on_request, on_response=on_response, on_callback=on_callback)


def _flat(answer: Response) -> Response:
    """The error's members without the object around them."""
    return answer.becomes(answer.json["error"]) if isinstance(answer.json, dict) else answer


def _unknown_member(ask: Request, _: Response) -> bool:
    return ask.name == "createVideo" and bool({"seed", "x_trace"} & set(ask.sent))


def _no_json(ask: Request, _: Response) -> bool:
    return ask.name == "createVideo" and bool(ask.body) and ask.json is None


def _as_text(answer: Response) -> Response:
    """A documented number as text, and a member that is not documented."""
    info = answer.json["task_info"]
    said = {"task_info.estimated_time": f"{info['estimated_time']} s", "eta": "soon"}
    return answer.becomes(merged(answer.json, said))


_UNKNOWN = {
    "error": {"code": "invalid_request", "message": "not known", "type": "invalid_request_error", "param": "seed"}
}
_refused = status_was(400, name="createVideo")


def _a_second_late(task: dict[str, Any], _: Known) -> None:
    if "created" in task:  # rows of a list have it under another name
        task["created"] += 1


MUTANTS = (
    broken("SW-01", "json-as-html", "answers queries with JSON that says it is HTML",
           answers(ok("getTask"), header("Content-Type", "text/html; charset=utf-8"))),
    broken("SW-01", "untyped-errors", "answers refusals without a Content-Type",
           answers(_refused, header("Content-Type", DROP))),
    broken("SW-02", "created-201", "answers an accepted create with 201", answers(ok("createVideo"), status(201))),
    broken("SW-03", "create-without-usage", "leaves usage out of create answers", shows(setting(usage=DROP), at=(CREATE,))),
    broken("SW-04", "query-without-model", "leaves model out of queries", shows(setting(model=DROP), at=(READ,))),
    broken("SW-05", "ids-in-capitals", "makes ids whose end is in capitals", _shouting()),
    broken("SW-06", "object-video", "says object video", shows(setting(object="video"))),
    broken("SW-07", "type-image", "says that its tasks are images", shows(setting(type="image"))),
    broken("SW-08", "progress-as-text", "gives progress as a string",
           shows(lambda task, _: task.update(progress=f"{task['progress']}"))),
    broken("SW-08", "progress-as-share", "gives progress as a share of 1 with a fraction",
           shows(lambda task, _: task.update(progress=task["progress"] / 100 + 0.001), when=is_("processing"))),
    broken("SW-09", "status-running", "calls a task that is processing running",
           shows(setting(status="running"), when=is_("processing"))),
    broken("SW-10", "created-in-milliseconds", "counts created in milliseconds",
           shows(lambda task, _: task.update(created=task["created"] * 1000))),
    broken("SW-11", "flat-errors", "answers errors without the object around them", answers(_refused, _flat)),
    broken("SW-11", "error-without-message", "leaves the message out of errors",
           answers(status_was(404, name="getTask"), error(message=DROP))),
    broken("SW-12", "other-error-code", "has a code of its own for bad requests", answers(_refused, error(code="bad_request"))),
    broken("SW-12", "two-dialects", "says some codes as numbers and some as words",
           answers(status_was(401), error(code=401, type="authentication_error"))),
    broken("SW-13", "other-error-type", "has a type of its own for bad requests", answers(_refused, error(type="validation"))),
    broken("SW-14", "nameless-field", "does not say which field is wrong", answers(_refused, error(param=DROP))),
    broken("SW-15", "unknown-path-500", "breaks on a path that it does not know",
           answers(lambda ask, answer: answer.status == 404 and not ask.name, status(500))),
    broken("SW-15", "hangs-up-on-odd-pages", "closes the connection when a page is no number",
           Switch(on_request=lambda ask, _: Response(0) if "page=one" in ask.target else ask), scripts=("lists",)),
    broken("SW-15", "garbage-500", "breaks on a body that is not JSON", answers(_no_json, status(500))),
    broken("SW-16", "no-allow", "answers 405 without Allow", answers(status_was(405), header("Allow", DROP))),
    broken("SW-16", "method-404", "answers 404 to a method that a path does not have",
           answers(status_was(405), both(status(404), error(code="not_found")))),
    broken("SW-17", "garbage-422", "answers 422 to a body that is not JSON", answers(_no_json, status(422))),
    broken("SW-18", "no-size-limit", "reads bodies of any size", chosen(max_body_bytes=64 * 1024 * 1024)),
    broken("SW-19", "no-retry-after", "answers 429 without Retry-After", answers(status_was(429), header("Retry-After", DROP))),
    broken("SW-19", "vague-retry-after", "asks for a retry soon",
           answers(status_was(429), header("Retry-After", "soon"))),
    broken("SW-20", "moody-about-unknown", "refuses every second create with unknown members",
           every(2, both(status(400), lambda answer: answer.becomes(_UNKNOWN)), _unknown_member)),
    broken("SW-21", "no-request-id", "names no request", answers(_of_service, header("x-request-id", DROP))),
    broken("SW-21", "one-request-id", "gives every request the same id",
           answers(_of_service, header("x-request-id", "req-1"))),
    broken("SW-22", "estimate-as-text", "gives the estimate as text since it has a second one", answers(ok("getTask"), _as_text)),
    broken("SW-23", "created-a-second-late", "says that its tasks were created a second after what their id says",
           shows(_a_second_late)),
    broken("SW-24", "limit-not-kept", "answers queries beyond the limit as if there were none",
           answers(status_was(429, name="getTask"), both(status(404), error(code="task_not_found", type="invalid_request_error")))),
    broken("SW-25", "no-invalid-url", "says of an unknown path only that it is not there",
           answers(lambda ask, answer: answer.status == 404 and not ask.name, error(message="not found"))),
)  # fmt: skip
