"""One case of the client lab, built by hand: what judges of client rules are tried on."""

from collections.abc import Callable
from typing import Any

import orjson

from kling_contract.history.events import AnyEvent, Callback, Download, Exchange, Moment, Note, Recorder
from kling_contract.history.labels import Topic
from kling_contract.reading.contract import shipped
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import CLIENT

KEY = "sk-lab-judges-0001"
API, LINKS, AWAY = "http://127.0.0.1:4010", "http://localhost:4010", "http://127.0.0.1:9"
TASK = "task-unified-1757169743-7cvnl5zw"
LINK = f"{LINKS}/files/x/{TASK}.mp4"
CREATE = "/v1/videos/generations"
BODY = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/300x300.png"}
HOOK = {**BODY, "callback_url": "https://a.hooks.example.com/callback/x"}
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "user-agent": "kling-client/1"}
FILE = {"name": "video.mp4", "size": 9, "sha256": "ab" * 32}


CONTRACT = shipped()
BOOK = rules(CONTRACT)


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


def judged(rule_id: str, events: tuple[AnyEvent, ...]) -> Any:
    """The judgement of one rule."""
    (found,) = judge_all(events, CONTRACT, [BOOK[rule_id]])
    assert not found.broken, found.broken
    return found
