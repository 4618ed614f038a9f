"""What judges of client rules must tell apart, beside one right and one wrong case for each."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from scene import AWAY, HOOK, LINK, TASK, Scene, hook, judged

from kling_contract.history.events import AnyEvent
from kling_contract.judging import judge_history
from kling_contract.rules.verdicts import Choice, Result


@pytest.mark.parametrize("rule", ["CP-01", "CP-02"])
def test_a_callback_may_hurry_a_read(rule: str) -> None:
    """
    Waits are judged up to the first callback: what comes at its word may come early, and what came before it may not.
    """

    def story(before: float, after: float) -> Scene:
        scene = Scene(rule, min_poll=0.8).create()
        for wait in ([1.0] * 4 if rule == "CP-02" else [before]) + [before] * 4:
            scene.poll(after=wait)
        scene.back()
        for _ in range(9):
            scene.poll(after=after)
        return scene.done()

    patient = judged(rule, story(1.0, 0.01).recorder.events)
    hasty = judged(rule, story(0.01, 0.01).recorder.events)

    assert (bool(patient.looked), bool(patient.findings)) == (True, False)
    assert hasty.findings


def jitter(rule: str, seed: int, *, pause: float, reads: int, **case: Any) -> Scene:
    """Reads with full jitter: random waits between 0 and twice the pause."""
    rng = Random(seed)
    scene = Scene(rule, min_poll=pause, **case).create()
    for _ in range(reads):
        scene.poll(after=rng.uniform(0, 2 * pause))
    return scene.told()


@pytest.mark.parametrize(("rule", "reads", "share"), [("CP-01", 6, 0.05), ("CP-02", 7, 0.05), ("CP-02", 12, 0.01)])
def test_full_jitter_is_rarely_doubted(rule: str, reads: int, share: float) -> None:
    """
    Random waits of the right mean are found in few of a thousand runs, so almost never in a run and in its repetition.
    """
    found = sum(
        bool(judged(rule, jitter(rule, seed, pause=5.0, reads=reads).recorder.events).findings) for seed in range(1000)
    )

    assert found <= 1000 * share


def test_two_short_waits_decide_only_when_they_are_alike() -> None:
    """
    From two waits only a fixed pause can be told.
    """
    fixed = Scene("CP-01", min_poll=5.0).create().poll(after=3).poll(after=3.0).poll(after=3.01).told()
    drawn = Scene("CP-01", min_poll=5.0).create().poll(after=3).poll(after=3.0).poll(after=4.5).told()

    assert judged("CP-01", fixed.recorder.events).findings
    assert not judged("CP-01", drawn.recorder.events).looked


def test_two_failed_reads_say_nothing_of_growth() -> None:
    """
    Waits that are all alike are seen from three on; two may be alike by chance.
    """
    short = Scene("CP-20").create().poll("", 503).poll("", 503, after=1).poll(after=1).done()

    assert not judged("CP-20", short.recorder.events).looked


@pytest.mark.parametrize("rule", ["CM-01", "CM-02", "CM-03", "CM-05", "CM-06"])
def test_a_client_that_was_ended_by_force_passes_no_money_rule(rule: str) -> None:
    """
    What it would have done next is not known.
    """
    start = {"CM-02": {"lost": "cut"}, "CM-03": {"status": 503}, "CM-05": {"status": 403}}.get(rule, {})
    scene = Scene(rule, completes=None).create(**start)  # type: ignore[arg-type]
    scene = scene.poll("failed") if rule == "CM-06" else scene

    assert not judged(rule, scene.told(None, ended="deadline", signal=9).recorder.events).looked


def test_what_another_rule_explains_is_implied() -> None:
    """
    A client that hangs in a call that is never answered breaks CP-14; other rules about its end say so.
    """
    hung = Scene("CP-09").create().poll(lost="timeout").told(None, ended="deadline", signal=9).recorder.events

    found = judged("CP-09", hung)

    assert (found.looked, found.findings) == (0, ())
    assert found.implied[0].startswith("CP-14: story: ")
    assert not judged("CP-13", hung).findings


def again(scene: Scene, other: Scene) -> tuple[AnyEvent, ...]:
    """The history of a case and of its repetition."""
    events = [*scene.recorder.events, *other.recorder.events]
    return tuple(replace(event, seq=number) for number, event in enumerate(events, 1))


def test_a_repetition_that_disagrees_takes_the_must_away() -> None:
    """
    A finding counts when the repetition of its story shows it as well; else it is a warning that says so.
    """
    bad = Scene("CP-09").create().poll().told(1)
    good = Scene("CP-09", story="story:again", repeats="story").create().done()
    worse = Scene("CP-09", story="story:again", repeats="story").create().poll().told(1)

    once = next(one for one in judge_history(again(bad, good), Choice(only=frozenset({"CP-09"})), str).verdicts)
    twice = next(one for one in judge_history(again(bad, worse), Choice(only=frozenset({"CP-09"})), str).verdicts)

    assert (once.result, twice.result) == (Result.WARN, Result.FAIL)
    assert once.reason == "seen in one of two runs of story: the repetition disagrees"


def test_a_top_up_may_be_asked_for() -> None:
    """
    Whoever reads the balance after a 402 may send the create again.
    """
    topped = Scene("CM-05").create(402).call("GET", "/v1/credits", 200, {}).create(402).told(4)

    assert not judged("CM-05", topped.recorder.events).findings


def test_a_genuine_callback_is_as_good_as_a_read() -> None:
    """
    A client that never reads may say completed when a callback of the service said so.
    """
    heard = Scene("CD-11").create(sent=HOOK).back().fetch().told(0, "completed", said={"task_id": TASK})
    forged = Scene("CD-11").create(sent=HOOK).back(forged=True).fetch().told(0, "completed", said={"task_id": TASK})

    assert not judged("CD-11", heard.recorder.events).findings
    assert judged("CD-11", forged.recorder.events).implied[0].startswith("CW-08")


def test_waiting_for_a_callback_is_no_breakdown() -> None:
    """
    A client that never reads and waits to its limit took the create's answer; one that ends at once did not.
    """
    patient = Scene("CP-10").create(sent=HOOK).told(5, seconds=7.9)
    hasty = Scene("CP-10").create(sent=HOOK).told(1, seconds=0.3)

    assert not judged("CP-10", patient.recorder.events).looked
    assert judged("CP-10", hasty.recorder.events).findings


def test_a_secret_in_the_url_was_given_to_the_sender() -> None:
    """
    What arrives at a URL with the client's own secret is no forgery of an outsider.
    """

    def acted(sent: dict[str, Any]) -> bool:
        scene = Scene("CW-08", needs=["webhook"], callback_url=HOOK["callback_url"], scenario="callback-forged")
        scene = scene.create(sent=sent).back().call("GET", "/v.mp4", 200, base=AWAY).done()
        return bool(judged("CW-08", scene.recorder.events).findings)

    assert acted(HOOK)
    assert not acted({**HOOK, "callback_url": f"{HOOK['callback_url']}?mac=5d41"})


def test_a_late_receiver_is_named_for_that_alone() -> None:
    """
    A callback that is not answered in time comes again: that it acts twice follows from it.
    """
    late = (
        hook("CW-05").back(0, lasts=10.1).back(0, lasts=10.1).poll("completed").fetch().fetch().told().recorder.events
    )

    assert not judged("CW-05", late).findings
    assert judged("CW-05", late).implied
    assert judged("CW-01", tuple(late)).looked == 0


def test_another_scheme_is_named() -> None:
    """
    Calls without the given key belong to no case; they are seen all the same.
    """
    scene = Scene("CQ-01").told(4)
    other = Scene("CQ-01", story="nobody's").create(401, headers={"authorization": "Token x"}).recorder.events
    events = tuple(replace(one, seq=number) for number, one in enumerate([*scene.recorder.events, other[-1]], 1))

    assert judged("CQ-01", events).findings[0].seen.startswith("Token")


def test_whoever_is_ended_by_force_has_no_limit() -> None:
    """
    A client that hangs breaks CP-13 in whatever story it does so; what shows it is its last call.
    """
    hung = Scene("CD-01").create().told(None, ended="deadline", signal=15)

    (finding,) = judged("CP-13", hung.recorder.events).findings
    assert finding.expected == "an end within 8 s"
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


def _stuck(*, bounded: bool, last: float = 118.0) -> Any:
    """A client that the lab ended after 120 s, and that read until then, or hung from some moment on."""
    scene = Scene("CP-13", completes=False, says=["gave_up"], bounded=bounded).create().poll()
    scene.poll(after=last)
    return scene.told(None, signal=9, ended="deadline", seconds=120.0)


@pytest.mark.parametrize(
    ("bounded", "last", "result"),
    [(True, 118.0, "fail"), (False, 118.0, "warn"), (False, 5.0, "fail")],
    ids=["takes a deadline", "may have a longer one", "hangs"],
)
def test_a_longer_limit_of_its_own_is_no_must(bounded: bool, last: float, result: str) -> None:
    """
    Whether a client that goes on reading would ever have stopped is not known, unless it takes the deadline that it is given.
    """
    run = judge_history(_stuck(bounded=bounded, last=last).recorder.events, Choice(only=frozenset({"CP-13"})), str)
    assert [str(verdict.result) for verdict in run.verdicts] == [result]
    assert ("--deadline" in run.verdicts[0].reason) is (result == "warn")


@pytest.mark.parametrize(
    ("rule", "gaps", "looked"),
    [("CP-19", (6.0,), 1), ("CP-19", (0.1, 0.1), 0), ("CP-20", (6.0, 12.0), 1), ("CP-20", (6.0, 6.0), 0)],
    ids=["one long wait is no burst", "two short ones may begin one", "two waits that grow", "two alike may yet grow"],
)
def test_few_waits_after_a_5xx_show_what_they_can(rule: str, gaps: tuple[float, ...], looked: int) -> None:
    """
    A client that backs off for long has few waits before its deadline: enough to see that it does.
    """
    scene = Scene(rule, completes=None).create().poll().poll("", 503)
    for gap in gaps:
        scene.poll("", 503, after=gap)
    found = judged(rule, scene.told(5).recorder.events)

    assert (found.looked, found.findings) == (looked, ())


@pytest.mark.parametrize(
    ("rule", "failed"), [("CP-05", {"status": 503}), ("CP-06", {"lost": "cut"})], ids=["a 5xx", "a cut read"]
)
def test_who_was_shown_the_end_need_not_read_again(rule: str, failed: dict[str, Any]) -> None:
    """By a genuine callback, or by the read before the one that failed; a forged callback shows nothing."""
    confirmed = judged(
        rule, Scene(rule).create().poll("completed").poll("", **failed).fetch().served().told().recorder.events
    )
    taken = judged(rule, hook(rule).poll("", **failed).back().fetch().served().told().recorder.events)
    forged = judged(rule, hook(rule).poll("", **failed).back(forged=True).told().recorder.events)
    ended = judged(rule, hook(rule).poll("", **failed).back().told(5).recorder.events)

    assert (bool(taken.looked), taken.findings) == (True, ())
    assert (bool(confirmed.looked), confirmed.findings) == (True, ())
    assert forged.findings
    assert ended.findings
