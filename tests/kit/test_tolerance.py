"""Correct servers differ; none of these differences may be held against one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import histories
import orjson
import pytest
from tape import BODY, CONTRACT, CREATE, KEY, OTHER, Tape, error

from kling_contract.history.events import Callback, ClockMove, Download, Exchange
from kling_contract.history.labels import Expect, ImageFacts, Topic
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules

BOOK = [rule for rule in rules(CONTRACT).values() if not rule.for_clients]
LEGACY = {entry.code: entry for entry in CONTRACT.errors}


def breaches(events: list[Any]) -> list[str]:
    """Whatever any judge finds in *events*."""
    found = judge_all(events, CONTRACT, BOOK)
    return [f"{one.rule.id}: {finding}" for one in found for finding in one.findings] + [
        f"{one.rule.id}: {one.broken}" for one in found if one.broken
    ]


def answered(change: Callable[[Exchange, dict[str, Any]], Any]) -> list[Any]:
    """The good history with every JSON answer changed."""
    events: list[Any] = []
    for event in histories.good():
        if isinstance(event, Exchange) and event.answer is not None:
            document = change(event, orjson.loads(event.answer.body.content))
            text = orjson.dumps(document).decode()
            body = replace(event.answer.body, text=text)
            event = replace(event, answer=replace(event.answer, body=body))
        events.append(event)
    return events


def tasks_in(document: dict[str, Any]) -> bool:
    """Whether an answer is a task."""
    return "status" in document


def test_unknown_fields_everywhere() -> None:
    """
    Members that nobody documents, new in every answer, are fine.
    """
    assert not breaches(answered(lambda event, body: {**body, "trace": event.seq, "extra": {"x": None}}))


def test_legacy_dialect() -> None:
    """
    The status as an integer code, the older types, and no param are fine when they are spoken throughout.
    """

    def legacy(event: Exchange, body: dict[str, Any]) -> dict[str, Any]:
        if event.answer.status < 400 or "error" not in body:  # files have errors of their own shape
            return body
        entry = LEGACY[body["error"]["code"]]
        said = body["error"]["message"]
        return {"error": {"code": entry.status, "message": said, "type": entry.legacy_type}}

    assert not breaches(answered(legacy))


def test_no_can_cancel_and_no_details() -> None:
    """
    Newer pages drop can_cancel; results alone, without result_data, are enough.
    """

    def bare(_: Exchange, body: dict[str, Any]) -> dict[str, Any]:
        if tasks_in(body):
            body["task_info"] = {"video_duration": body["task_info"]["video_duration"]}
        return body

    events = [_posted(event, bare) if isinstance(event, Callback) else event for event in answered(bare)]
    assert not breaches(events)


def _posted(event: Callback, change: Callable[[Any, dict[str, Any]], Any]) -> Callback:
    text = orjson.dumps(change(event, orjson.loads(event.request.body.content))).decode()
    return replace(event, request=replace(event.request, body=replace(event.request.body, text=text)))


def test_unknown_request_fields_refused() -> None:
    """
    A server may refuse what it does not know, if it does so every time.
    """
    tape = Tape()
    for _ in range(2):
        tape.refuse({**BODY, "novel": 1}, param="novel")

    assert not breaches(tape.events)


def test_bad_image_as_failed_task() -> None:
    """
    A bad first frame may be found out after the create.
    """
    tape = Tape()
    for facts in (
        ImageFacts(width=299, height=300, size=9, format="png"), ImageFacts(width=900, height=300, size=9, format="png"),
        ImageFacts(width=640, height=360, size=60_000_000, format="png"),
        ImageFacts(width=640, height=360, size=9, format="gif"),
        ImageFacts(fault="unreachable"), ImageFacts(fault="truncated"),
    ):  # fmt: skip
        task = tape.create(image=facts)
        tape.advance(20)
        tape.read(tape.fail(task, "image_processing_error"))

    assert not breaches(tape.events)


@pytest.mark.parametrize("size", [50_000_001, 52_428_800])
@pytest.mark.parametrize("status", [200, 400])
def test_disputed_megabytes_are_not_judged(size: int, status: int) -> None:
    """
    Between the two readings of 50 MB either answer is right.
    """
    tape = Tape()
    facts = ImageFacts(width=640, height=360, size=size, format="png")
    if status == 200:
        task = tape.create(image=facts)
        tape.advance(20)
        tape.read(tape.complete(task))
    else:
        tape.refuse(BODY, param="image_start", image=facts)

    assert not [found for found in breaches(tape.events) if found.startswith("SV-23")]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_expired_link_answers(status: int) -> None:
    """
    403, 404 and 410 all say that a link is gone.
    """
    events = [
        replace(event, status=status) if isinstance(event, Download) and event.status == 403 else event
        for event in histories.good()
    ]
    assert not breaches(events)


def test_foreign_task_is_403() -> None:
    """
    Another account's task may be forbidden instead of unknown.
    """
    tape = Tape()
    task = tape.create()
    path = f"/v1/tasks/{task['id']}"
    forbidden = error(403, None, "permission_denied")
    tape.call("GET", path, key=OTHER, status=403, answer=forbidden)
    made_up = "/v1/tasks/task-unified-1757169743-zzzzzzzz"
    tape.call("GET", made_up, key=OTHER, status=404, answer=error(404), expect=Expect.NO_SUCH_TASK)

    assert not breaches(tape.events)


def test_progress_in_odd_jumps() -> None:
    """
    Progress may stand still, jump and skip processing.
    """
    tape = Tape()
    task = tape.create()
    for status, progress in (("pending", 0), ("processing", 1), ("processing", 1), ("processing", 97)):
        tape.advance(3)
        tape.go(task, status, progress)
    tape.advance(300)
    tape.read(tape.complete(task))
    straight = tape.create()
    tape.advance(5)
    tape.read(tape.complete(straight))

    assert not breaches(tape.events)


def test_overlapping_reads_have_no_order() -> None:
    """
    Of two reads under way at once, either may show the older state.
    """
    tape = Tape()
    task = tape.create()
    tape.recorder.add(ClockMove(mode="real", before=tape.now, after=tape.now, at=tape.now, mono=tape.tick()))
    behind = dict(task)
    tape.go(
        task,
        "processing",
        50,
    )
    tape.mono -= 0.005
    tape.read(behind)

    assert not breaches(tape.events)


def late(seconds: float, *, noise: float) -> list[str]:
    """The breaches of a first retry that comes *seconds* after the failure on a real clock."""
    tape = Tape()
    tape.recorder.add(ClockMove(mode="real", before=tape.now, after=tape.now, at=tape.now, mono=tape.tick()))
    tape.note(Topic.NOISE, seconds=noise)
    url = "https://hooks.example.com/late"
    task = tape.create({"callback_url": url})
    tape.now += 60
    tape.complete(task)
    tape.called(task, url, 500)
    tape.now += seconds
    tape.called(task, url)
    return breaches(tape.events)


@pytest.mark.parametrize("seconds", [1.0, 1.9, 2.4, 3.4])
def test_late_retry_within_noise(seconds: float) -> None:
    """
    Late is judged against the noise of the run, and a second in which any machine may have been busy.
    """
    assert not late(seconds, noise=0.5)


def test_later_than_noise_and_early() -> None:
    """
    Later than twice the wait and the noise is told; early always is.
    """
    assert [found[:5] for found in late(3.6, noise=0.5)] == ["SC-09"]
    assert [found[:5] for found in late(0.9, noise=5)] == ["SC-08"]


def test_answer_at_the_edge_of_the_timeout() -> None:
    """
    An answer that comes just as the sender gives up may count or not.
    """
    for retried in (False, True):
        tape = Tape()
        url = "https://hooks.example.com/edge"
        task = tape.create({"callback_url": url})
        tape.advance(60)
        tape.complete(task)
        tape.called(task, url, wall=CONTRACT.timeout + 0.02)
        if retried:
            tape.advance(CONTRACT.retry_delays[0])
            tape.called(task, url)
        tape.advance(60)
        tape.note(Topic.SETTLED, task_id=task["id"])
        tape.read(task)

        assert not breaches(tape.events)


def test_replay_shows_the_task_at_its_create() -> None:
    """
    An idempotent replay answers the pending task after its end; that is no step back.
    """
    tape = Tape()
    once = [("Idempotency-Key", "0123456789abcdef")]
    task = tape.create(sent=once)
    pending = dict(task)
    tape.advance(60)
    tape.read(tape.complete(task))
    tape.call("POST", CREATE, BODY, sent=once, answer=pending, headers=[("idempotency-replayed", "true")])

    assert not breaches(tape.events)


def test_forced_faults_and_lost_replies() -> None:
    """
    What the driver brought about itself, and what was lost on the way, is held against nobody.
    """
    tape = Tape()
    tape.call("POST", CREATE, BODY, status=502, answer=b"<html>", expect=Expect.FAULT)
    lost = tape.call("POST", CREATE, BODY)
    events = [replace(event, answer=None, lost="cut") if event.seq == lost.seq else event for event in tape.events]

    assert not breaches(events)


def test_browser_recording_without_credentials() -> None:
    """
    A recording whose Authorization headers were cut out says nothing about keys.
    """
    events = [
        replace(event, case="", who="", request=replace(event.request, headers=()))
        for event in histories.good()
        if isinstance(event, Exchange) and event.answer.status == 200
    ]

    assert not [found for found in breaches(events) if found.startswith("SA-")]


def test_prices_with_decimals() -> None:
    """
    Sums of decimal prices are compared to a millionth.
    """
    tape = Tape()
    tape.balance()
    tape.credits[KEY] -= 0.1 + 0.2 - 50
    task = tape.create()
    assert task["usage"]["credits_reserved"] == 50
    tape.balance()

    def cheaper(event: Exchange, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "usage": {**body["usage"], "credits_reserved": 0.3}} if event.method == "POST" else body

    events = []
    for event in tape.events:
        if isinstance(event, Exchange):
            text = orjson.dumps(cheaper(event, orjson.loads(event.answer.body.content))).decode()
            event = replace(event, answer=replace(event.answer, body=replace(event.answer.body, text=text)))
        events.append(event)
    assert not breaches(events)
