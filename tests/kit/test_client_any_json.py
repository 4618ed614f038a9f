"""No judge of clients breaks, whatever JSON stands in whichever place of a case: requests, responses, callbacks, notes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import BOOK, CONTRACT, HOOK, TASK, Scene
from test_any_json import JSON, MASK, _json, parts, put

from kling_contract.history.events import body_of
from kling_contract.rules.registry import judge_all

RULES = [rule for rule in BOOK.values() if rule.for_clients]


def case(rules: list[str]) -> list[Any]:
    """A case in which a little of everything happens."""
    scene = Scene(
        "x", story="story", needs=["webhook"], params={"lasts": "2s"}, request={"quality": "1080p"}, offered=["quality"]
    )
    scene.create(429, got={"retry-after": "1"}).create(sent=HOOK).poll("", 404).poll().poll("", 503).poll("", 429)
    scene.poll("failed").back().back(forged=True).poll("completed").fetch(403).poll("completed").fetch(
        lost="cut"
    ).fetch()
    scene.call(
        "POST", "/v1/tasks/batch", 200, {"data": [{"id": TASK, "status": "completed"}]}, sent={"task_ids": [TASK]}
    )
    scene.served().told(0, "completed", said={"task_id": TASK, "effects": 1, "error": {"class": "auth"}})
    events = list(scene.recorder.events)
    note = next(number for number, event in enumerate(events) if event.kind == "note" and event.topic == "case")
    events[note] = replace(events[note], data={**events[note].data, "rules": rules})
    return events


GOOD = case([rule.id for rule in RULES])
PLACES = parts(GOOD)


def broken(events: list[Any]) -> list[str]:
    """Why judges broke."""
    return [f"{found.rule.id}: {found.broken}" for found in judge_all(events, CONTRACT, RULES) if found.broken]


def test_the_case_itself_breaks_no_judge() -> None:
    """
    As it stands.
    """
    assert broken(GOOD) == []


@settings(max_examples=settings.default.max_examples // 2, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_json_breaks_no_judge(place: tuple[int, str, tuple[Any, ...]], value: Any) -> None:
    """
    One place holds anything.
    """
    import orjson

    number, name, path = place
    events = list(GOOD)
    message = getattr(events[number], name)
    try:
        raw = orjson.dumps(put(_json(message), path, value))
    except (orjson.JSONEncodeError, TypeError):
        return
    events[number] = replace(events[number], **{name: replace(message, body=body_of(raw, MASK))})

    assert broken(events) == []


@pytest.mark.parametrize("status", [["completed"], {"a": 1}, None, 5])
def test_a_status_of_another_type_breaks_no_judge(status: Any) -> None:
    """
    A list cannot be looked up in a set.
    """
    scene = Scene("CP-08", rules=[rule.id for rule in RULES]).create().poll(body={"id": TASK, "status": status}).told(1)

    assert broken(list(scene.recorder.events)) == []
