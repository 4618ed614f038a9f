"""No judge breaks, whatever a server sends: a broken judge would hide what it should have said."""

from dataclasses import replace
from typing import Any

import histories
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import CONTRACT

from kling_contract.history.events import Callback, ClockMove, Download, Exchange, Note
from kling_contract.judging import again, judge_history
from kling_contract.reports.documents import junit, report
from kling_contract.reports.page import page, with_clock
from kling_contract.reports.summary import markdown
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Choice

BOOK = [rule for rule in rules(CONTRACT).values() if not rule.for_clients]
GOOD = histories.good()
odd = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**30, "", "http://[", "\x00", "completed", [], [None], [{}], {}, {"id": None}, {"a": [1]}, {"code": []}]
)  # fmt: skip
junk = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
MEMBERS = [
    "id", "status", "progress", "created", "results", "error", "usage", "task_info", "data", "total", "model", "result_data",
    "success", "code",
]  # fmt: skip


def spoiled(event: Any, member: str | None, value: Any) -> Any:
    """*event* with a member of its JSON, or all of it, replaced."""

    def changed(body: Any) -> Any:
        document = orjson.loads(body.content) if body.content else {}
        whole = member is None or not isinstance(document, dict)
        text = orjson.dumps(value if whole else {**document, member: value}).decode()
        return replace(body, text=text, base64=None)

    if isinstance(event, Exchange) and event.answer is not None:
        return replace(event, answer=replace(event.answer, body=changed(event.answer.body)))
    if isinstance(event, Callback):
        return replace(event, request=replace(event.request, body=changed(event.request.body)))
    return event


spoilers = st.lists(
    st.tuples(st.integers(0, len(GOOD) - 1), st.none() | st.sampled_from(MEMBERS), junk), min_size=1, max_size=6
)


@given(spoilers)
@settings(max_examples=settings.default.max_examples // 4, deadline=None)
def test_odd_bodies(changes: list[tuple[int, str | None, Any]]) -> None:
    """
    Any JSON anywhere in answers and callbacks is judged to the end, and reported.
    """
    events = list(GOOD)
    for place, member, value in changes:
        try:
            events[place] = spoiled(events[place], member, value)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            continue  # a body that was no JSON, or a number that JSON writers refuse: nothing to spoil

    assert not [(one.rule.id, one.broken) for one in judge_all(events, CONTRACT, BOOK) if one.broken]


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.sampled_from(["http://[", "", "//", "\x00", "x:y"])), max_size=4
    )
)
@settings(max_examples=settings.default.max_examples // 8, deadline=None)
def test_odd_urls_and_headers(changes: list[tuple[int, str]]) -> None:
    """
    URLs and headers that no parser takes are judged and reported all the same.
    """
    events = list(GOOD)
    for place, text in changes:
        event = events[place]
        if isinstance(event, Exchange | Callback | Download):
            events[place] = replace(event, url=text)
        if isinstance(event, Exchange | Callback) and event.answer is not None:
            headers = (("Location", text), ("Retry-After", text), ("Content-Type", text))
            events[place] = replace(events[place], answer=replace(event.answer, headers=headers, status=302))
    run = judge_history(events, Choice(), again("check", []))

    assert not [one for one in run.verdicts if one.result == "kit-error"]
    assert page([run])
    assert markdown(run)
    assert junit(run)
    assert report(run)


@given(st.data())
@settings(max_examples=settings.default.max_examples // 8, deadline=None)
def test_any_part_of_a_history(data: st.DataObject) -> None:
    """
    A history with holes, as a recording cut anywhere has, is judged to the end.
    """
    kept = data.draw(st.lists(st.sampled_from(GOOD), unique_by=lambda event: event.seq, max_size=60))

    assert not [(one.rule.id, one.broken) for one in judge_all(kept, CONTRACT, BOOK) if one.broken]


@pytest.mark.parametrize("far", [4, 40, 10**18])
def test_the_clock_between_two_events_is_shown_however_they_are_numbered(far: int) -> None:
    """A foreign recording may leave out a million million numbers, which nothing goes through one by one."""
    between = [ClockMove(seq=2, who="a"), ClockMove(seq=3, who="another")]
    first, last = Note(seq=1, who="a", topic="x"), Note(seq=far, who="a", topic="x")
    events = {event.seq: event for event in (first, *between, last, ClockMove(seq=far + 1, who="a"))}

    assert [event.seq for event in with_clock([first, last], events)] == [1, 2, far]
