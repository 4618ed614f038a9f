"""Judges of clients at their limits: every code of a kind, and what stands just outside it."""

import pytest
from scene import AWAY, Scene, hook, judged

from kling_contract.judging import judge_history
from kling_contract.rules.verdicts import Choice


@pytest.mark.parametrize(
    ("status", "accused"), [(400, True), (401, True), (402, True), (403, True), (404, True), (429, False), (500, False)]
)
def test_a_refused_create_is_not_repeated_whatever_refused_it(status: int, accused: bool) -> None:
    """CM-05: not after what will be refused again; after 429 and 5xx other rules say what may be done."""
    scene = Scene("CM-05").create(status).create(status).told(4)

    assert bool(judged("CM-05", scene.recorder.events).findings) is accused


def verdict_of(rule: str, scene: Scene) -> str:
    """What the kit says of one rule."""
    run = judge_history(scene.recorder.events, Choice(), str)
    return next(one.result for one in run.verdicts if one.rule.id == rule)


@pytest.mark.parametrize(
    ("seconds", "state", "reads", "verdict"),
    [(7.9, "processing", 6, "warn"), (7.9, "odd", 6, "warn"), (3.0, "processing", 2, "fail"), (7.9, "processing", 2, "fail"),
     (7.9, "completed", 6, "fail")],
)  # fmt: skip
def test_a_limit_that_comes_before_the_end_is_no_breach(seconds: float, state: str, reads: int, verdict: str) -> None:
    """CP-09: who read to its limit of 8 s and saw no end may be a right client on a slow machine; who stopped, or saw it, is not."""
    scene = Scene("CP-09").create(after=0.1)
    for _ in range(reads):
        scene.poll("odd")
    scene.poll(state).told(5, seconds=seconds)

    assert verdict_of("CP-09", scene) == verdict


@pytest.mark.parametrize(("ended", "verdict"), [("on purpose", "warn"), ("deadline", "warn"), ("itself", "fail")])
def test_a_process_that_was_killed_could_not_tidy_up(ended: str, verdict: str) -> None:
    """CQ-03: a file with the key is a warning where the lab ended the process; what it said is a breach all the same."""
    file = {"name": "headers", "size": 9, "sha256": "0" * 64}
    left = Scene("CQ-03").create().told(None, signal=9, ended=ended, files=[file], leaks=["headers"])
    said = Scene("CQ-03").create().told(None, signal=9, ended=ended, files=[file], leaks=["headers", "stderr"])

    assert verdict_of("CQ-03", left) == verdict
    assert verdict_of("CQ-03", said) == "fail"


@pytest.mark.parametrize("ahead", [1.0, 0.5, 0.0])
def test_a_callback_between_two_reads_explains_the_second(ahead: float) -> None:
    """CP-03: from the moment of the answer that asks to wait to that of the next read, both included."""
    scene = hook("CP-03").poll("", 429, got={"retry-after": "2"})
    scene.now -= ahead
    scene.back().poll(after=1.0 - ahead).told()

    assert not judged("CP-03", scene.recorder.events).looked


@pytest.mark.parametrize(("path", "fine"), [("a%2Fb", True), ("a%2fb", True), ("a/b", True), ("a", False)])
def test_an_id_stands_whole_in_a_path(path: str, fine: bool) -> None:
    """CQ-12: encoded in either case, or whole as the lab's fake shows it; cut where it means something else it is not."""
    scene = (
        Scene("CQ-12")
        .create(task="task-unified-1-a/b")
        .call("GET", f"/v1/tasks/task-unified-1-{path}", 404, {})
        .told(1)
    )

    found = judged("CQ-12", scene.recorder.events)

    assert found.looked
    assert bool(found.findings) is not fine


def test_whoever_goes_on_past_a_bad_certificate_is_shown_by_the_first_request() -> None:
    """CQ-07: one finding with the connection and one request, however many there were."""
    scene = Scene("CQ-07").touched()
    for _ in range(3):
        scene.create(404, base=AWAY)
    (finding,) = judged("CQ-07", scene.told(7).recorder.events).findings

    assert len(finding.events) == 2


@pytest.mark.parametrize(("status", "looked"), [(200, False), (504, True), (503, True), (400, True)])
def test_a_create_that_succeeds_after_a_lost_one_mends_it(status: int, looked: bool) -> None:
    """CM-07: what such a client says at its end is another rule's."""
    scene = Scene("CM-07").create(lost="cut").create(status).told(3, "failed")

    assert bool(judged("CM-07", scene.recorder.events).findings) is looked


@pytest.mark.parametrize(
    ("status", "size", "fine"),
    [(399, 0, False), (400, 0, True), (499, 0, True), (500, 0, False), (400, 2_000_000, True), (200, 2_000_000, False)],
)
def test_a_body_that_is_none_is_refused_with_any_4xx(status: int, size: int, fine: bool) -> None:
    """CW-09: 400 is the plainest of them."""
    scene = hook("CW-09").back(status, "text", forged=True, size=size).done()

    assert bool(judged("CW-09", scene.recorder.events).findings) is not fine


@pytest.mark.parametrize(("status", "fine"), [(200, True), (206, True), (404, False), (0, False)])
def test_a_file_is_whole_where_a_later_download_came_whole(status: int, fine: bool) -> None:
    """CD-04: all of it, or the part that was missing."""
    scene = Scene("CD-04").create().poll("completed").fetch(lost="cut").fetch(status).served().told()

    assert bool(judged("CD-04", scene.recorder.events).findings) is not fine
