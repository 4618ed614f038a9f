"""Judges of the wire (SW) and of the schemas (SS): status, headers, and the shape of every body."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from kling_common.members import is_number, is_whole
from kling_contract.history.labels import Topic
from kling_contract.reading.documented import DocumentedError, Flaw
from kling_contract.reading.retry_after import wait_until
from kling_contract.reading.view import MISSING, Call, View, once
from kling_contract.rules.judging import Check, check, judge, quoted
from kling_contract.rules.rulebook import Rule

_BODILESS = ("HEAD", "OPTIONS")
STEPS_ASIDE = frozenset({0, 401, 402, 403, 413, 415, 429})
"""Answers that come before a body is read as JSON."""


@once
def service_calls(view: View) -> Iterator[Call]:
    """Calls below /v1 that were answered with a body."""
    for call in view.calls:
        answered = call.event.method not in _BODILESS and call.status not in (0, 204, 304)
        if answered and call.path.startswith(view.contract.root):
            yield call


_GATEWAY = frozenset({502, 503, 504})
"""Statuses with which a gateway answers for a service that is not there."""


def may_be_html(call: Call) -> bool:
    """Whether an answer may be a gateway's page: where the contract lets it, or where no service answered a client's call."""
    absent = call.status in _GATEWAY and call.got is MISSING and not call.by_kit
    return absent or (call.operation is not None and str(call.status) in call.operation.html)


@once
def errors(view: View) -> Iterator[Call]:
    """Answered HTTP errors below /v1 whose body should be the documented one."""
    answered = (call for call in service_calls(view) if call.status >= 400 and call.shown)
    return (call for call in answered if not may_be_html(call) and not call.faulty)


def _member(name: str, view: View, _: Rule) -> Iterator[Check]:
    """A check for each sighting that has the member *name*: its value is what the contract says."""
    for _task, sighting in view.sightings:
        if name in sighting.body:
            value = sighting.body[name]
            flaws = view.contract.member_flaws(name, value)
            said = "; ".join(flaw.message for flaw in flaws)
            yield check(not flaws, said, quoted(value) if flaws else "", sighting)


@judge("SW-01")
def json_content_type(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every answer below /v1."""
    for call in service_calls(view):
        if not may_be_html(call) and not call.faulty and call.headed:
            kind = call.header("content-type") or "no Content-Type"
            yield check(kind.split(";")[0].strip().lower() == "application/json", "application/json", kind, call)


@judge("SW-02")
def accepted_is_200(view: View, _: Rule) -> Iterator[Check]:
    """Looks at accepted creates."""
    yield from (check(call.status == 200, 200, call.status, call) for call in view.creates if call.accepted)


@judge("SW-03")
def create_members(view: View, _: Rule) -> Iterator[Check]:
    """Looks at accepted creates."""
    for call in view.creates:
        if call.accepted and call.shown:
            yield _has(call, call.got, view.contract.created_members)


@judge("SW-04")
def task_members(view: View, _: Rule) -> Iterator[Check]:
    """Looks at task answers that hold an object."""
    for call in view.calls:
        if call.name == "getTask" and call.status == 200 and call.shown and not view.is_other(call):
            yield _has(call, call.got, view.contract.task_members)


def _has(call: Call, body: Any, members: tuple[str, ...]) -> Check:
    missing = [name for name in members if not isinstance(body, dict) or name not in body]
    return check(not missing, "members " + ", ".join(members), "missing " + ", ".join(missing), call)


@judge("SW-05")
def id_shape(view: View, _: Rule) -> Iterator[Check]:
    """Looks at each task once."""
    for task in view.tasks.values():
        shown = task.sightings[0]
        yield check(view.contract.id_pattern.search(task.id), view.contract.id_pattern.pattern, task.id, shown)


for _rule, _name in (("SW-06", "object"), ("SW-07", "type"), ("SW-08", "progress"), ("SW-09", "status")):
    judge(_rule)(partial(_member, _name))


@judge("SW-10")
def created_value(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at accepted creates; the account's clock is the measure, or the kit's where there is none to ask."""
    span = rule.params["seconds"]
    for call in view.creates:
        replayed = call.header("idempotency-replayed") is not None
        if call.accepted and isinstance(call.got, dict) and "created" in call.got and not replayed:
            created = call.got["created"]
            whole = is_number(created) and created % 1 == 0
            near = whole and call.event.earliest - span <= created <= call.event.ended_at + span
            expected = f"an integer within {span} s of {call.event.ended_at:.0f}"
            yield check(near, expected, quoted(created), call)


@judge("SW-11")
def error_shape(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every HTTP error."""
    for call in errors(view):
        flaws = view.contract.flaws("Error", call.got) if call.got is not MISSING else None
        seen = "a body that is not JSON" if flaws is None else "; ".join(map(str, flaws))
        yield check(flaws == (), '{"error": {code, message, type}}', f"{call.status} with {seen}", call)


def dialect(view: View) -> str:
    """`legacy` when the first documented error speaks with an integer code, else `current`."""
    codes = (call.error.get("code") for call in errors(view) if "code" in call.error and not _integer_codes(call))
    return "legacy" if isinstance(next(codes, ""), int) else "current"


@judge("SW-12")
def error_code(view: View, _: Rule) -> Iterator[Check]:
    """Looks at HTTP errors whose status is documented."""
    spoken = dialect(view)
    for call, documented in _documented(view):
        integer = spoken == "legacy" or _integer_codes(call)
        own = _own_code(view, call)
        codes = [own] if own else _distinct([entry.code for entry in documented])
        allowed: list[Any] = [call.status] if integer else codes
        allowed += [entry.code for entry in documented] if _integer_codes(call) else []
        code = call.error.get("code")
        yield check(code in allowed and not isinstance(code, bool), f"one of {quoted(allowed)}", quoted(code), call)


_TOLD_APART = frozenset({400, 404})
"""Statuses whose code says which of several things is wrong; of the others the pages of the manual differ among themselves."""


def _own_code(view: View, call: Call) -> str:
    """The code that the contract gives to that status of a task query; empty where it leaves a choice."""
    if call.name != "getTask" or call.status not in _TOLD_APART:
        return ""
    node = view.contract.document["paths"][call.operation.template]["get"] if call.operation else {"responses": {}}
    response = view.contract.deref(node["responses"].get(str(call.status), {}))
    return str(response.get("x-error", {}).get("code", ""))


def _integer_codes(call: Call) -> bool:
    return call.operation is not None and call.operation.integer_codes


@judge("SW-13")
def error_type(view: View, _: Rule) -> Iterator[Check]:
    """Looks at HTTP errors whose status is documented."""
    legacy = dialect(view) == "legacy"
    for call, documented in _documented(view):
        allowed = _distinct([entry.legacy_type if legacy else entry.type for entry in documented])
        kind = call.error.get("type")
        yield check(kind in allowed, f"one of {quoted(allowed)}", quoted(kind), call)


@once
def _documented(view: View) -> Iterator[tuple[Call, tuple[DocumentedError, ...]]]:
    for call in errors(view):
        documented = view.contract.errors_of(call.status)
        if call.error and documented:
            yield call, documented


def _distinct(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


_STEPS = re.compile(r"[./\[\]]")
"""What stands between the names in a path to a field."""


@judge("SW-14")
def error_param(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates refused for one field; the older dialect may leave the name out."""
    for call in view.creates:
        fields = _distinct([flaw.field for flaw in call.flaws])
        if call.status != 400 or len(fields) != 1 or not fields[0] or not call.error:
            continue
        param = call.error.get("param")
        if param is None and isinstance(call.error.get("code"), int):
            continue
        named = isinstance(param, str) and fields[0] in _STEPS.split(param)
        yield check(named, f"param {quoted(fields[0])}", f"param {quoted(param)}", call)


@judge("SW-15")
def never_5xx(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at everything that the kit sent, unless it asked for a fault; a connection that is closed counts for one odd request alone."""
    for call in view.calls:
        cut = rule.id in call.probe.rules and call.event.lost == "cut"
        if call.by_kit and (call.status or cut) and not call.faulty:
            yield check(call.status < 500 and not cut, "an answer below 500", call.status or "none", call)


@judge("SW-16")
def method_not_allowed(view: View, _: Rule) -> Iterator[Check]:
    """Looks at calls of the two promised paths with a method that they do not have."""
    for call in view.calls:
        judged = call.headed and call.event.method not in _BODILESS and call.status not in (0, 429)
        if call.operation is None and call.core and judged:
            allow = call.header("allow")
            seen = f"{call.status}, Allow: {allow or 'none'}"
            named = {method.strip().upper() for method in (allow or "").split(",")}
            right = {operation.method for operation in call.routes}
            fine = call.status == 405 and right <= named and call.event.method not in named
            yield check(fine, f"405 with an Allow header that names {', '.join(sorted(right))}", seen, call)


@judge("SW-17")
def not_json(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates whose body is no JSON at all."""
    for call in view.calls:
        body = call.event.request.body
        seen = call.posted and call.shown and not body.truncated
        garbage = call.name == "createVideo" and call.sent is MISSING and body.size and seen
        if garbage and call.status not in STEPS_ASIDE and not call.faulty:
            flaws = view.contract.flaws("Error", None if call.got is MISSING else call.got)
            yield check(call.status == 400 and not flaws, "400 and an error object", _answer(call), call)


def _answer(call: Call) -> str:
    return f"{call.status} {call.event.answer.body.text or ''}"[:160] if call.event.answer else "no answer"


@judge("SW-18")
def too_large(view: View, _: Rule) -> Iterator[Check]:
    """Looks at probes with a body over the limit; hanging up on one is fine."""
    for call in view.creates:
        if "SW-18" in call.probe.rules and not call.faulty and call.status not in (401, 402, 403, 429):
            fine = call.status == 413 and call.got is not MISSING and not view.contract.flaws("Error", call.got)
            yield check(fine or call.status == 0, "413 and an error object", _answer(call), call)


@judge("SW-19")
def retry_after(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every 429."""
    for call in view.calls:
        if call.status == 429 and call.headed:
            given = call.header("retry-after")
            fine = wait_until(given, call.event.ended_at) is not None
            yield check(fine, "Retry-After in seconds or as an HTTP date", f"Retry-After: {given}", call)


@judge("SW-20")
def unknown_fields(view: View, _: Rule) -> Iterator[Check]:
    """Looks at creates that are right but for members that the contract does not name; needs two."""
    firsts: dict[str, Call] = {}
    for call in view.creates:
        unknown = isinstance(call.sent, dict) and set(call.sent) - view.contract.fields_of(call.sent)
        known = call.probe.image or call.probe.media
        if not unknown or call.flaws or known or call.faulty or not (call.accepted or call.status == 400):
            continue
        first = firsts.setdefault(str(call.asked("model")), call)
        if first is not call:
            yield check(call.accepted == first.accepted, f"{first.status} as before", call.status, first, call)


@judge("SW-21")
def request_id(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at every answer below /v1; a repeated id is a breach as well as none."""
    seen: dict[str, Call] = {}
    names = rule.params["headers"]
    for call in (call for call in service_calls(view) if call.headed):
        value = next((found for name in names if (found := call.header(name))), "")
        earlier = seen.setdefault(value, call)
        fresh = value and earlier is call
        yield check(fresh, f"a new {names[0]}", value or "none", *((call,) if earlier is call else (earlier, call)))


@judge("SW-22")
def types_hold(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every documented answer that carries members besides the documented ones, or none: types must hold."""
    for call in service_calls(view):
        if call.operation is not None and call.got is not MISSING and not call.faulty and not view.is_other(call):
            flaws = view.contract.answer_flaws(call.operation, call.status, call.got)
            wrong = [flaw for flaw in flaws if flaw.keyword == "type" and flaw.path]
            yield check(not wrong, "documented members of their documented type", "; ".join(map(str, wrong)), call)


@judge("SW-23")
def id_tells_created(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every sighting of a task whose id has the documented shape and that says when it was created."""
    for task, sighting in view.sightings:
        created = sighting.body.get("created")
        if view.contract.id_pattern.search(task.id) and is_whole(created):
            number = task.id.removeprefix(view.contract.id.prefix).partition("-")[0]
            yield check(number == str(created), f"created {number}, as the id {task.id} says", created, sighting)


@judge("SW-24")
def limit_is_kept(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at requests that the driver sent beyond a limit, at one moment of a clock that stands still."""
    for call in view.calls:
        if rule.id in call.probe.rules and call.status and not call.faulty:
            yield check(call.status == 429, "429: it is one too many", call.status, call)


@judge("SW-25")
def old_route_is_unknown(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the driver's queries below the path of the create."""
    for call in view.calls:
        if rule.id in call.probe.rules and call.status not in (0, 401, 429) and not call.faulty:
            said = str(call.error.get("message", ""))
            fine = call.status == 404 and "invalid url" in said.lower()
            yield check(fine, "404 with Invalid URL in its message", f"{call.status} {said}", call)


def _is_softer(flaw: Flaw) -> bool:
    """Whether a rule of its own, and of a lower level, speaks of that flaw."""
    names = tuple(name for name in flaw.path if isinstance(name, str))[-2:]
    return (names[-1:], flaw.keyword) in ((("id",), "pattern"), (("error",), "not")) or names == ("error", "code")


def _is_faded(view: View, call: Call, flaw: Flaw) -> bool:
    """Whether it is only that a task no longer lists links that are dead by now, which is not forbidden."""
    created = call.body.get("created")
    old = isinstance(created, int | float) and call.event.ended_at >= created + view.contract.link_lifetime
    return old and (flaw.path, flaw.keyword) == (("results",), "minItems")


@judge("SS-01")
def answers_match(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every answer of a documented call that holds JSON."""
    for call in view.calls:
        if call.operation is None or call.got is MISSING or call.faulty or view.is_other(call):
            continue
        if call.operation.files:
            continue  # SF-02 and SF-07 speak of those
        flaws = view.contract.answer_flaws(call.operation, call.status, call.got)
        kept = [flaw for flaw in flaws if not _is_faded(view, call, flaw)]
        hard = [flaw for flaw in kept if call.status >= 400 or not _is_softer(flaw)]
        expected = f"the contract's {call.name} {call.status}"
        yield check(not hard, expected, "; ".join(map(str, hard)), call)


@judge("SS-02")
def callbacks_match(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every callback."""
    for attempt in view.callbacks:
        if attempt.event.request.body.unseen:
            continue
        if attempt.body is MISSING:
            yield check(False, "the JSON of a finished task", "a body that is not JSON", attempt)
            continue
        flaws = view.contract.flaws("TerminalTask", attempt.body)
        hard = [flaw for flaw in flaws if not _is_softer(flaw)]
        yield check(not hard, "the contract's finished task", "; ".join(map(str, hard)), attempt)


@judge("SS-03")
def features_are_there(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the features that a target declared and at those that the drivers then missed."""
    for note in view.notes:
        if note.topic == Topic.RUN and note.data.get("features"):
            yield check(True, "", "", note)
        elif note.topic == Topic.MISSING_FEATURE:
            feature, reason = note.data.get("feature"), note.data.get("reason")
            yield check(False, f"the declared feature {feature}", str(reason or "lacking"), note)
