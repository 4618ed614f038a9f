"""A tape to write histories with: a correct server on a manual clock, of which a test says what happens."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from kling_contract.history.events import Callback, ClockMove, Download, Exchange, Moment, Note, Recorder, VideoFacts
from kling_contract.history.labels import ImageFacts, Probe, Topic
from kling_contract.reading.contract import shipped

CONTRACT = shipped()
KEY, OTHER, STRANGE = "sk-test-first-0001", "sk-test-second-0002", "nobody-knows-this-key"
THIRD = "sk-test-third-0003"
BASE = "http://127.0.0.1:4010"
START = 1_757_169_743.0
CREATE = "/v1/videos/generations"
BODY = {"model": CONTRACT.model, "image_start": "https://image.test/1280x720.jpg"}
PRICE = {"720p": 10, "1080p": 16}
JSON = (("Content-Type", "application/json"),)
GOOD_IMAGE = ImageFacts(width=1280, height=720, size=200_000, format="jpeg")


class Tape:
    """Writes events on a manual clock; `now` in Unix seconds, and a hundredth of a wall second for everything."""

    def __init__(self) -> None:
        self.now, self.mono, self.number = START, 1.0, 0
        self.credits = {KEY: 10_000.0, OTHER: 10_000.0, THIRD: 10_000.0}
        self.recorder = Recorder(keys=(KEY, OTHER, THIRD, STRANGE), clock=lambda: Moment(self.now), salt=b"salt")
        self.recorder.add(ClockMove(mode="manual", before=self.now, after=self.now, at=self.now, mono=0.5))
        facts = {"target": BASE, "mode": "fake", "seed": 1, "features": ["clock"]}
        self.note(Topic.RUN, **facts)

    @property
    def events(self) -> list[Any]:
        """What is on the tape."""
        return list(self.recorder.events)

    def note(self, topic: Topic, **data: Any) -> None:
        """A note."""
        self.recorder.add(Note(topic=topic, data=data, at=self.now, mono=self.tick()))

    def tick(self, wall: float = 0.01) -> float:
        """Let wall time pass; answers the moment before."""
        before = self.mono
        self.mono += wall
        return before

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.recorder.add(ClockMove(before=self.now, after=self.now + seconds, at=self.now, mono=self.tick()))
        self.now += seconds

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        answer: Any = None,
        key: str | None = KEY,
        auth: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        sent: Iterable[tuple[str, str]] = (),
        during: float = 0.01,
        **label: Any,
    ) -> Exchange:
        """One exchange; *body* as JSON unless it is bytes; *auth* instead of `Bearer key`."""
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        authorization = [("Authorization", auth or f"Bearer {key}")] if auth or key else []
        self.number += 1
        given = (*JSON, ("x-request-id", f"r{self.number}"), *headers)
        reply = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        began = self.tick(during)
        exchange = Exchange(
            method=method,
            url=BASE + path,
            request=self.recorder.message([*authorization, *JSON, *sent], raw),
            answer=self.recorder.answer(status, given, reply),
            at=self.now,
            mono=began,
            ended_at=self.now,
            ended_mono=self.mono - 0.001,
            case="test",
            probe=Probe(**label) if label else None,
        )
        return self.recorder.add(exchange)

    def refuse(self, body: Any, status: int = 400, param: str | None = None, **more: Any) -> Exchange:
        """A create that is refused as the contract says."""
        return self.call("POST", CREATE, body, status=status, answer=error(status, param), **more)

    def create(self, changes: dict[str, Any] | None = None, *, key: str = KEY, **more: Any) -> dict[str, Any]:
        """An accepted create; answers the task as the server knows it."""
        body = {**BODY, **(changes or {})}
        seconds = body.get("duration", CONTRACT.duration_default)
        amount = PRICE[body.get("quality", CONTRACT.quality_default)] * seconds
        return self._accept(body, seconds, amount, key, **more)

    def create_of(self, body: dict[str, Any], **label: Any) -> dict[str, Any]:
        """An accepted create of another model on the other account, priced by its file."""
        quote = CONTRACT.others[body["model"]].quote(body)
        return self._accept(body, quote.seconds, quote.reserved, OTHER, **label)

    def _accept(self, body: dict[str, Any], seconds: float, amount: float, key: str, **more: Any) -> dict[str, Any]:
        self.number += 1
        task = {
            "created": int(self.now),
            "id": f"task-unified-{int(self.now)}-{self.number:08d}",
            "model": body["model"],
            "object": "video.generation.task",
            "progress": 0,
            "status": "pending",
            "task_info": {"can_cancel": True, "estimated_time": 60, "video_duration": seconds},
            "type": "video",
            "usage": {"billing_rule": "per_second", "credits_reserved": amount, "user_group": "default"},
        }
        self.credits[key] -= amount
        self.call("POST", CREATE, body, answer=task, key=key, **more)
        return task

    def go(self, task: dict[str, Any], status: str, progress: int, **members: Any) -> dict[str, Any]:
        """Move *task* on and read it."""
        task |= {"status": status, "progress": progress, **members}
        return self.read(task)

    def read(self, task: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A query of *task*."""
        self.call("GET", f"/v1/tasks/{task['id']}", answer=task, **more)
        return task

    def complete(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task ends well; nobody is told."""
        amount = task["usage"]["credits_reserved"]
        task |= {
            "status": "completed",
            "progress": 100,
            "results": [f"{BASE}/files/{task['id']}.mp4?sig=1"],
            "task_info": task["task_info"] | {"can_cancel": False, "estimated_time": 0},
            "usage": task["usage"] | {"credits_used": amount, "cost": {"credits": amount, "usd": amount / 68}},
        }
        task["result_data"] = [{"video_url": task["results"][0], "duration": task["task_info"]["video_duration"]}]
        return task

    def fail(self, task: dict[str, Any], code: str = "service_error", key: str = KEY) -> dict[str, Any]:
        """The task fails; the credits come back."""
        self.credits[key] += task["usage"]["credits_reserved"]
        task |= {
            "status": "failed",
            "error": {"code": code, "message": "It failed.", "type": "task_error"},
            "task_info": task["task_info"] | {"can_cancel": False, "estimated_time": 0},
            "usage": task["usage"] | {"credits_used": 0},
        }
        return task

    def balance(self, key: str = KEY) -> Exchange:
        """The credits are read."""
        token = {"remaining_credits": self.credits[key], "used_credits": 0, "unlimited_credits": False}
        user = {"remaining_credits": self.credits[key], "used_credits": 0}
        return self.call(
            "GET", "/v1/credits", answer={"success": True, "data": {"token": token, "user": user}}, key=key
        )

    def called(
        self, task: dict[str, Any], url: str, status: int | None = 200, wall: float = 0.01, **more: Any
    ) -> Callback:
        """An attempt arrives and is answered with *status*, or cut."""
        headers = more.pop("headers", ())
        answer = None if status is None else self.recorder.answer(status, headers, b"")
        began = self.tick(wall)
        event = Callback(
            method="POST",
            url=url,
            request=self.recorder.message(JSON, orjson.dumps(task)),
            answer=answer,
            ended="answered" if status else "cut",
            at=self.now,
            mono=began,
            ended_at=self.now,
            ended_mono=self.mono - 0.001,
        )
        return self.recorder.add(replace(event, **more))

    def download(self, task: dict[str, Any], *, status: int = 200, content: bytes = b"mp4", **more: Any) -> Download:
        """The first link is fetched."""
        began = self.tick()
        size = {"720p": (1280, 720), "1080p": (1920, 1080)}["720p"]
        video = VideoFacts(duration=task["task_info"]["video_duration"], width=size[0], height=size[1])
        headers = (("Content-Type", "video/mp4" if status < 300 else "text/plain"), ("Accept-Ranges", "bytes"))
        event = Download(
            url=task["results"][0],
            status=status,
            headers=headers,
            size=len(content),
            sha256="ab" * 32 if content == b"mp4" else "cd" * 32,
            at=self.now,
            mono=began,
            ended_at=self.now,
            ended_mono=self.mono,
            video=video if status == 200 else None,
        )
        return self.recorder.add(replace(event, **more))


def error(status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The documented error of *status*."""
    entry = next(entry for entry in CONTRACT.errors if entry.status == status and code in (None, entry.code))
    named = {} if param is None else {"param": param}
    return {"error": {"code": entry.code, "message": "so it is", "type": entry.type, **named}}
