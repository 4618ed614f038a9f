"""Each client judge is silent on a good case and names what is wrong with a bad one."""

from typing import Any

import orjson
import pytest
from scene import AWAY, BODY, BOOK, CONTRACT, CREATE, FILE, HEADERS, KEY, TASK, Make, Scene, hook, judged, waits

from kling_contract.history.events import Note, from_json, to_json
from kling_contract.history.labels import Topic
from kling_contract.judging import judge_history
from kling_contract.rules.registry import judge_all
from kling_contract.rules.verdicts import Choice

UNTIL = {"retry-after": "2"}
DATE = {"retry-after": "Thu, 01 Jan 1970 00:16:46 GMT"}
LATE: dict[str, Any] = {"code": None, "signal": 9, "ended": "deadline"}
TWO: dict[str, Any] = {"flow": "killed"}
THREE: dict[str, Any] = {"flow": "again"}
KEYED = {**HEADERS, "idempotency-key": "k"}
FIRST = f"{TASK[:-1]}0"
GIVEN = {"outcome": "completed", "said": {"task_id": TASK, "effects": 1}}


def row(scene: Scene, calls: int, after: float, *, create: bool = False) -> Scene:
    """Calls in a row that are answered 429."""
    for _ in range(calls):
        scene.create(429, after=after) if create else scene.poll("", 429, after=after)
    return scene


CASES: dict[str, tuple[Make, Make]] = {
    "CQ-01": (lambda r: Scene(r).create().done(), lambda r: Scene(r).create(401, headers={"x": "y"}).told(1)),
    "CQ-02": (
        lambda r: Scene(r).create().done(),
        lambda r: Scene(r).call("GET", f"/v1/credits?key={KEY}", 200, {}).told(),
    ),
    "CQ-03": (lambda r: Scene(r).told(), lambda r: Scene(r).told(leaks=["stderr"])),
    "CQ-04": (lambda r: Scene(r).create().done(), lambda r: Scene(r).create().poll("completed").fetch(who=KEY).told()),
    "CQ-05": (
        lambda r: Scene(r).create(307, got={"location": AWAY + CREATE}).told(1),
        lambda r: Scene(r).create(307, got={"location": AWAY + CREATE}).create(404, base=AWAY).told(1),
    ),
    "CQ-06": (lambda r: Scene(r).told(4, "refused"), lambda r: Scene(r).create(0, base="http://kling.test").told(7)),
    "CQ-07": (lambda r: Scene(r).touched().told(7), lambda r: Scene(r).touched().create(404, base=AWAY).told(7)),
    "CQ-08": (lambda r: Scene(r).create().done(), lambda r: Scene(r).create(sent={**BODY, "duration": "5"}).done()),
    "CQ-09": (
        lambda r: Scene(r).create().done(),
        lambda r: Scene(r).create(headers={"content-type": "text/plain"}).done(),
    ),
    "CQ-10": (
        lambda r: Scene(r, completes=False, request={"quality": "4k"}).told(4),
        lambda r: (
            Scene(r, completes=False, request={"quality": "4k"}).create(400, sent={**BODY, "quality": "4k"}).told(4)
        ),
    ),
    "CQ-11": (
        lambda r: Scene(r).create(sent={**BODY, "duration": 5}).done(),
        lambda r: Scene(r).create(sent={**BODY, "seed": 1}).done(),
    ),
    "CQ-12": (
        lambda r: (
            Scene(r).create(task="task-unified-1-a/b").call("GET", "/v1/tasks/task-unified-1-a%2Fb", 404, {}).told(1)
        ),
        lambda r: (
            Scene(r).create(task="task-unified-1-a/b?c").call("GET", "/v1/tasks/task-unified-1-a/b", 404, {}).told(1)
        ),
    ),
    "CQ-13": (
        lambda r: Scene(r).create().done(),
        lambda r: Scene(r).create(headers={**HEADERS, "user-agent": "node"}).done(),
    ),
    "CQ-14": (
        lambda r: hook(r).done(),
        lambda r: Scene(r).create(sent={**BODY, "callback_url": "http://a.example/x"}).done(),
    ),
    "CQ-15": (
        lambda r: (
            Scene(r, request={"quality": "1080p"}, offered=["quality"]).create(sent={**BODY, "quality": "1080p"}).done()
        ),
        lambda r: Scene(r, request={"quality": "1080p"}, offered=["quality"]).create().done(),
    ),
    "CQ-16": (
        lambda r: Scene(r, completes=None).create().done(),
        lambda r: Scene(r, completes=None).call("POST", "//v1/videos/generations", 404, {}, sent=BODY).told(4),
    ),
    "CQ-17": (
        lambda r: Scene(r, completes=None).create().done(),
        lambda r: Scene(r, completes=None).call("POST", "/v1/v1/videos/generations", 404, {}, sent=BODY).told(4),
    ),
    "CM-01": (lambda r: Scene(r).create().done(), lambda r: Scene(r).create().create(task=TASK[:-1] + "a").done()),
    "CM-02": (
        lambda r: Scene(r).create(lost="cut").told(6, "unknown"),
        lambda r: Scene(r).create(lost="cut").create(task=TASK[:-1] + "a").done(),
    ),
    "CM-03": (
        lambda r: (
            Scene(r)
            .create(500, headers={**HEADERS, "idempotency-key": "k"})
            .create(headers={**HEADERS, "idempotency-key": "k"})
            .done()
        ),
        lambda r: (
            Scene(r)
            .create(500, headers={**HEADERS, "idempotency-key": "k"})
            .create(headers={**HEADERS, "idempotency-key": "m"})
            .done()
        ),
    ),
    "CM-04": (
        lambda r: Scene(r).create(429, got=UNTIL).create(after=2.1).done(),
        lambda r: Scene(r).create(429, got=UNTIL).create(after=1.5).done(),
    ),
    "CM-05": (lambda r: Scene(r).create(402).told(4), lambda r: Scene(r).create(402).create(402).told(4)),
    "CM-06": (
        lambda r: Scene(r).create().poll("failed").told(3),
        lambda r: Scene(r).create().poll("failed").create(task=TASK[:-1] + "a").done(),
    ),
    "CM-07": (
        lambda r: Scene(r).create(lost="cut").told(6, "unknown"),
        lambda r: Scene(r).create(lost="cut").told(3, "failed"),
    ),
    "CM-08": (
        lambda r: Scene(r, **TWO).create().told(None, ended="on purpose").done(),
        lambda r: Scene(r, **TWO).create().told(None, ended="on purpose").create(task=TASK[:-1] + "a").done(),
    ),
    "CM-09": (
        lambda r: Scene(r, **TWO).create().told(None, ended="on purpose", places={TASK: ["stderr"]}).done(),
        lambda r: Scene(r, **TWO).create().told(None, ended="on purpose").done(),
    ),
    "CM-10": (
        lambda r: Scene(r, flow="twice").create().done().told(9),
        lambda r: Scene(r, flow="twice").create().create(task=TASK[:-1] + "a").done().told(),
    ),
    "CM-11": (
        lambda r: Scene(r).create(402).told(4, stderr="insufficient balance"),
        lambda r: Scene(r).create(402).told(4, stderr="failed"),
    ),
    "CM-12": (
        lambda r: Scene(r).create().told(stderr="50 credits"),
        lambda r: Scene(r).create().told(stderr="saved 150.5"),
    ),
    "CM-13": (
        lambda r: Scene(r, completes=None).create(429, got=UNTIL).create(after=2.1).done(),
        lambda r: Scene(r, completes=None).create(429, got=UNTIL).told(7),
    ),
    "CM-14": (
        lambda r: row(Scene(r, completes=False), 6, 0.5, create=True).told(7),
        lambda r: row(Scene(r, completes=False), 6, 0.1, create=True).told(7),
    ),
    "CM-15": (
        lambda r: (
            Scene(r, **THREE).create(lost="cut", headers=KEYED).told(6, "unknown").told(6).create(headers=KEYED).done()
        ),
        lambda r: (
            Scene(r, **THREE)
            .create(lost="cut", headers=KEYED)
            .told(6, "unknown")
            .told(7)
            .create(task=TASK[:-1] + "a", headers={**HEADERS, "idempotency-key": "m"})
            .done()
        ),
    ),
    "CP-01": (lambda r: waits(r, 0.3, 0.2, 0.3, 0.25, 0.3), lambda r: waits(r, 0.3, 0.1, 0.11, 0.1, 0.1)),
    "CP-02": (lambda r: waits(r, 1, 1, 1, 1.1, 1.1, 1.2, 1.2), lambda r: waits(r, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5)),
    "CP-03": (
        lambda r: Scene(r).create().poll("", 429, got=UNTIL).poll(after=2.1).done(),
        lambda r: Scene(r).create().poll("", 429, got=UNTIL).poll(after=1.0).done(),
    ),
    "CP-04": (
        lambda r: Scene(r).create().poll("", 429, got=DATE).poll(after=9).done(),
        lambda r: Scene(r).create().poll("", 429, got=DATE).poll(after=1.0).done(),
    ),
    "CP-05": (
        lambda r: Scene(r).create().poll("", 503).poll("", 503, after=1).poll(after=2).done(),
        lambda r: Scene(r).create().poll("", 503).told(1),
    ),
    "CP-06": (
        lambda r: Scene(r).create().poll(lost="cut").done(),
        lambda r: Scene(r).create().poll(lost="cut").told(7),
    ),
    "CP-07": (
        lambda r: Scene(r).create().poll("completed").poll("completed").done(),
        lambda r: Scene(r).create().poll("completed").poll("completed").poll("completed").done(),
    ),
    "CP-08": (
        lambda r: Scene(r, completes=False).create().poll("failed").told(3),
        lambda r: Scene(r, completes=False).create().poll("failed").poll("failed").told(5, "gave_up"),
    ),
    "CP-13": (
        lambda r: Scene(r, completes=False).create().poll().told(5, "gave_up"),
        lambda r: Scene(r, completes=False).create().poll().told(**LATE),
    ),
    "CP-14": (
        lambda r: Scene(r).create().poll(lost="timeout").told(5, "gave_up"),
        lambda r: Scene(r).create().poll(lost="timeout").told(**LATE),
    ),
    "CP-15": (
        lambda r: Scene(r).create().poll("", 502, body=b"<html>").done(),
        lambda r: Scene(r).create().poll("", 502, body=b"<html>").told(1, stderr="Traceback (most recent call last)"),
    ),
    "CP-16": (lambda r: Scene(r).create().poll("", 404).done(), lambda r: Scene(r).create().poll("", 404).told(4)),
    "CP-17": (
        lambda r: Scene(r).create().poll("", 401).told(4, "refused", said={"error": {"class": "auth"}}),
        lambda r: Scene(r).create().poll("", 401).poll("", 401).told(4, stderr="unauthorized"),
    ),
    "CP-18": (
        lambda r: waits(r, 2, 2, 2, tasks=5, flow="many", jobs=5),
        lambda r: waits(r, 2, 2, 2, tasks=5, flow="many", jobs=5, apart=False),
    ),
    "CP-19": (
        lambda r: waits(r, 1, 1).poll("", 503, after=1).poll("", 503, after=0.1).poll("", 503, after=0.1).poll().told(),
        lambda r: (
            waits(r, 1, 1)
            .poll("", 503, after=1, task=FIRST)
            .poll("", 503, after=0.1, task=FIRST)
            .poll("", 503, after=0.1, task=FIRST)
            .poll(after=0.1, task=FIRST)
            .told()
        ),
    ),
    "CP-20": (
        lambda r: Scene(r).create().poll("", 503).poll("", 503, after=1).poll("", 503, after=2).poll(after=1.5).told(),
        lambda r: Scene(r).create().poll("", 503).poll("", 503, after=1).poll("", 503, after=1).poll(after=1.1).told(),
    ),
    "CP-21": (lambda r: Scene(r).create().poll("", 429).done(), lambda r: Scene(r).create().poll("", 429).told(7)),
    "CP-22": (
        lambda r: row(Scene(r, completes=False).create(), 6, 0.5).told(5),
        lambda r: row(Scene(r, completes=False).create(), 6, 0.1).told(5),
    ),
    "CP-23": (
        lambda r: Scene(r, completes=False).create().poll().told(5, stderr=f"gave up on {TASK}"),
        lambda r: Scene(r, completes=False).create().poll().told(5, stderr="gave up"),
    ),
    "CD-01": (lambda r: Scene(r).create().done(), lambda r: Scene(r).create().poll("completed").told(files=[])),
    "CD-02": (
        lambda r: Scene(r).create().done(),
        lambda r: Scene(r).create().poll("completed").fetch(after=90_000).told(),
    ),
    "CD-03": (
        lambda r: Scene(r).create().done(),
        lambda r: Scene(r).create().poll("completed").fetch().served().told(files=[{**FILE, "sha256": "c"}]),
    ),
    "CD-04": (
        lambda r: Scene(r, completes=False).create().poll("completed").fetch(lost="cut").told(8),
        lambda r: Scene(r, completes=False).create().poll("completed").fetch(lost="cut").told(8, files=[FILE]),
    ),
    "CD-05": (
        lambda r: Scene(r).create().poll("completed").fetch(lost="cut").fetch().told(),
        lambda r: Scene(r).create().poll("completed").fetch(lost="cut").told(8),
    ),
    "CD-06": (
        lambda r: Scene(r).create().poll("completed").fetch(403).poll("completed").fetch().told(),
        lambda r: Scene(r).create().poll("completed").fetch(403).told(8),
    ),
    "CD-07": (
        lambda r: Scene(r, completes=False).create().poll("completed").fetch().told(8),
        lambda r: Scene(r, completes=False).create().poll("completed").fetch().told(),
    ),
    "CD-08": (
        lambda r: Scene(r, completes=False).create().poll("completed").fetch(lost="endless").told(8),
        lambda r: Scene(r, completes=False).create().poll("completed").fetch(lost="endless").told(**LATE),
    ),
    "CD-10": (
        lambda r: Scene(r, completes=False).create().poll("failed").told(3),
        lambda r: Scene(r, completes=False).create().poll("failed").told(),
    ),
    "CD-12": (
        lambda r: Scene(r, completes=False).create().poll("failed").told(3, stderr="service_error: it broke"),
        lambda r: Scene(r, completes=False).create().poll("failed").told(3, stderr="it broke"),
    ),
    "CD-11": (
        lambda r: Scene(r).create().poll("completed").fetch().told(**GIVEN),
        lambda r: Scene(r).create().poll("completed").fetch().told(1, "completed"),
    ),
    "CW-01": (lambda r: hook(r).back().done(), lambda r: hook(r).back(500).done()),
    "CW-02": (
        lambda r: hook(r, params={"lasts": "2s"}).back().done(),
        lambda r: hook(r, params={"lasts": "2s"}).back(lasts=2.0).done(),
    ),
    "CW-03": (
        lambda r: hook(r).back().back().done(),
        lambda r: hook(r).back().back().poll("completed").fetch().fetch().told(),
    ),
    "CW-04": (lambda r: hook(r).back().done(), lambda r: hook(r).back(404).done()),
    "CW-05": (lambda r: hook(r).back().done(), lambda r: hook(r).back().poll("completed").fetch().fetch().told()),
    "CW-06": (lambda r: hook(r).back().done(), lambda r: hook(r).back().told(3, "failed")),
    "CW-07": (lambda r: hook(r).back(404, forged=True).done(), lambda r: hook(r).back(500, forged=True).done()),
    "CW-08": (
        lambda r: hook(r).back(forged=True).done(),
        lambda r: hook(r).back(forged=True).call("GET", "/v.mp4", 200, base=AWAY).done(),
    ),
    "CW-09": (
        lambda r: hook(r).back(413, forged=True, size=2_000_000).done(),
        lambda r: hook(r).back(200, "text", forged=True).done(),
    ),
    "CW-10": (
        lambda r: hook(r).back(405, forged=True, method="GET").done(),
        lambda r: hook(r).back(200, forged=True, method="GET").done(),
    ),
    "CW-11": (lambda r: hook(r).done(), lambda r: hook(r).poll().told(5)),
    "CW-12": (lambda r: hook(r).back(503).told(7), lambda r: hook(r).back(200).told(7)),
    "CW-13": (
        lambda r: hook(r).back(forged=True).done(),
        lambda r: hook(r).back(forged=True).call("GET", "/v.mp4", 200, base=AWAY).done(),
    ),
}
AS_RIGHT = ("CP-09", "CP-10", "CP-11", "CP-12", "CD-09")
for _rule in AS_RIGHT:
    CASES[_rule] = (lambda r: Scene(r).create().done(), lambda r: Scene(r).create().poll().told(1))


def test_every_client_rule_is_tried() -> None:
    """
    The table has a good and a bad case for each client rule.
    """
    assert set(CASES) == {rule.id for rule in BOOK.values() if rule.for_clients}


@pytest.mark.parametrize("rule_id", sorted(CASES))
def test_good_case_passes(rule_id: str) -> None:
    """
    A client that does right is looked at and not accused.
    """
    found = judged(rule_id, CASES[rule_id][0](rule_id).recorder.events)

    assert found.looked
    assert not found.findings


@pytest.mark.parametrize("rule_id", sorted(CASES))
def test_bad_case_is_named(rule_id: str) -> None:
    """
    A client that does wrong is found out, with the events that show it.
    """
    found = judged(rule_id, CASES[rule_id][1](rule_id).recorder.events)

    assert found.findings
    assert found.findings[0].events


def test_verdicts_survive_a_file() -> None:
    """
    A case that went through JSON is judged the same, and no key is in it.
    """
    for rule_id, (_good, bad) in CASES.items():
        events = bad(rule_id).recorder.events
        text = orjson.dumps([to_json(event) for event in events]).decode()
        again = tuple(from_json(document) for document in orjson.loads(text))

        assert judged(rule_id, again).findings == judged(rule_id, events).findings
        assert KEY not in text


def test_only_client_rules_are_judged() -> None:
    """
    A history of the lab is judged by client rules alone, and one that the kit drove by server rules alone.
    """
    mine = judge_history(Scene("CQ-01").create().done().recorder.events, Choice(), str)
    driven = (Note(seq=1, topic=Topic.RUN, data={"mode": "fake"}),)
    others = judge_history(driven, Choice(), str)

    assert all(verdict.rule.for_clients for verdict in mine.verdicts)
    assert not any(verdict.rule.for_clients for verdict in others.verdicts)


def test_traffic_alone_shows_much() -> None:
    """
    Without the lab's notes, as from a HAR file, manners on the wire are judged all the same.
    """
    scene = Scene("x").create(500).create().poll("", 429, got=UNTIL).poll(after=0.5).poll("completed", after=0.5)
    for _ in range(3):
        scene.poll("completed", after=0.1)
    seen = [event for event in scene.recorder.events if not isinstance(event, Note)]

    broken = {
        one.rule.id for one in judge_all(seen, CONTRACT, [r for r in BOOK.values() if r.for_clients]) if one.findings
    }

    assert broken == {"CM-03", "CP-03", "CP-07"}


def test_cannot_is_not_judged() -> None:
    """
    A case that the client cannot do shows nothing of the rule that it is about.
    """
    assert not judged("CP-09", Scene("CP-09").create().poll().told(77, cannot="not here").recorder.events).looked
