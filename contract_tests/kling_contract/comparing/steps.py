"""A history as named steps: what was asked, in words that are the same for whoever was asked, and the first response to it."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from kling_common.members import member
from kling_contract.comparing.shapes import Response, compared_headers, leaves
from kling_contract.history.events import AnyEvent, Callback, Download, Exchange
from kling_contract.reading.contract import Contract
from kling_contract.reading.view import MISSING, Call, View

_SHOWN = 40
_SCHEMES = {"bearer": "with the key"}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was asked. operation: the operationId, `download` or `callback`, else method and path. topic: what kind of
    question it is, so that answers to several of the kind are one difference. sent: the body of a create."""

    name: str
    operation: str
    topic: str
    response: Response
    sent: Any = None
    text: str | None = None
    """The body of a create that is no JSON object; None where it is one, or no text at all."""
    flawed: bool = False
    """Whether it is a create that must be refused, or shows a task that one made."""
    live: bool = False
    """Whether it shows a task that is not over: how often and in which state that is seen is a matter of time."""


def steps_of(events: tuple[AnyEvent, ...], contract: Contract) -> dict[str, Step]:
    """The steps of a history by their names; of several of one name the first."""
    view = View(events, contract)
    found: dict[str, Step] = {}
    owner = _owner(view)
    for call in view.calls:
        step = _of_call(call, view, owner, contract)
        found[step.name] = _first(found.get(step.name), step)
    for number, download in enumerate(view.downloads):
        name = "download with a range" if download.asked_range else "download" if not number else "download again"
        found.setdefault(name, Step(name, "download", "download", _of_download(download)))
    for attempt in view.callbacks:
        found.setdefault(
            "callback", Step("callback", "callback", "callback", _of_callback(attempt.event, attempt.body))
        )
    return found


def _first(known: Step | None, step: Step) -> Step:
    """The earlier of two steps of one name, unless its list is empty and the later one's is not; with the events of both."""
    if known is None:
        return step
    kept = step if _rows(step) and not _rows(known) else known
    events = (*known.response.events, *step.response.events)
    return replace(kept, response=replace(kept.response, events=events))


def _rows(step: Step) -> bool:
    return bool(member(step.response.body, "data"))


def _owner(view: View) -> str:
    """The account that most was asked with."""
    counts = Counter(call.event.who for call in view.calls if call.event.who and call.accepted)
    return counts.most_common(1)[0][0] if counts else ""


def _of_call(call: Call, view: View, owner: str, contract: Contract) -> Step:
    operation = call.name or f"{call.event.method} {call.path}"
    key = _key(call, owner)
    what, topic, live = _asked(call, view, contract)
    name = "; ".join(part for part in (operation, what, key) if part)
    if key:
        topic = key if key == "scheme bearer" else "a wrong key"
    elif call.probe.rules:
        topic = call.probe.rules[0]
    progress = not live or call.name == "createVideo"
    body = call.event.request.body
    text = None if isinstance(call.sent, dict) or body.base64 is not None else body.text or ""
    response = _response(call.event, call.got, progress)
    flawed = (call.name == "createVideo" and _is_flawed(call)) or what.startswith("the task of ")
    return Step(name, operation, topic or operation, response, call.sent, text, flawed, live)


def _key(call: Call, owner: str) -> str:
    """How the key was sent; empty for the usual way."""
    value = call.sent_header("authorization")
    if value is None:
        return "without a key"
    scheme, space, _ = value.partition(" ")
    if not space:
        return "the key without a scheme"
    if scheme != "Bearer":
        return f"scheme {scheme}"
    return "" if call.event.who == owner else "with an unknown key"


def _asked(call: Call, view: View, contract: Contract) -> tuple[str, str, bool]:
    """What a call asks, of what kind that is, and whether it shows a task that is not over."""
    if call.name == "createVideo":
        return (*_created(call), False)
    if call.name != "getTask":
        return "", call.name, False
    task = call.path.rpartition("/")[2]
    if task in view.tasks:
        status = call.body.get("status")
        create = view.tasks[task].create
        made = f" of {_created(create)[0]}" if create is not None and _is_flawed(create) else ""
        return f"the task{made}, {status}", "the task", status not in contract.terminal or bool(made)
    if contract.task_id_pattern.match(task):
        return "an id that no task has", "unknown id", False
    return f"the id {task}", "malformed id", False


def _created(call: Call) -> tuple[str, str]:
    if call.sent is MISSING or not isinstance(call.sent, dict):
        text = (call.event.request.body.text or call.event.request.body.sha256)[:_SHOWN]
        return f"body {text!r}", "body"
    if call.flaws:
        fields = dict.fromkeys(flaw.field for flaw in call.flaws)
        shown = ", ".join(f"{name}: {_short(call.sent.get(name, 'left out'))}" for name in fields)
        return shown, ", ".join(fields)
    members = [f"{name} {_short(call.sent[name])}" for name in ("duration", "quality", "prompt") if name in call.sent]
    more = [name for name in ("callback_url",) if name in call.sent]
    return f"a right create ({', '.join([*members, *more])})", "right create"


def _is_flawed(create: Call) -> bool:
    """Whether a create must be refused."""
    return bool(create.flaws) or not isinstance(create.sent, dict)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _response(event: Exchange, got: Any, progress: bool) -> Response:
    answer = event.answer
    if answer is None:
        return Response(0, {}, {}, event.ended_mono - event.mono, (event.seq,))
    body = None if got is MISSING else got
    shape = {} if got is MISSING else leaves(got, progress=progress)
    return Response(
        answer.status, shape, compared_headers(answer.headers, answer.status), event.ended_mono - event.mono, (event.seq,), body
    )  # fmt: skip


def _of_download(event: Download) -> Response:
    headers = compared_headers(event.headers, event.status or 0)
    headers.pop("x-request-id", None)
    return Response(event.status or 0, {}, headers, event.ended_mono - event.mono, (event.seq,))


def _of_callback(event: Callback, body: Any) -> Response:
    shape = leaves(body) if body is not MISSING else {}
    return Response(200, shape, compared_headers(event.request.headers, 200), 0.0, (event.seq,), body)
