"""A correct history that shows every server rule, written by hand, and a tape to write such histories with."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from contract_tests.contract import shipped
from contract_tests.history import Balance, Callback, ClockMove, Download, Exchange, Moment, Note, Recorder, VideoFacts
from contract_tests.labels import Expect, ImageFacts, Probe, Receiver, Topic, When

CONTRACT = shipped()
KEY, OTHER, STRANGE = "sk-test-first-0001", "sk-test-second-0002", "nobody-knows-this-key"
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
        self.credits = {KEY: 10_000.0, OTHER: 10_000.0}
        self.recorder = Recorder(keys=(KEY, OTHER, STRANGE), clock=lambda: Moment(self.now), salt=b"salt")
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
        self.number += 1
        seconds = body.get("duration", CONTRACT.duration_default)
        amount = PRICE[body.get("quality", CONTRACT.quality_default)] * seconds
        task = {
            "created": int(self.now),
            "id": f"task-unified-{int(self.now)}-{self.number:08d}",
            "model": CONTRACT.model,
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
            "usage": task["usage"] | {"credits_used": amount},
        }
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


def good() -> list[Any]:
    """A correct server's history with evidence for every server rule."""
    tape = Tape()
    _validation(tape)
    _images(tape)
    _lifecycle(tape)
    _callbacks(tape)
    _links(tape)
    _auth(tape)
    _billing(tape)
    return tape.events


def _validation(tape: Tape) -> None:
    listed = {"data": [], "total": 0, "page": 1, "page_size": 20}
    tape.balance()
    tape.call("GET", "/v1/tasks", answer=listed)
    for field, values in {
        "model": ["kling-v3-image-to-video"],
        "image_start": ["ftp://x/y.png", 7],
        "prompt": ["x" * (CONTRACT.prompt_max + 1), 7],
        "duration": [2, 16, 5.5, "5", True],
        "quality": ["4k", "480p", "720P"],
        "aspect_ratio": ["16:9"],
        "callback_url": [
            "http://hooks.example.com/", "https://10.0.0.1/", "https://2130706433/",
            "https://h.example.com/" + "x" * CONTRACT.callback_url_max,
        ],
    }.items():  # fmt: skip
        for value in values:
            tape.refuse({**BODY, field: value}, param=field)
    for missing in BODY:
        tape.refuse({name: value for name, value in BODY.items() if name != missing}, param=missing)
    tape.refuse({**BODY, "duration": 2}, param="duration")
    for garbage in (b"{", b"[]", b"null", b"\xff", b""):
        tape.refuse(garbage)
    tape.call("GET", "/v1/tasks", answer=listed)
    tape.balance()
    tape.refuse(b" " * 70_000, 413, rules=("SW-18",))
    tape.call("DELETE", CREATE, status=405, answer=error(405), headers=[("Allow", "POST")])
    tape.call("GET", "/v1/models", status=429, answer=error(429), headers=[("Retry-After", "2")])
    padded = "https://h.example.com/" + "x" * (CONTRACT.callback_url_max - 22)
    for changes in (
        {"prompt": "界" * CONTRACT.prompt_max}, {"duration": 3}, {"duration": 15}, {"quality": "720p"}, {"quality": "1080p"},
        {"callback_url": padded}, {"callback_url": "https://11.0.0.1/x"}, {"novel": 1}, {"novel": 1}, {},
    ):  # fmt: skip
        tape.create(changes, key=OTHER)


def _images(tape: Tape) -> None:
    for facts in (
        replace(GOOD_IMAGE, width=300, height=300), replace(GOOD_IMAGE, width=750, height=300),
        replace(GOOD_IMAGE, size=49_000_000), replace(GOOD_IMAGE, format="png", misnamed=True),
    ):  # fmt: skip
        task = tape.create(key=OTHER, image=facts)
        tape.read(tape.complete(task), key=OTHER)
    for facts in (
        replace(GOOD_IMAGE, width=299, height=300), replace(GOOD_IMAGE, width=751, height=300),
        replace(GOOD_IMAGE, size=52_428_801), replace(GOOD_IMAGE, format="gif"),
        replace(GOOD_IMAGE, fault="truncated"), replace(GOOD_IMAGE, fault="unreachable"),
    ):  # fmt: skip
        tape.refuse(BODY, param="image_start", key=OTHER, image=facts)
    task = tape.create(key=OTHER, image=replace(GOOD_IMAGE, fault="unreachable"))
    tape.read(tape.fail(task, "image_processing_error", OTHER), key=OTHER)


def _lifecycle(tape: Tape) -> None:
    tape.note(Topic.NOISE, seconds=0.1)
    tape.balance()
    task = tape.create()
    tape.balance()
    tape.read(task)
    tape.read(task)
    tape.advance(10)
    tape.go(task, "processing", 40)
    tape.advance(10)
    tape.go(task, "processing", 70)
    tape.advance(40)
    tape.read(tape.complete(task))
    tape.read(task)
    tape.balance()
    tape.note(Topic.SETTLED, task_id=task["id"])
    failed = tape.create({"duration": 10})
    tape.advance(10)
    tape.go(failed, "processing", 40)
    failed["progress"] = 0
    tape.advance(10)
    tape.read(tape.fail(failed))
    tape.balance()
    tape.call("GET", "/v1/tasks/nonsense", status=400, answer=error(400, "task_id", "invalid_task_id"))
    made_up = f"/v1/tasks/task-unified-{int(START)}-zzzzzzzz"
    tape.call("GET", made_up, status=404, answer=error(404), expect=Expect.NO_SUCH_TASK)


def _callbacks(tape: Tape) -> None:
    delays = CONTRACT.retry_delays

    def watched(path: str, end: str = "completed", **label: Any) -> tuple[dict[str, Any], str]:
        url = f"https://hooks.example.com{path}"
        task = tape.create({"callback_url": url}, **label)
        tape.advance(60)
        if end == "cancelled":
            tape.note(Topic.CANCELLED, task_id=task["id"])
        tape.complete(task) if end == "completed" else tape.fail(
            task, "request_cancelled" if end == "cancelled" else "service_error"
        )
        return task, url

    def settle(task: dict[str, Any]) -> None:
        tape.advance(60)
        tape.note(Topic.SETTLED, task_id=task["id"])
        tape.read(task)

    for end in ("completed", "failed", "cancelled"):
        task, url = watched(f"/{end}?a=%20b", end)
        tape.called(task, url)
        settle(task)
    task, url = watched("/receipt")
    remaining = tape.credits[KEY]
    tape.recorder.add(
        Balance(remaining=remaining, when=When.ON_RECEIPT, task_id=task["id"], who=KEY, at=tape.now, mono=tape.mono)
    )
    tape.called(task, url, 204)
    settle(task)
    tape.balance()
    task, url = watched("/failing")
    tape.read(task)
    tape.balance()
    for status, delay in zip((500, 302, None, 404), (*delays, 60), strict=True):
        headers = (("Location", "https://hooks.example.com/elsewhere"),) if status == 302 else ()
        tape.called(task, url, status, headers=headers)
        tape.advance(delay)
    tape.balance()
    settle(task)
    task, url = watched("/slow")
    tape.called(task, url, wall=CONTRACT.timeout * 0.8)
    settle(task)
    task, url = watched("/too-slow")
    tape.called(task, url, wall=CONTRACT.timeout + 1)
    tape.advance(delays[0])
    tape.called(task, url)
    settle(task)
    task, url = watched("/refused", receiver=Receiver.REFUSED_FIRST)
    tape.advance(delays[0])
    tape.called(task, url)
    settle(task)
    task, _ = watched("/rebound", receiver=Receiver.REBINDS)
    settle(task)


def _links(tape: Tape) -> None:
    task = tape.create(image=GOOD_IMAGE)
    tape.advance(59)
    tape.read(task)
    tape.advance(1e-3)
    tape.read(tape.complete(task))
    tape.download(task)
    tape.download(task)
    partial = (("Content-Type", "video/mp4"), ("Content-Range", "bytes 0-1/3"))
    tape.download(task, status=206, asked_range="bytes=0-1", headers=partial)
    tape.advance(CONTRACT.link_lifetime - 1 - 1e-3)
    tape.download(task)
    tape.advance(1 + 1e-3)
    tape.download(task, status=403, content=b"gone")
    tape.read(task)


def _auth(tape: Tape) -> None:
    task = tape.create()
    path, unknown = f"/v1/tasks/{task['id']}", f"/v1/tasks/task-unified-{int(START)}-yyyyyyyy"
    denied = {"status": 401, "answer": error(401)}
    tape.call("GET", path, key=None, **denied)
    tape.call("GET", path, key=STRANGE, expect=Expect.UNAUTHORIZED, **denied)
    tape.call("GET", unknown, key=STRANGE, expect=Expect.UNAUTHORIZED, **denied)
    for auth in (f"Basic {KEY}", f"Token {KEY}", KEY):
        tape.call("GET", path, auth=auth, **denied)
    tape.call("GET", f"/v1/credits?api_key={KEY}", key=None, **denied)
    tape.call("POST", CREATE, {}, key=STRANGE, expect=Expect.UNAUTHORIZED, **denied)
    tape.call("GET", path, key=OTHER, status=404, answer=error(404))
    tape.call("POST", "/v1/tasks/batch", {"task_ids": [task["id"]]}, key=OTHER, answer={"data": []})
    tape.call("GET", unknown, status=404, answer=error(404), key=OTHER)
    tape.call("GET", path, auth=f"bearer {KEY}", answer=task)
    forbidden = {"status": 403, "answer": error(403, None, "model_access_denied")}
    tape.call("POST", CREATE, BODY, expect=Expect.NO_ACCESS, **forbidden)
    tape.advance(60)
    tape.read(tape.complete(task))


def _billing(tape: Tape) -> None:
    tape.balance()
    twins = [tape.create(), tape.create()]
    tape.balance()
    tape.advance(60)
    for twin in twins:
        tape.read(tape.complete(twin))
    tape.balance()
    tape.call("GET", "/v1/models", answer={"object": "list", "data": [{"id": CONTRACT.model}]})
    tape.balance()
    tape.refuse({**BODY, "duration": 15}, 402, expect=Expect.NO_BALANCE)
    tape.balance()
    for status in (200, 200, 402):
        label = {"group": "burst", "expected": 2}
        if status == 200:
            tape.read(tape.complete(tape.create({"duration": 4}, **label)))
        else:
            tape.refuse({**BODY, "duration": 4}, 402, **label)
    once = [("Idempotency-Key", "0123456789abcdef")]
    first = tape.create(sent=once)
    tape.read(tape.complete(first))
    tape.balance()
    pending = first | {"status": "pending", "progress": 0}
    pending.pop("results")
    replayed = [("idempotency-replayed", "true")]
    tape.call("POST", CREATE, BODY, sent=once, answer=pending, headers=replayed)
    tape.balance()
    tape.call("POST", CREATE, {**BODY, "duration": 7}, sent=once, status=409, answer=error(409))
