"""Each client judge is silent on a good case and names what is wrong with a bad one."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from contract_tests.contract import shipped
from contract_tests.history import AnyEvent, Callback, Download, Exchange, Moment, Note, Recorder, from_json, to_json
from contract_tests.judging import judge_history
from contract_tests.labels import Topic
from contract_tests.rules.registry import judge_all
from contract_tests.rules.rulebook import rules
from contract_tests.verdicts import CLIENT, Choice

KEY = "sk-lab-judges-0001"
API, LINKS, AWAY = "http://127.0.0.1:4010", "http://localhost:4010", "http://127.0.0.1:9"
TASK = "task-unified-1757169743-7cvnl5zw"
LINK = f"{LINKS}/files/x/{TASK}.mp4"
CREATE = "/v1/videos/generations"
BODY = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/300x300.png"}
HOOK = {**BODY, "callback_url": "https://a.hooks.example.com/callback/x"}
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "user-agent": "kling-client/1"}
FILE = {"name": "video.mp4", "size": 9, "sha256": "ab" * 32}


class Scene:
    """Builds the history of one case, a second an event."""

    def __init__(self, rule: str, *, story: str = "story", **case: Any) -> None:
        self.recorder = Recorder(keys=[KEY], salt=b"s", clock=lambda: Moment(1000.0))
        self.now = 0.0
        self.ended = False
        right = {
            "completes": case.pop("completes", True),
            "says": case.pop("says", []),
            "creates": case.pop("creates", 1),
        }
        data = {
            "story": story, "summary": "a story", "rules": [rule], "right": right, "request": {}, "flow": "once", "params": {},
            "base": "fake", "api": API, "links": LINKS, "deadline": 8.0, "min_poll": 0.2, **case,
        }  # fmt: skip
        self.recorder.add(Note(topic=Topic.RUN, data={"mode": CLIENT, "target": "x"}))
        self.recorder.note(Topic.NOISE, seconds=0.01)
        self.story = story
        self.recorder.add(Note(topic=Topic.CASE, who=KEY, case=story, data=data))

    def _times(self, after: float) -> dict[str, float]:
        self.now += after
        return {"at": 1000 + self.now, "mono": self.now, "ended_at": 1000 + self.now, "ended_mono": self.now}

    def call(
        self, method: str, path: str, status: int, body: Any = None, *, sent: Any = None, after: float = 1.0,
        headers: dict[str, str] | None = None, got: dict[str, str] | None = None, lost: str = "", base: str = API,
    ) -> "Scene":  # fmt: skip
        """An exchange."""
        request = self.recorder.message((headers or HEADERS).items(), b"" if sent is None else orjson.dumps(sent))
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        answer = self.recorder.answer(status, (got or {}).items(), raw) if status else None
        self.recorder.add(
            Exchange(
                method=method,
                url=base + path,
                request=request,
                answer=answer,
                lost=lost,
                case=self.story,
                **self._times(after),
            )
        )
        return self

    def create(self, status: int = 200, *, sent: Any = None, task: str = TASK, **more: Any) -> "Scene":
        """A create; accepted unless *status* says otherwise."""
        good = {"id": task, "status": "pending", "progress": 0, "usage": {"credits_reserved": 50}}
        body = more.pop("body", good if status == 200 else {"error": {"code": "x", "message": "y"}})
        return self.call("POST", CREATE, status, body, sent=BODY if sent is None else sent, **more)

    def poll(self, state: str = "processing", status: int = 200, *, task: str = TASK, **more: Any) -> "Scene":
        """A read."""
        body: dict[str, Any] = {"id": task, "status": state, "progress": 50}
        if state == "completed":
            body |= {"progress": 100, "results": [LINK]}
        if state == "failed":
            body |= {"error": {"code": "service_error", "message": "it broke", "type": "task_error"}}
        return self.call(
            "GET", f"/v1/tasks/{task}", status, more.pop("body", body if status == 200 else {"error": {}}), **more
        )

    def fetch(
        self, status: int = 200, *, lost: str = "", after: float = 1.0, who: str = "", url: str = LINK
    ) -> "Scene":
        """A download."""
        self.recorder.add(
            Download(url=url, status=status, lost=lost, who=who, size=9, case=self.story, **self._times(after))
        )
        return self

    def back(
        self,
        status: int = 200,
        body: Any = None,
        *,
        forged: bool = False,
        lasts: float = 0.01,
        method: str = "POST",
        size: int = 0,
    ) -> "Scene":
        """A callback and its answer."""
        raw = b"x" * size or orjson.dumps({"id": TASK, "status": "completed"} if body is None else body)
        times = self._times(1.0)
        times |= {"ended_mono": self.now + lasts}
        answer = self.recorder.answer(status, (), b"") if status else None
        self.recorder.add(
            Callback(
                method=method, url=HOOK["callback_url"], request=self.recorder.message((), raw), answer=answer,
                ended="answered" if answer else "gone", who="" if forged else KEY, case=self.story, **times,
            )
        )  # fmt: skip
        return self

    def served(self) -> "Scene":
        """What the link serves."""
        self.recorder.add(Note(topic=Topic.SERVED, who=KEY, case=self.story, data={"task_id": TASK, **FILE}))
        return self

    def touched(self, connections: int = 1) -> "Scene":
        """The server that nobody trusts was connected to."""
        self.recorder.add(
            Note(topic=Topic.ELSEWHERE, case=self.story, data={"untrusted": AWAY, "connections": connections})
        )
        return self

    def told(self, code: int | None = 0, outcome: str = "", **more: Any) -> "Scene":
        """The end of a process."""
        said = {"outcome": outcome, **more.pop("said", {})} if outcome else None
        data = {
            "job": 1, "exit": code, "signal": None, "ended": "itself", "seconds": 3.0, "stdout": "", "stderr": "", "said": said,
            "leaks": [], "files": [FILE] if code == 0 else [], "places": {}, "children": 0, "cannot": "", "broken": "", **more,
        }  # fmt: skip
        self.recorder.add(Note(topic=Topic.TOLD, who=KEY, case=self.story, data=data))
        return self

    def done(self) -> "Scene":
        """A read that shows completion, a download, a good end."""
        return self.poll("completed").fetch().served().told()


Make = Callable[[str], Scene]


def hook(rule: str, **case: Any) -> Scene:
    """A case with a callback that was registered."""
    return Scene(rule, story="webhook-x", **case).create(sent=HOOK)


def waits(rule: str, *gaps: float, tasks: int = 1, **case: Any) -> Scene:
    """Reads at these intervals, of several tasks each at its own."""
    scene = Scene(rule, **case).create()
    for number in range(tasks):
        for gap in gaps:
            spread = 1 + (number * 0.1 if case.get("apart", True) else 0)
            scene.poll(after=gap * spread, task=f"{TASK[:-1]}{number}")
    return scene.told()


UNTIL = {"retry-after": "2"}
DATE = {"retry-after": "Thu, 01 Jan 1970 00:16:46 GMT"}
LATE: dict[str, Any] = {"code": None, "signal": 9, "ended": "deadline"}
TWO: dict[str, Any] = {"flow": "killed"}
GIVEN = {"outcome": "completed", "said": {"task_id": TASK, "effects": 1}}

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
    "CP-01": (lambda r: waits(r, 0.3, 0.2, 0.3), lambda r: waits(r, 0.3, 0.1, 0.1)),
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
        lambda r: Scene(r).create().poll("", 503).poll("", 503, after=1).poll(after=1).done(),
    ),
    "CP-06": (
        lambda r: Scene(r).create().poll(lost="cut").done(),
        lambda r: Scene(r).create().poll(lost="cut").told(7),
    ),
    "CP-07": (lambda r: Scene(r).create().done(), lambda r: Scene(r).create().poll("completed").done()),
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
        lambda r: waits(r, 1, 1, 1, 1, tasks=5, flow="many", jobs=5),
        lambda r: waits(r, 1, 1, 1, 1, tasks=5, flow="many", jobs=5, apart=False),
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
    "CW-11": (lambda r: hook(r).done(), lambda r: hook(r).poll().told(**LATE)),
    "CW-12": (lambda r: hook(r).back(503).told(7), lambda r: hook(r).back(200).told(7)),
    "CW-13": (
        lambda r: hook(r).back(forged=True).done(),
        lambda r: hook(r).back(forged=True).call("GET", "/v.mp4", 200, base=AWAY).done(),
    ),
}
AS_RIGHT = ("CP-08", "CP-09", "CP-10", "CP-11", "CP-12", "CD-09")
for _rule in AS_RIGHT:
    CASES[_rule] = (lambda r: Scene(r).create().done(), lambda r: Scene(r).create().poll().told(1))

CONTRACT = shipped()
BOOK = rules(CONTRACT)


def judged(rule_id: str, events: tuple[AnyEvent, ...]) -> Any:
    """The judgement of one rule."""
    (found,) = judge_all(events, CONTRACT, [BOOK[rule_id]])
    assert not found.broken, found.broken
    return found


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

    assert all(outcome.rule.for_clients for outcome in mine.outcomes)
    assert not any(outcome.rule.for_clients for outcome in others.outcomes)


def test_traffic_alone_shows_much() -> None:
    """
    Without the lab's notes, as from a HAR file, manners on the wire are judged all the same.
    """
    scene = Scene("x").create(500).create().poll("", 429, got=UNTIL).poll(after=0.5).poll("completed", after=0.5)
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
