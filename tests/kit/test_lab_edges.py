"""What judges of client rules must tell apart, beside one right and one wrong case for each."""

from typing import Any

import pytest
from scene import LINK, TASK, Scene, judged


@pytest.mark.parametrize("rule", ["CP-01", "CP-02"])
def test_a_callback_may_hurry_a_read(rule: str) -> None:
    """
    Waits are judged up to the first callback: what comes at its word may come early, and what came before it may not.
    """

    def story(before: float, after: float) -> Scene:
        scene = Scene(rule).create()
        for wait in [1.0] * 4 + [before] * 4:
            scene.poll(after=wait)
        scene.back()
        for _ in range(9):
            scene.poll(after=after)
        return scene.done()

    patient = judged(rule, story(1.0, 0.01).recorder.events)
    hasty = judged(rule, story(0.01, 0.01).recorder.events)

    assert (bool(patient.looked), bool(patient.findings)) == (True, False)
    assert hasty.findings


def test_waits_grow_from_the_first_trouble() -> None:
    """
    A row of failed reads that other trouble led up to says nothing of waits: they may be as long as they get already.
    """

    def story(*before: Any) -> Scene:
        scene = Scene("CP-05").create()
        for body in before:
            scene.poll(body=body)
        return scene.poll(status=500, after=4.0).poll(status=500, after=8.0).poll("completed", after=8.0).done()

    assert judged("CP-05", story().recorder.events).findings
    assert not judged("CP-05", story(b"<html>").recorder.events).findings


def test_whoever_is_ended_by_force_has_no_limit() -> None:
    """
    A client that hangs breaks CP-13 in whatever story it does so; what shows it is its last call.
    """
    hung = Scene("CD-01").create().told(None, ended="deadline", signal=15)

    (finding,) = judged("CP-13", hung.recorder.events).findings
    assert finding.expected == "an end at the limit of 8 s that it was told"
    assert len(finding.events) == 2
    assert not judged("CP-13", Scene("CD-01").create().poll("completed").done().recorder.events).looked


def test_reads_of_several_at_once_are_reads() -> None:
    """
    A client may read its task through the batch endpoint: what that shows counts, and how often it asks as well.
    """
    scene = Scene("CD-11").create()
    for state, wait in (("processing", 1.0), ("processing", 0.01), ("processing", 0.01), ("completed", 0.01)):
        task = {"id": TASK, "status": state, "progress": 50}
        task |= {"progress": 100, "results": [LINK]} if state == "completed" else {}
        scene.call("POST", "/v1/tasks/batch", 200, {"data": [task]}, sent={"task_ids": [TASK]}, after=wait)
    events = scene.served().fetch().told(0, "completed", said={"task_id": TASK}).recorder.events

    assert judged("CD-11", events).looked
    assert not judged("CD-11", events).findings
    assert judged("CP-01", events).findings


def test_a_lost_task_that_was_found_is_not_unknown() -> None:
    """
    Who names the task that a lost create made knows more than that it is unknown; who names another does not.
    """

    def story(task_id: str) -> Scene:
        scene = Scene("CM-07", completes=None).create(lost="cut").poll("completed").served().fetch()
        return scene.told(0, "completed", said={"task_id": task_id})

    assert not judged("CM-07", story(TASK).recorder.events).findings
    assert judged("CM-07", story("task-unified-1-somebody").recorder.events).findings


def test_two_runs_that_did_not_meet_show_nothing() -> None:
    """
    Two creates for one file are two too many only where the first run was not over.
    """
    apart = Scene("CM-10", flow="twice", completes=None).create().poll("completed").served().fetch()
    apart.create(task=TASK[:-1] + "x").done()
    together = Scene("CM-10", flow="twice", completes=None).create().create(task=TASK[:-1] + "x").done()

    assert not judged("CM-10", apart.recorder.events).looked
    assert judged("CM-10", together.recorder.events).findings


def test_a_call_that_is_made_again_had_a_timeout() -> None:
    """
    CP-14 is about calls: a client that ends a silent one and asks again has a timeout, whatever becomes of it.
    """

    def story(*, again: bool) -> Scene:
        scene = Scene("CP-14").create().poll(lost="timeout")
        return (scene.poll() if again else scene).told(None, ended="deadline", signal=15)

    assert not judged("CP-14", story(again=True).recorder.events).findings
    assert judged("CP-14", story(again=False).recorder.events).findings


def test_waits_after_trouble_are_not_the_floor_of_polling() -> None:
    """
    An HTTP stack may ask again at once when an answer was cut; how long to wait between good reads is another matter.
    """
    scene, after = Scene("CP-01").create(), 0.3
    for lost in ("", "", "cut", "", "cut", ""):
        scene.poll(lost=lost, after=after)
        after = 0.01 if lost else 0.3

    assert not judged("CP-01", scene.done().recorder.events).findings


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("50 credits", True),
        ("credits_reserved=50.0", True),
        ("sha256 a50b", False),
        ("id 7-50c", False),
        ("1.50 s", False),
    ],
)
def test_a_charge_is_a_number_of_its_own(said: str, shown: bool) -> None:
    """
    A hash or an id that happens to hold the digits shows no charge.
    """
    scene = Scene("CM-12").create().poll("completed").served().fetch().told(0, stdout=said)

    assert bool(judged("CM-12", scene.recorder.events).findings) != shown
