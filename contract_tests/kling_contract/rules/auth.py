"""Judges of keys and accounts (SA): who gets in, who sees what, and that the key is never said aloud."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from kling_common.masking import TOKEN
from kling_common.members import object_in
from kling_contract.history.labels import Expect
from kling_contract.reading.ledger import reserved
from kling_contract.reading.view import MISSING, Call, TaskRecord, View, is_task, once
from kling_contract.rules.judging import Check, check, judge
from kling_contract.rules.rulebook import Rule


@once
def sent_by_kit(view: View) -> Iterator[Call]:
    """Calls of documented routes that the kit sent; in recordings of other tools credentials may have been cut out.

    Optional operations need not exist, so a 404 of one of them says nothing.
    """
    for call in view.calls:
        documented = call.routes and call.path.startswith(view.contract.root) and (call.core or call.status != 404)
        if call.by_kit and documented and call.status not in (0, 429) and not call.faulty:
            yield call


def scheme(call: Call) -> str | None:
    """The Authorization scheme as it was spelt; empty for a bare key, None for no header."""
    value = call.sent_header("authorization")
    if value is None or not value.strip():
        return None
    return "" if TOKEN.fullmatch(value.strip()) else value.split(" ")[0]


def key_elsewhere(call: Call) -> bool:
    """Whether a key stood in the URL or in the body."""
    return bool(TOKEN.search(call.event.url) or TOKEN.search(call.event.request.body.text or ""))


def _is_401(call: Call, what: str) -> Check:
    return check(call.status == 401, f"401 {what}", call.status, call)


@judge("SA-01")
def no_header(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls without Authorization, with no key anywhere and nothing wrong in the body."""
    for call in sent_by_kit(view):
        keyless = scheme(call) is None and not _is_empty(call) and not key_elsewhere(call)
        if keyless and not call.flaws and call.operation is not None:
            yield _is_401(call, "without Authorization")


@judge("SA-02")
def unknown_key(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls with a key that the driver made up, sent as it should be."""
    for call in sent_by_kit(view):
        if call.probe.expect is Expect.UNAUTHORIZED and (scheme(call) or "").lower() == "bearer" and not call.flaws:
            yield _is_401(call, "for an unknown key")


@judge("SA-03")
def other_scheme(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls whose Authorization is not a bearer one."""
    for call in sent_by_kit(view):
        spelt = scheme(call)
        if spelt is not None and spelt.lower() != "bearer" and not _is_empty(call):
            yield _is_401(call, f"for {spelt or 'a bare key'}")


def _is_empty(call: Call) -> bool:
    """Whether the driver sent credentials without a value; a history shows a bare scheme as it shows a bare key."""
    return "SA-11" in call.probe.rules


@judge("SA-11")
def empty_credentials(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls whose credentials the driver left empty."""
    for call in sent_by_kit(view):
        if _is_empty(call):
            yield _is_401(call, "for empty credentials")


@judge("SA-04")
def key_in_the_wrong_place(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls without Authorization whose URL or body holds a key."""
    for call in sent_by_kit(view):
        if scheme(call) is None and key_elsewhere(call):
            yield _is_401(call, "for a key outside the header")


@judge("SA-05")
def auth_before_validation(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with neither a good key nor a good body."""
    for call in sent_by_kit(view):
        bad_key = scheme(call) is None or call.probe.expect is Expect.UNAUTHORIZED
        bad_body = call.name == "createVideo" and (call.flaws or not isinstance(call.sent, dict))
        if bad_key and bad_body and not key_elsewhere(call):
            yield _is_401(call, "before the body is looked at")


@judge("SA-06")
def accounts_are_apart(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at what one account's key gets of another's task: by query, batch and list."""
    owner = {task.id: task.who for task in view.tasks.values() if task.who}
    good = {call.event.who for call in view.calls if call.accepted}
    for call in sent_by_kit(view):
        if not call.event.who or call.probe.expect is Expect.UNAUTHORIZED:
            continue
        if call.name == "getTask":
            theirs = owner.get(call.path.rpartition("/")[2], call.event.who)
            if theirs != call.event.who and (call.status != 401 or call.event.who in good):
                fine = call.status in rule.params["statuses"] and not is_task(call.got)
                yield check(fine, f"one of {rule.params['statuses']} and no task", call.status, call)
        elif call.name in ("batchTasks", "listTasks") and call.accepted:
            ids = [row["id"] for row in call.rows]
            foreign = [task for task in ids if owner.get(task, call.event.who) != call.event.who]
            yield check(not foreign, "no task of another account", ", ".join(foreign), call)


@judge("SA-07")
def no_hint_of_existence(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the 401s, and at the 404s, that queries of well-formed ids got from one caller: all of one shape."""
    first: dict[tuple[int, str, str | None], tuple[Call, bool]] = {}
    for call in sent_by_kit(view):
        task_id = call.path.rpartition("/")[2]
        if call.name != "getTask" or call.status not in (401, 404) or not view.contract.task_id_pattern.search(task_id):
            continue
        exists = task_id in view.tasks
        earlier, existed = first.setdefault((call.status, call.event.who, scheme(call)), (call, exists))
        if existed != exists:
            yield check(_shape(call) == _shape(earlier), _shape(earlier), _shape(call), earlier, call)


def _shape(call: Call) -> str:
    """Status, code, type, members and message of an answer; words with digits, which name this request or that id, left out."""
    error = call.error
    members = ", ".join(sorted(error)) if error else "no error object"
    message = re.sub(r"\S*\d\S*", "#", str(error.get("message", "")))
    return f"{call.status} {error.get('code')} {error.get('type')} ({members}): {message[:200]}"


_OF_TASKS = ("progress", "results", "result_data", "usage", "task_info")
"""Members that an error has no use for but to speak of a task."""
_LEAST = 8
"""Characters of a text of the task's that no answer has by chance."""


@judge("SA-12")
def refusal_gives_nothing_away(view: View, _: Rule) -> Iterator[Check]:
    """Looks at refused queries of another account's task: what they hold of it, and whether they tell its states apart."""
    first: dict[tuple[str, str], Call] = {}
    for call in sent_by_kit(view):
        task = view.tasks.get(call.path.rpartition("/")[2]) if call.name == "getTask" else None
        if task is None or not call.event.who or task.who in ("", call.event.who) or not 401 < call.status < 500:
            continue
        given = _given_away(view, task, call)
        yield check(not given, "nothing of the task", given, task.create, call)
        earlier = first.setdefault((task.id, call.event.who), call)
        if earlier is not call:
            yield check(_shape(call) == _shape(earlier), _shape(earlier), _shape(call), earlier, call)


def _given_away(view: View, task: TaskRecord, call: Call) -> str:
    """What a refusal says of the task; empty where it says nothing."""
    names = [name for name in _names(call.got) if name in _OF_TASKS]
    text = call.event.answer.body.text or "" if call.event.answer else ""
    sent = object_in(task.create.sent) if task.create else {}
    known = [value for name, value in sent.items() if name != "model" and isinstance(value, str)]
    price = reserved(task)
    fraction = price is not None and not price.is_integer()
    if fraction and re.search(rf"(?<![\d.]){re.escape(f'{price:g}')}(?![\d.])", _message(call)):
        names.append(f"{price:g} credits")
    spoken = [value for value in (*known, *task.links, task.who) if len(value) >= _LEAST and value in text]
    state = call.body.get("status")
    states = [state] if isinstance(state, str) and state in view.contract.statuses else []
    return ", ".join([*names, *states, *(value[:40] for value in spoken)])


def _message(call: Call) -> str:
    """The words of a refusal, without ids."""
    return re.sub(r"task-unified-\S*", "", str(call.error.get("message", "")))


def _names(value: Any) -> Iterator[str]:
    """The names of all members in a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


@judge("SA-08")
def key_not_echoed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every HTTP error of a call that carried a key."""
    for call in view.calls:
        if call.status >= 400 and call.event.answer is not None:
            sent = (call.event.url, call.event.request.body.text or "", *(v for _, v in call.event.request.headers))
            keys = {token for text in sent for token in TOKEN.findall(text)}
            said = orjson.dumps(call.got).decode() if call.got is not MISSING else call.event.answer.body.text or ""
            echoed = [token for token in TOKEN.findall(said) if token in keys]
            yield check(not echoed, "no key in the answer", ", ".join(echoed), call)


@judge("SA-09")
def bearer_in_any_case(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls whose scheme is Bearer in another case, with a key that is good."""
    for call in sent_by_kit(view):
        spelt = scheme(call) or ""
        if spelt.lower() == "bearer" and spelt != "Bearer" and call.probe.expect is not Expect.UNAUTHORIZED:
            yield check(call.status != 401, f"{spelt} is Bearer", call.status, call)


@judge("SA-10")
def no_access_to_model(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates with a key that the driver took the model from."""
    for call in view.creates:
        if call.probe.expect is Expect.NO_ACCESS and call.status not in (0, 429):
            shaped = call.got is not MISSING and not view.contract.flaws("Error", call.got)
            yield check(call.status == 403 and shaped, "403 and an error object", call.status, call)
