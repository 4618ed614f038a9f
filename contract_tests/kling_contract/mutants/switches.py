"""The switches that mutants are made of. Each is a function that gives a `Switch`; the tables read like sentences."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kling_common.members import member
from kling_contract.mutants.messages import (
    DROP,
    CallbackPost,
    Known,
    Memory,
    ReceiverResponse,
    Request,
    Response,
    tasks_in,
)
from kling_contract.mutants.mutant import Deliver, OnResponse, Switch
from kling_contract.reading.contract import shipped

Task = dict[str, Any]
TaskChange = Callable[[Task, Known], None]
TaskWhen = Callable[[Task, Known], bool]
AskWhen = Callable[[Request], bool]
BodyWhen = Callable[[dict[str, Any]], bool]
Members = Mapping[str, Any]

CREATE, READ, ROWS, CALLBACK = "create", "read", "rows", "callback"
EVERYWHERE = (CREATE, READ, ROWS, CALLBACK)
_SHOWN = {"createVideo": CREATE, "getTask": READ, "listTasks": ROWS, "batchTasks": READ}


def always(*_: Any) -> bool:
    """Yes."""
    return True


def merged(document: Mapping[str, Any], members: Members) -> dict[str, Any]:
    """*document* with members set or dropped; `usage.credits_used` reaches into an object."""
    found = dict(document)
    for name, value in members.items():
        first, _, rest = name.partition(".")
        if rest:
            found[first] = merged(found.get(first) or {}, {rest: value})
        elif value is DROP:
            found.pop(first, None)
        else:
            found[first] = value
    return found


def setting(**members: Any) -> TaskChange:
    """A change that sets members of a task; `__` reaches into an object, DROP leaves out."""
    named = {name.replace("__", "."): value for name, value in members.items()}

    def change(task: Task, _: Known) -> None:
        done = merged(task, named)
        task.clear()
        task.update(done)

    return change


def is_(*statuses: str) -> TaskWhen:
    """Tasks in one of these statuses."""
    return lambda task, _: task.get("status") in statuses


# Tasks


def shows(change: TaskChange, *, at: tuple[str, ...] = EVERYWHERE, when: TaskWhen = always) -> Switch:
    """Tasks are shown changed, wherever *at* says."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if _SHOWN.get(ask.name) not in at:
            return answer
        touched = False
        for task in tasks_in(ask, answer):
            touched |= _changed(task, change, when, memory)
        return answer.becomes(answer.json) if touched else answer

    def on_callback(telling: CallbackPost, deliver: Deliver, memory: Memory) -> ReceiverResponse:
        task = dict(telling.task)
        changed = CALLBACK in at and task and _changed(task, change, when, memory)
        return deliver(telling.becomes(task) if changed else telling)

    return Switch(on_response=on_response, on_callback=on_callback)


def _changed(task: Task, change: TaskChange, when: TaskWhen, memory: Memory) -> bool:
    with memory.lock:
        known = memory.task(task["id"])
        if not when(task, known):
            return False
        change(task, known)
        return True


# Requests


def to(name: str) -> AskWhen:
    """Requests of one documented call."""
    return lambda ask: ask.name == name


def asks(when: AskWhen, change: Callable[[Request], Request]) -> Switch:
    """Requests reach the correct server changed."""
    return Switch(on_request=lambda ask, _: change(ask) if when(ask) else ask)


def takes(when: BodyWhen, **members: Any) -> Switch:
    """Creates whose body is *when* are taken for ones with other members: what is wrong is set right, or the other way."""
    return asks(
        lambda ask: ask.name == "createVideo" and isinstance(ask.json, dict) and when(ask.sent),
        lambda ask: ask.becomes(merged(ask.sent, members)),
    )


def turns(field: str, change: Callable[[Any], Any], when: Callable[[Any], bool] = always) -> Switch:
    """Creates with *field* are taken for ones with another value of it."""
    return asks(
        lambda ask: ask.name == "createVideo" and field in ask.sent and when(ask.sent[field]),
        lambda ask: ask.becomes({**ask.sent, field: change(ask.sent[field])}),
    )


def follows(scenario: str, when: BodyWhen = always) -> Switch:
    """Creates follow a story of the fake."""
    return asks(
        lambda ask: ask.name == "createVideo" and when(ask.sent), lambda ask: ask.headed("X-Mock-Scenario", scenario)
    )


def one_for_twins() -> Switch:
    """Creates of twins with one body get the first one's task."""

    def on_request(ask: Request, memory: Memory) -> Request | Response:
        if ask.name != "createVideo" or ask.sent.get("prompt") != "twins":
            return ask
        with memory.lock:
            kept: dict[Any, Any] = memory.account(ask.key).kept
            if ask.body not in kept:
                kept[ask.body] = memory.send(ask)
            found: Response = kept[ask.body]
        return found.headed("x-request-id", f"twin-{memory.count(memory.account(ask.key), 'twins')}")

    return Switch(on_request=on_request)


# Answers


def answers(when: Callable[[Request, Response], bool], change: Callable[[Response], Response]) -> Switch:
    """Answers come changed."""
    return Switch(on_response=lambda ask, answer, _: change(answer) if when(ask, answer) else answer)


def ok(name: str) -> Callable[[Request, Response], bool]:
    """Accepted answers of one documented call."""
    return lambda ask, answer: ask.name == name and answer.accepted


def status_was(*statuses: int, name: str = "") -> Callable[[Request, Response], bool]:
    """Answers of /v1 with one of these statuses, of one documented call where *name* says so."""
    return lambda ask, answer: (
        ask.path.startswith(shipped().root) and answer.status in statuses and (not name or ask.name == name)
    )


def status(number: int) -> Callable[[Response], Response]:
    """Another status."""
    return lambda answer: replace(answer, status=number)


def header(name: str, value: Any) -> Callable[[Response], Response]:
    """Another header, or none (DROP)."""
    return lambda answer: answer.headed(name, value)


def error(**members: Any) -> Callable[[Response], Response]:
    """Other members of the error object."""

    def change(answer: Response) -> Response:
        found = member(answer.json, "error")
        return answer.becomes({"error": merged(found, members)}) if isinstance(found, dict) else answer

    return change


def both(*changes: Callable[[Response], Response]) -> Callable[[Response], Response]:
    """One change after the other."""

    def change(answer: Response) -> Response:
        for each in changes:
            answer = each(answer)
        return answer

    return change


def every(number: int, change: Callable[[Response], Response], when: Callable[[Request, Response], bool]) -> Switch:
    """Of the answers that are *when*, each account's second, third... (every *number*th) comes changed."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if not when(ask, answer) or memory.count(memory.account(ask.key), "every") % number:
            return answer
        return change(answer)

    return Switch(on_response=on_response)


# Money


def balance(change: Callable[[float, Known], float]) -> Switch:
    """The credits call says another balance; the account's memory helps to tell which."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if ask.name != "getCredits" or not answer.accepted:
            return answer
        document = answer.json
        token = document["data"]["token"]
        with memory.lock:
            token["remaining_credits"] = change(token["remaining_credits"], memory.account(ask.key))
        return answer.becomes(document)

    return Switch(on_response=on_response)


def fee(credits_: float, when: Callable[[Request, Response], bool]) -> Switch:
    """Answers that are *when* cost the account something."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if when(ask, answer):
            memory.count(memory.account(ask.key), "fees")
        return answer

    return _charged(on_response, lambda left, known: left - credits_ * known.seen["fees"])


def _charged(noting: OnResponse, change: Callable[[float, Known], float]) -> Switch:
    """What *noting* keeps of an answer shows in the balance, by *change*."""
    shown = balance(change).on_response
    assert shown is not None
    return Switch(on_response=lambda ask, answer, memory: shown(ask, noting(ask, answer, memory), memory))


def overdraws(when: BodyWhen) -> Switch:
    """Creates that are *when* are taken although the balance does not cover them, and are charged all the same."""

    def on_response(ask: Request, answer: Response, memory: Memory) -> Response:
        if ask.name != "createVideo" or answer.status != 402 or not when(ask.sent):
            return answer
        # Another account has the credits; that nobody can read the task there does not matter here.
        lent = memory.send(ask.keyed(ask.key + "-lender"))
        with memory.lock:
            owed = memory.account(ask.key).kept
            owed["debt"] = owed.get("debt", 0) + lent.json["usage"]["credits_reserved"]
        return lent

    return _charged(on_response, lambda left, known: left - known.kept.get("debt", 0))


# Callbacks


def tells(when: Callable[[CallbackPost], bool], change: Callable[[CallbackPost], CallbackPost]) -> Switch:
    """Attempts arrive changed."""
    return Switch(on_callback=lambda telling, deliver, _: deliver(change(telling) if when(telling) else telling))


def swallows(when: TaskWhen) -> Switch:
    """Callbacks of tasks that are *when* are never sent."""

    def on_callback(telling: CallbackPost, deliver: Deliver, memory: Memory) -> ReceiverResponse:
        lost = telling.task and when(telling.task, memory.task(telling.task["id"]))
        return ReceiverResponse.of(200) if lost else deliver(telling)

    return Switch(on_callback=on_callback)


def mistakes(change: Callable[[ReceiverResponse], ReceiverResponse]) -> Switch:
    """The receiver's answers are taken for others."""
    return Switch(on_callback=lambda telling, deliver, _: change(deliver(telling)))


def tell(memory: Memory, key: str, url: str, task: Task) -> None:
    """Send a callback of one's own to *url*, through whatever relay the account has."""
    place = memory.relay(key)
    rest = url.partition("://")[2]
    host, _, target = rest.partition("/")
    if place:
        headers = (("Host", host), ("Content-Type", "application/json"), ("Connection", "close"))
        memory.post(place, CallbackPost("POST", "/" + target, headers, b"").becomes(task))


# Downloads


def is_file(ask: Request) -> bool:
    """Requests of a result link."""
    return ask.path.startswith("/files/")


def padded(answer: Response) -> Response:
    """The video with an empty box of random bytes at its end, which every decoder skips."""
    return replace(answer, body=answer.body + b"\x00\x00\x00\x10free" + random.randbytes(8))  # noqa: S311


# Contract


def patch(path: str, value: Any) -> Switch:
    """Serve by a contract in which the node at *path* (`/` between names; `~` for a slash in one) is *value*."""
    return Switch(patch=lambda document: _put(document, path, value))


def alters(path: str, change: Callable[[Any], Any]) -> Switch:
    """Serve by a contract in which the node at *path* is what *change* makes of it."""
    return Switch(patch=lambda document: _put(document, path, change(_node(document, path))))


def _node(document: Any, path: str) -> Any:
    for part in path.split("/"):
        document = document[part.replace("~", "/")]
    return document


def _put(document: Any, path: str, value: Any) -> None:
    parent, _, name = path.rpartition("/")
    _ = _node(document, path)
    _node(document, parent)[name] = value


def chosen(**values: Any) -> Switch:
    """Serve with other settings."""
    return Switch(settings={"service_settings": values})


CONTRACT = shipped()
