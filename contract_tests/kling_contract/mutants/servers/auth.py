"""Servers that break rules of keys and accounts (SA)."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs

from kling_contract.mutants.messages import Memory, Request, Response
from kling_contract.mutants.mutant import Switch, broken
from kling_contract.mutants.switches import CONTRACT, answers, asks, both, error, merged, status, status_was
from kling_contract.reading.contract import shipped

_ANYBODY = "sk-anybody"


def _admits(key: Callable[[Request], str]) -> Switch:
    """Requests of /v1 get the key that *key* finds; none where it finds an empty one."""
    return asks(lambda ask: ask.path.startswith(shipped().root) and bool(key(ask)), lambda ask: ask.keyed(key(ask)))


def _nameless(ask: Request) -> str:
    return _ANYBODY if not ask.header("authorization") and ask.name == "getTask" and "?" not in ask.target else ""


def _stranger(ask: Request) -> str:
    return f"sk-{ask.key}" if ask.key.startswith("unknown-") else ""


def _basic(ask: Request) -> str:
    scheme, _, rest = ask.header("authorization").partition(" ")
    try:
        return base64.b64decode(rest).decode().partition(":")[0] if scheme == "Basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _schemeless(ask: Request) -> str:
    found = ask.header("authorization")
    return found if found.startswith("sk-") else ""


def _queried(ask: Request) -> str:
    found = parse_qs(ask.target.partition("?")[2])
    return "" if ask.header("authorization") else (found.get("api_key") or [""])[0]


def _in_body(ask: Request) -> str:
    return "" if ask.header("authorization") else str(ask.sent.get("api_key") or "")


def _validates_first(ask: Request, answer: Response, memory: Memory) -> Response:
    if ask.name != "createVideo" or answer.status != 401:
        return answer
    judged = memory.send(replace(ask, target=ask.path).keyed("sk-validator"))
    return judged if judged.status == 400 else answer


def _lends(ask: Request, memory: Memory) -> Request:
    """Whoever asks for a task gets it as its owner does."""
    owner = memory.task(ask.task_id).key if ask.name == "getTask" and ask.task_id in memory.tasks else ""
    return ask.keyed(owner) if owner and ask.key.startswith("sk-") else ask


def _lists_all(ask: Request, answer: Response, memory: Memory) -> Response:
    """Another account's tasks stand in the list as well."""
    if ask.name != "listTasks" or not answer.accepted:
        return answer
    others = {known.key for known in memory.tasks.values()} - {ask.key, ""}
    rows = [row for key in sorted(others) for row in memory.send(ask.keyed(key)).json["data"]]
    return answer.becomes({**answer.json, "data": [*answer.json["data"], *rows]})


def _hints(ask: Request, answer: Response, memory: Memory) -> Response:
    known = ask.name == "getTask" and answer.status == 401 and ask.task_id in memory.tasks
    return error(param="task_id")(answer) if known else answer


def _foreign(ask: Request, answer: Response, memory: Memory) -> bool:
    """Whether another account's task was asked for, and refused."""
    known = memory.tasks.get(ask.task_id)
    return (
        ask.name == "getTask" and answer.status in (403, 404) and known is not None and known.key not in ("", ask.key)
    )


def _says_whose(ask: Request, answer: Response, memory: Memory) -> Response:
    if not _foreign(ask, answer, memory):
        return answer
    unknown = memory.send(replace(ask, target=shipped().task_path(shipped().unused_id("zzzzzzzz"))))
    return error(message="the task belongs to another account")(unknown)


def _says_how_far(ask: Request, answer: Response, memory: Memory) -> Response:
    if not _foreign(ask, answer, memory):
        return answer
    task = memory.send(ask.keyed(memory.task(ask.task_id).key)).json
    return error(message=f"no access to a task that is {task['status']}")(answer)


def _echoes(ask: Request, answer: Response, _: Memory) -> Response:
    if answer.status < 400 or not ask.key or not isinstance(answer.json, dict) or "error" not in answer.json:
        return answer
    found = answer.json["error"]
    return answer.becomes({"error": merged(found, {"message": f"{found['message']} (key {ask.key})"})})


_odd_bearer = asks(
    lambda ask: (
        ask.header("authorization").lower().startswith("bearer ")
        and not ask.header("authorization").startswith("Bearer ")
    ),
    lambda ask: ask.headed("Authorization", "Odd " + ask.key),
)
_anything_goes = asks(
    lambda ask: ask.path == "/__mock/account" and "models" in ask.sent,
    lambda ask: ask.becomes({**ask.sent, "models": [CONTRACT.model]}),
)
_as_bad_request = answers(
    status_was(403, name="createVideo"), both(status(400), error(code="invalid_request", type="invalid_request_error"))
)


def _has_empty(ask: Request) -> bool:
    sent = [value.strip().lower() for name, value in ask.headers if name.lower() == "authorization"]
    return sent in ([""], ["bearer"])


MUTANTS = (
    broken("SA-01", "no-key-needed", "lets anybody ask for a task", _admits(_nameless)),
    broken("SA-02", "any-key-will-do", "takes any key", _admits(_stranger)),
    broken("SA-03", "basic-too", "takes the key as a user name", _admits(_basic)),
    broken("SA-03", "bare-key-too", "takes the key without a scheme", _admits(_schemeless)),
    broken("SA-04", "key-in-the-query", "takes the key from the query", _admits(_queried)),
    broken("SA-04", "key-in-the-body", "takes the key from the body", _admits(_in_body)),
    broken("SA-05", "validates-strangers", "judges the body before the key", Switch(on_response=_validates_first)),
    broken("SA-06", "one-account-for-all", "lets every account read every task", Switch(on_request=_lends)),
    broken("SA-06", "one-list-for-all", "lists other accounts' tasks", Switch(on_response=_lists_all)),
    broken("SA-07", "hints-at-existence", "responds to other accounts differently when a task exists", Switch(on_response=_hints)),
    broken("SA-07", "says-whose-it-is", "says in its message that a task is another account's", Switch(on_response=_says_whose)),
    broken("SA-08", "echoes-the-key", "names the key in its errors", Switch(on_response=_echoes)),
    broken("SA-09", "strict-bearer", "minds the case of Bearer", _odd_bearer),
    broken("SA-10", "every-model-for-all", "lets every key use the model", _anything_goes),
    broken("SA-10", "no-access-is-400", "answers 400 to a key that may not use the model", _as_bad_request),
    broken("SA-11", "empty-is-enough", "lets in whoever sends credentials without a value",
           asks(_has_empty, lambda ask: ask.keyed(_ANYBODY))),
    broken("SA-12", "says-how-far-it-is", "says in a refusal how far another account's task is", Switch(on_response=_says_how_far)),
)  # fmt: skip
