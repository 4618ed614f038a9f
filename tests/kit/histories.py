"""A correct server's history that shows every server rule, written by hand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tape import BASE, BODY, CONTRACT, CREATE, GOOD_IMAGE, KEY, OTHER, START, STRANGE, THIRD, Tape, error

from kling_contract.history.events import Balance
from kling_contract.history.labels import Expect, ImageFacts, MediumFacts, Receiver, Topic, When


def good() -> list[Any]:
    """A correct server's history with evidence for every server rule."""
    tape = Tape()
    for write in _parts().values():
        write(tape)
    return tape.events


def parts() -> dict[str, list[Any]]:
    """The parts of that history, each by itself."""
    tapes = {name: Tape() for name in _parts()}
    for name, write in _parts().items():
        write(tapes[name])
    return {name: tape.events for name, tape in tapes.items()}


def _parts() -> dict[str, Callable[[Tape], None]]:
    return {
        "validation": _validation, "images": _images, "lifecycle": _lifecycle, "callbacks": _callbacks, "links": _links,
        "auth": _auth, "billing": _billing, "lists": _lists, "models": _models, "files": _files,
    }  # fmt: skip


def _lists(tape: Tape) -> None:
    key = THIRD
    older = tape.create(key=key)
    tape.read(tape.complete(older), key=key)
    tape.advance(1)
    newer = tape.create(key=key)
    tape.read(newer, key=key)
    rows = [_row(newer), _row(older)]
    for query, found in (
        ("", rows), ("?page=1&page_size=1", rows[:1]), ("?page=2&page_size=1", rows[1:]),
        ("?status=completed", rows[1:]), ("?status=processing", rows[:1]), ("?type=image", []), ("?model=none", []),
    ):  # fmt: skip
        page = int(query[6]) if query.startswith("?page=") else 1
        total = 2 if "page" in query or not query else len(found)
        answer = {"data": found, "total": total, "page": page, "page_size": 1 if "page_size" in query else 20}
        tape.call("GET", f"/v1/tasks{query}", answer=answer, key=key, group="lists")
    asked = [older["id"], newer["id"], "task-unified-1757169743-unknown1"]
    tape.call("POST", "/v1/tasks/batch", {"task_ids": asked}, answer={"data": [older, newer]}, key=key)
    many = {"task_ids": [f"task-unified-1757169743-{number:08d}" for number in range(CONTRACT.batch_max + 1)]}
    tape.call("POST", "/v1/tasks/batch", many, status=400, answer=error(400, "task_ids"), key=key)


PICTURE = "R0lGODdhCAAIAIEAAICAgAAAAAAAAAAAACwAAAAACAAIAAAIDwABCBxIsKDBgwgTKkwYEAA7"
FILES = "/api/v1/files"


def _files(tape: Tape) -> None:
    """Files of one account: two of one name, another one that is deleted, and what is refused."""
    facts = ImageFacts(width=8, height=8, size=54, format="gif")
    label: dict[str, Any] = {"rules": ("SF-01",), "value": "gif as base64", "image": facts}
    tape.call("GET", f"{FILES}/quota", answer=_fine(_quota(0)))
    denied = {"success": False, "code": 401, "msg": "no key"}
    tape.call("GET", f"{FILES}/quota", key=None, status=401, answer=denied)
    for number, asked in enumerate((
        {"file_name": "one.gif", "upload_path": "contract"}, {"fileName": "two.gif", "uploadPath": "contract"},
        {"file_name": "one.gif", "upload_path": "contract"},
    )):  # fmt: skip
        body = {"base64_data": PICTURE, **asked}
        tape.call("POST", f"{FILES}/upload/base64", body, answer=_fine(_file(number, tape.now)), **label)
    for code, body, rule, why in (
        (40002, {"base64_data": "VGV4dA=="}, "SF-06", "type"), (40004, {"file_url": "https://x.invalid/"}, "SF-08", "download"),
    ):  # fmt: skip
        way = "base64" if why == "type" else "url"
        refusal = {"success": False, "code": code, "msg": "no"}
        tape.call("POST", f"{FILES}/upload/{way}", body, status=400, answer=refusal, rules=(rule, "SF-08"), value=why)
    tape.call("GET", f"{FILES}/quota", answer=_fine(_quota(2)))
    tape.call("GET", f"{FILES}/list", answer=_fine(_page(2, 1)))
    for page, number in ((1, 2), (2, 1)):
        tape.call("GET", f"{FILES}/list?page={page}&pageSize=1", answer=_fine(_page(number)), group="files")
    tape.call("GET", f"{FILES}/list", key=OTHER, answer=_fine({"files": [], "total": 0}))
    nothing = {"success": False, "code": 404, "msg": "no such file"}
    tape.call("DELETE", f"{FILES}/file-2", key=OTHER, status=404, answer=nothing)
    tape.call("DELETE", f"{FILES}/file-1", answer={"success": True, "code": 200, "msg": "ok"})
    tape.call("GET", f"{FILES}/list?pageSize=100", answer=_fine({"files": _page(2)["files"], "total": 1}))
    tape.call("GET", f"{FILES}/quota", answer=_fine(_quota(1)))


def _fine(data: Any) -> dict[str, Any]:
    return {"success": True, "code": 200, "msg": "ok", "data": data}


def _quota(used: int) -> dict[str, Any]:
    return {"user_group": "default", "used_files": used, "max_files": 100, "remain_files": 100 - used}


def _file(number: int, now: float) -> dict[str, Any]:
    url = f"{BASE}/uploads/a/file-{number}/x.gif"
    born, ends = (datetime.fromtimestamp(moment, UTC).isoformat() for moment in (now, now + CONTRACT.file_lifetime))
    return {
        "file_id": f"file-{number}", "file_name": ("one.gif", "two.gif")[number % 2], "original_name": "x.gif",
        "file_size": 54, "mime_type": "image/gif", "upload_path": "contract", "file_url": url, "download_url": url,
        "upload_time": born, "expires_at": ends,
    }  # fmt: skip


def _page(*numbers: int) -> dict[str, Any]:
    names = ("file_id", "file_name", "file_size", "upload_time")
    rows = [{name: _file(number, START)[name] for name in names} for number in numbers]
    return {"files": rows, "total": 2}


def _row(task: dict[str, Any]) -> dict[str, Any]:
    kept = {name: task[name] for name in ("id", "model", "type", "status", "progress")}
    facts = {"has_results": "results" in task, "has_error": "error" in task}
    return {**kept, "created_at": task["created"], **facts, "credits_used": task["usage"].get("credits_used", 0)}


def _validation(tape: Tape) -> None:
    listed = {"data": [], "total": 0, "page": 1, "page_size": 20}
    tape.balance()
    tape.call("GET", "/v1/tasks", answer=listed)
    for field, values in {
        "model": ["kling-v9-image-to-video"],
        "image_start": ["ftp://x/y.png", 7],
        "prompt": ["x" * (CONTRACT.prompt_max + 1), 7],
        "duration": [2, 16, 5.5, "5", True],
        "quality": ["4k", "480p", "720P"],
        "aspect_ratio": ["16:9"],
        "callback_url": [
            "http://hooks.example.com/", "https://10.0.0.1/", "https://2130706433/",
            "https://h.example.com/" + "x" * CONTRACT.callback_url_max, "https://h.example.com@10.0.0.1/",
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
    tape.call("GET", "/v1/models", status=429, answer=error(429), headers=[("Retry-After", "2")], rules=("SW-24",))
    unknown = error(404) | {"error": error(404)["error"] | {"message": "Invalid URL (GET)"}}
    tape.call("GET", f"{CREATE}/task-unified-1757169743-7cvnl5zw", status=404, answer=unknown, rules=("SW-25",))
    padded = "https://h.example.com/" + "x" * (CONTRACT.callback_url_max - 22)
    for changes in (
        {"prompt": "界" * CONTRACT.prompt_max}, {"duration": 3}, {"duration": 15}, {"quality": "720p"}, {"quality": "1080p"},
        {"callback_url": padded}, {"callback_url": "https://11.0.0.1/x"}, {"callback_url": "https://h.example.com/127.0.0.1"},
        {"duration": 7.0}, {"novel": 1}, {"novel": 1}, {},
    ):  # fmt: skip
        tape.create(changes, key=OTHER)
    for what, before in (("a user name", "user"), ("127.0.0.1", "127.0.0.1")):
        tape.create({"callback_url": f"https://{before}@h.example.com/"}, key=OTHER, rules=("SV-34",), value=what)
    tape.create({"callback_url": "https://h.example.com:8443"}, key=OTHER, rules=("SV-35",))


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


FRAME = MediumFacts(param="image_start", format="jpeg", size=100_000, width=1280, height=720)
OTHER_BODY = {"model": "kling-v3-image-to-video", "image_start": "https://image.test/1280x720.jpg", "sound": "on"}
ELEMENT_BODY = CONTRACT.others["kling-custom-element"].examples[0]


def _models(tape: Tape) -> None:
    """A model of the family with a picture, and one that makes an element."""
    tape.refuse({**OTHER_BODY, "sound": "ON"}, param="sound", key=OTHER)
    gif = replace(FRAME, format="gif")
    tape.refuse(OTHER_BODY, param="image_start", key=OTHER, field="image_start", media=(gif,))
    video = tape.create_of(OTHER_BODY, field="image_start", media=(FRAME,))
    element = tape.create_of(ELEMENT_BODY)
    tape.advance(60)
    tape.read(tape.complete(video), key=OTHER)
    tape.download(video)
    tape.complete(element)
    del element["results"]
    tape.read(element | {"result_data": [{"element_id": "e-1"}]}, key=OTHER)


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
    _links_told(tape, watched, settle)
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


def _links_told(tape: Tape, watched: Any, settle: Any) -> None:
    """The link in a callback and that in a later query, signed anew, lead to one video."""
    task, url = watched("/links")
    tape.called(task, url)
    tape.download(task)
    task["results"] = [link.replace("sig=1", "sig=2") for link in task["results"]]
    settle(task)
    tape.download(task)


def _links(tape: Tape) -> None:
    task = tape.create(image=GOOD_IMAGE)
    tape.advance(59)
    tape.read(task)
    tape.advance(1e-3)
    tape.read(tape.complete(task))
    tape.download(task)
    tape.download(task)
    tape.download(task, status=403, content=b"no", url=task["results"][0].partition("?")[0], case="test")
    partial = (("Content-Type", "video/mp4"), ("Content-Range", "bytes 0-1/3"))
    tape.download(task, status=206, asked_range="bytes=0-1", headers=partial, size=2)
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
    tape.call("GET", path, auth="Bearer", rules=("SA-11",), expect=Expect.UNAUTHORIZED, **denied)
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
    tape.create(sent=once, key=OTHER)
    tape.balance()
    pending = first | {"status": "pending", "progress": 0}
    pending = {name: value for name, value in pending.items() if name not in ("results", "result_data")}
    replayed = [("idempotency-replayed", "true")]
    for key in ("0123456789abcdea", "0123456789abcdeA"):
        tape.create({"duration": 4}, key=OTHER, sent=[("Idempotency-Key", key)], rules=("SB-20",))
    tape.call("POST", CREATE, BODY, sent=once, answer=pending, headers=replayed)
    tape.balance()
    tape.call("POST", CREATE, {**BODY, "duration": 7}, sent=once, status=409, answer=error(409))
    twice = {"sent": [("Idempotency-Key", "fedcba9876543210")], "group": "at once"}
    made = tape.create({"duration": 6}, **twice)
    tape.call("POST", CREATE, {**BODY, "duration": 6}, answer=made, headers=replayed, **twice)
