"""How a scenario's acts change a response before it is sent."""

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from math import ceil

import orjson
from msgspec.structs import replace

from kling_common.bodies import LAST_MOMENT
from kling_mock.clock import Clock
from kling_mock.contract import Contract
from kling_mock.core.errors import ApiError, documented
from kling_mock.core.scenarios import Act, Answer
from kling_mock.service.views import edited
from kling_mock.web.http import ApiResponse, json_reply

_GATEWAY = "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"


class Acts:
    """Builds the responses that a scenario asks for, as the contract documents them. *refuse* renders a documented error."""

    def __init__(self, contract: Contract, refuse: Callable[[ApiError], ApiResponse]) -> None:
        self._contract, self._refuse = contract, refuse

    def response(self, act: Act | None, operation: str, clock: Clock, body: bytes) -> ApiResponse:
        """Return the correct response with *body*, a task as JSON, or what *act* makes of it.

        *operation* is the operationId that was called.
        """
        correct = ApiResponse(200, body)
        if act is None:
            return correct
        if act.answer is not None:
            return self.answer(act.answer, operation, clock.now())
        if act.edit is None:
            return on_the_wire(act, correct, clock)
        task = orjson.loads(body)
        if task is None or task["status"] not in act.edit.only:
            return correct
        response = json_reply(edited(task, act.edit))
        response.fault = act.edit.fault
        return response

    def answer(self, answer: Answer, operation: str, now: float) -> ApiResponse:
        """Return a scenario's response: a documented error, a gateway's page, or a body of its own."""
        entry = self._entry(answer, operation)
        status = answer.status or self._contract.errors[entry or ""].status
        if answer.body is not None or status < 400:
            response = ApiResponse(status, (answer.body or "").encode(), [])
        elif entry is not None and not self._as_page(answer, entry):
            description = self._contract.components["responses"][entry]["description"]
            response = self._refuse(documented()[entry](description))
        else:
            response = _page(status) if answer.form != "json" else _plain_error(status)
        return as_answered(response, status, answer, now)

    def _entry(self, answer: Answer, operation: str) -> str | None:
        """The documented error that is meant; None for a status that the operation has no error for."""
        errors = self._contract.errors
        if answer.error is not None and answer.error in errors:
            return answer.error
        responses: dict[str, dict[str, str]] = self._contract.operations[operation].description["responses"]
        if answer.error is not None:
            own = {response.get("$ref", "").rpartition("/")[2] for response in responses.values()}
            named: list[str] = [name for name, error in errors.items() if error.code == answer.error]
            return min(named, key=lambda name: (errors[name].status != answer.status, name not in own))
        entry = responses.get(str(answer.status), {}).get("$ref", "").rpartition("/")[2]
        return entry if entry in documented() else None

    def _as_page(self, answer: Answer, entry: str) -> bool:
        content = self._contract.components["responses"][entry]["content"]
        return answer.form == "html" or (answer.form == "auto" and answer.error is None and "text/html" in content)


def on_the_wire(act: Act, response: ApiResponse, clock: Clock) -> ApiResponse:
    """Return *response* with the fault that its connection will have; a drip is measured on *clock*."""
    wire = act.wire
    if wire is not None:
        response.fault = wire.fault
        drip = None if wire.drip is None else clock.real_seconds(wire.drip)
        response.wire = wire if drip == wire.drip else replace(wire, drip=drip)
    return response


def as_answered(response: ApiResponse, status: int, answer: Answer, now: float) -> ApiResponse:
    """Return *response* with the status and the headers that a scenario's answer gives it."""
    given = headers_of(answer, now)
    response.status, response.fault = status, f"answer {status}"
    response.headers = [pair for pair in response.headers if pair[0] not in given] + list(given.items())
    return response


def headers_of(answer: Answer, now: float) -> dict[str, str]:
    """Return the headers of a scenario's response. A Retry-After date is *now* plus the seconds, rounded up, with a Date of *now*."""
    headers = dict(answer.headers)
    if answer.retry_after is not None and answer.retry_form == "seconds":
        headers["retry-after"] = str(answer.retry_after)
    elif answer.retry_after is not None:
        headers["retry-after"] = _date(ceil(now + answer.retry_after))
        headers["date"] = _date(int(now))
    return headers


def _date(at: int) -> str:
    """Return a date as headers have it; one beyond the year 9999 is cut to its end."""
    return formatdate(min(at, int(LAST_MOMENT)), usegmt=True)


def _page(status: int) -> ApiResponse:
    page = _GATEWAY.format(title=f"{status} {phrase(status)}")
    return ApiResponse(status, page.encode(), [("content-type", "text/html")])


def _plain_error(status: int) -> ApiResponse:
    words = phrase(status)
    error = {"code": words.lower().replace(" ", "_"), "message": words, "type": "api_error"}
    return json_reply({"error": error}, status)


def phrase(status: int) -> str:
    """Return the standard reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
