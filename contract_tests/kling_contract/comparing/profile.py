"""From differences to a profile: settings of the fake where there is one for it, else what was observed, response by response."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kling_common.members import member, object_in
from kling_contract.comparing.differences import ABSENT, Comparison, Difference, Side
from kling_contract.comparing.shapes import REQUEST_IDS, Leaf
from kling_contract.comparing.steps import Step
from kling_contract.reading.contract import Contract
from kling_contract.reading.ledger import reserved_by
from kling_contract.reading.view import MISSING
from kling_contract.rules.verdicts import SetupError

Json = dict[str, Any]
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)([.][0-9]+)?")
_HEAD = """# What a comparison found at {name}, for `kling-mock serve --profile THIS-FILE`.
# Settings stand first; `observed` changes single responses of the fake.
"""


@dataclass(slots=True)
class Profile:
    """What the fake is to show. left: differences that no profile can express, a line each."""

    name: str
    settings: Json = field(default_factory=dict)
    observed: list[Json] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def profile_of(found: Comparison, a: Side, b: Side, contract: Contract) -> Profile:
    """A profile with which the fake of side *a* shows what *b* showed; allowed differences are left as they are."""
    made = Profile(b.name)
    for difference in found.differences:
        if difference.verdict == "allowed":
            continue
        if not _setting(made, difference, b, contract) and not _patch(made, difference, a, b):
            made.left.append(f"no profile can say: {difference.id} ({difference.a} -> {difference.b})")
    return made


def write_profile(made: Profile, path: Path) -> list[str]:
    """Write it; return what it could not say.

    Raises:
        SetupError: the file cannot be written.
    """
    document = {**made.settings, **({"observed": made.observed} if made.observed else {})}
    text = _HEAD.format(name=made.name) + (
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True) if document else "{}\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"--profile {path}: {error.strerror}") from error
    return made.left


# Settings


def _setting(made: Profile, difference: Difference, b: Side, contract: Contract) -> bool:
    """Say *difference* by a setting of the fake, where there is one; whether it was."""
    known = contract.document["x-assumptions"]
    switches = {
        f"member:/task_info/can_cancel:{ABSENT}": ("cancel_field", False),
        "member:/task_info/can_cancel:present": ("cancel_field", True),
        f"member:/result_data:{ABSENT}": ("result_data", False),
        "member:/result_data:present": ("result_data", True),
    }
    if difference.id in switches and switches[difference.id][0] in known:
        name, value = switches[difference.id]
        made.settings[name] = value
        return True
    if difference.kind == "price":
        return _price(made, difference, b)
    return False


def _price(made: Profile, difference: Difference, b: Side) -> bool:
    """The price of a second, from the first create that shows a reservation."""
    for step in b.steps.values():
        cost = object_in(step.response.body, "usage", "cost")
        if difference.id == "price:dollars" and cost.get("credits") and "usd" in cost:
            made.settings["usd_per_credit"] = cost["usd"] / cost["credits"]
            return True
        reserved = reserved_by(step.response.body)
        seconds, quality = member(step.sent, "duration"), member(step.sent, "quality")
        right = step.topic in ("right create", "SV-05") and isinstance(seconds, int) and seconds > 0
        if difference.id == "price:credits" and reserved is not None and right and isinstance(quality, str):
            made.settings["credits_per_second"] = {quality: reserved / seconds}
            made.settings["minimum_credits"] = 0
            return True
    return False


# Single responses


def _patch(made: Profile, difference: Difference, a: Side, b: Side) -> bool:
    steps = [(a.steps[name], b.steps[name]) for name in difference.steps if name in a.steps and name in b.steps]
    if not steps:
        return False
    if difference.kind == "status":
        patches = [_of_status(one, other, _right(a)) for one, other in steps]
    elif difference.kind == "header":
        patches = [_of_header(difference, one) for one, _ in steps]
    elif difference.kind == "timing" and difference.where != "the task":
        patches = [
            {"on": [one.operation], "delay": round(max(other.response.seconds, 0.0), 1)} for one, other in steps[:1]
        ]
    elif difference.kind in ("member", "type", "value", "error"):
        patches = [_of_member(difference, one, other) for one, other in steps]
    else:
        return False
    states = {state for name in a.steps if name in b.steps and (state := _state(a.steps[name]))}
    made.observed += _in_every_state(_together(patch for patch in patches if patch), states)
    return all(patches)


def _in_every_state(patches: Iterable[Json], states: set[str]) -> Iterator[Json]:
    """The patches, those that hold in all of *states* in which tasks were compared for those in between as well."""
    for patch in patches:
        everywhere = len(states) > 1 and states <= set(patch.get("task", ()))
        yield {name: value for name, value in patch.items() if name != "task"} if everywhere else patch


def _state(step: Step) -> str:
    """The state of the task that a response shows; empty where it shows none."""
    state = member(step.response.body, "status") if step.response.status < 300 else None
    return state if isinstance(state, str) else ""


def _right(side: Side) -> Json:
    """The body of a right create."""
    found = (
        step.sent for step in side.steps.values() if step.operation == "createVideo" and step.response.status == 200
    )
    return next((dict(sent) for sent in found if isinstance(sent, Mapping)), {})


def _when(step: Step, *, request: bool) -> Json:
    """What tells the fake's response that a step showed from others."""
    found: Json = {"on": [step.operation], "status": step.response.status}
    if _state(step):
        found["task"] = [_state(step)]
    if request and step.operation == "createVideo":
        found |= _request(step)
    return found


def _request(step: Step) -> Json:
    """The members of a create that make it this one."""
    if step.sent is MISSING or not isinstance(step.sent, Mapping):
        return {"text": step.text}
    body = {name: value for name, value in step.sent.items() if name != "image_start" or not isinstance(value, str)}
    return {"body": body, **({} if "image_start" in step.sent else {"missing": ["image_start"]})}


def _of_status(a: Step, b: Step, right: Json) -> Json:
    """The whole response of *b* in the place of the fake's; where *b* accepts what the fake refuses, the fake does too."""
    patch = _when(
        a, request=a.response.status != 401
    )  # a wrong key is one whatever the body, which may not even be read
    if b.response.status == 0:
        return {}
    if 200 <= b.response.status < 300:
        if a.response.status < 300:
            return {**_when(a, request=False), "respond": b.response.status}
        if not a.flawed:
            return {}
        if not isinstance(a.sent, Mapping) and a.text is None:
            return {}
        patch["take"] = right
        patch.pop("status")
        return patch
    return {
        **patch,
        "respond": b.response.status,
        "replace": b.response.body,
        "headers": {"content-type": b.response.headers.get("content-type")},
    }


def _of_header(difference: Difference, a: Step) -> Json:
    name = difference.where
    value: str | None = None if difference.b == ABSENT else "observed" if difference.b == "..." else difference.b
    names = REQUEST_IDS if name == "x-request-id" else (name,)
    place = {"on": [a.operation], **({} if name == "x-request-id" else {"status": a.response.status})}
    return {**place, "headers": dict.fromkeys(names, None) if value is None else {name: value}}


def _of_member(difference: Difference, a: Step, b: Step) -> Json:
    pointers = [difference.where] if difference.kind != "error" else ["/error/code", "/error/type"]
    request = difference.kind == "value" and a.response.status >= 400
    patch = _when(a, request=request)
    for pointer in pointers:
        leaf = b.response.leaves.get(pointer)
        kind = _turned(a.response.leaves.get(pointer), leaf) if difference.kind == "type" else ""
        if leaf is None:
            patch.setdefault("drop", []).append(_dotted(pointer))
        elif kind:
            patch.setdefault("retype", {})[_dotted(pointer)] = kind
        else:
            patch.setdefault("set", {})[_dotted(pointer)] = leaf.raw
    return patch


def _turned(a: Leaf | None, b: Leaf | None) -> str:
    """The type that a number or a text of the fake's has on the other side, where that spells the same kind of value; else nothing."""
    numbers = ("integer", "number")
    if a is None or b is None or {a.type, b.type} - {"string", *numbers}:
        return ""
    text = b.raw if b.type == "string" else a.raw
    return ("string" if b.type == "string" else "number") if _NUMBER.fullmatch(str(text)) else ""


def _dotted(pointer: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in pointer.strip("/").split("/"))


def _together(patches: Iterable[Json]) -> Iterator[Json]:
    """The patches, those that change the same in several operations as one."""
    by_change: dict[str, Json] = {}
    for patch in patches:
        change = repr([{name: value for name, value in patch.items() if name not in ("on", "task")}, "task" in patch])
        known = by_change.get(change)
        if known is None:
            by_change[change] = {
                name: list(value) if isinstance(value, list) else value for name, value in patch.items()
            }
            continue
        for name in ("on", "task"):
            known[name] = list(dict.fromkeys([*known.get(name, []), *patch.get(name, [])]))
            if not known[name]:
                del known[name]
    yield from by_change.values()
