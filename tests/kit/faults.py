"""One fault for each server rule: which event of the correct history is changed, and how."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import histories
import orjson
from tape import BASE, CONTRACT, CREATE, KEY, OTHER

from kling_common.masking import Mask
from kling_contract.history.events import Balance, Callback, Download, Exchange, VideoFacts
from kling_contract.history.labels import Expect, Probe, Receiver, Topic

GOOD = histories.good()
DROP: Any = object()
Pick = Callable[[Any], bool]
Change = Callable[[Any], Any]


def asked(event: Exchange) -> dict[str, Any]:
    """The request body of *event*, when it is an object."""
    body = event.request.body
    try:
        sent = orjson.loads(body.content)
    except orjson.JSONDecodeError:
        return {}
    return sent if isinstance(sent, dict) else {}


def exchange(method: str, path: str, status: int | None = None) -> Pick:
    """Exchanges by method, beginning of the path and status."""

    def pick(event: Any) -> bool:
        if not isinstance(event, Exchange) or event.method != method or event.answer is None:
            return False
        return event.url.startswith(BASE + path) and status in (None, event.answer.status)

    return pick


def create(status: int = 200, **members: Any) -> Pick:
    """Creates by status and members; DROP for a member that is not there."""
    posted = exchange("POST", CREATE, status)
    return lambda e: posted(e) and all(asked(e).get(n, DROP) == v for n, v in members.items())


def imaged(status: int, **facts: Any) -> Pick:
    """Creates whose image has these facts."""
    posted = exchange("POST", CREATE, status)

    def pick(event: Any) -> bool:
        image = event.probe.image if posted(event) and event.probe else None
        return image is not None and all(getattr(image, name) == value for name, value in facts.items())

    return pick


def given(kind: str) -> Pick:
    """Creates one of whose media has that format."""
    return lambda e: isinstance(e, Exchange) and e.probe is not None and any(it.format == kind for it in e.probe.media)


def read(task_status: str, nth: int = 0) -> Pick:
    """The query that shows *task_status* for the *nth* time in the good history."""
    reads = [event for event in GOOD if exchange("GET", "/v1/tasks/task-", 200)(event)]
    wanted = [event.seq for event in reads if body_of(event).get("status") == task_status][nth]
    return lambda e: e.seq == wanted


def expecting(expect: Expect) -> Pick:
    """Exchanges with that label."""
    return lambda e: isinstance(e, Exchange) and e.probe is not None and e.probe.expect is expect


def attempt(path: str, status: int | None = None) -> Pick:
    """Attempts at *path*, by what was answered."""

    def pick(event: Any) -> bool:
        if not isinstance(event, Callback) or f"example.com{path}" not in event.url:
            return False
        return status is None or (event.answer is not None and event.answer.status == status)

    return pick


def fetched(nth: int) -> Pick:
    """The *nth* download."""
    wanted = [event for event in GOOD if isinstance(event, Download)][nth]
    return lambda e: e.seq == wanted.seq


def headed(name: str, value: str) -> Pick:
    """Exchanges by a request header."""
    return lambda e: isinstance(e, Exchange) and (name, value) in e.request.headers


def body_of(event: Exchange) -> dict[str, Any]:
    """The JSON that was answered."""
    return orjson.loads(event.answer.body.content)


def with_body(event: Exchange, document: Any) -> Exchange:
    """*event* with another answer body."""
    text = orjson.dumps(document).decode()
    return replace(event, answer=replace(event.answer, body=replace(event.answer.body, text=text, base64=None)))


def merged(document: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """*document* with members changed or dropped."""
    return {name: value for name, value in {**document, **members}.items() if value is not DROP}


def body(**members: Any) -> Change:
    """Change members of the answer."""
    return lambda e: with_body(e, merged(body_of(e), members))


def error(**members: Any) -> Change:
    """Change members of the error."""
    return lambda e: with_body(e, {"error": merged(body_of(e)["error"], members)})


def inner(member: str, **members: Any) -> Change:
    """Change members of an object in the answer."""
    return lambda e: with_body(e, {**body_of(e), member: merged(body_of(e)[member], members)})


def status(number: int) -> Change:
    """Change the answer's status."""
    return lambda e: replace(e, answer=replace(e.answer, status=number))


def accepted(event: Exchange) -> Exchange:
    """The create is accepted after all."""
    task = {"id": f"task-unified-1757169743-{event.seq:08d}", "status": "pending", "progress": 0}
    return with_body(replace(event, answer=replace(event.answer, status=200)), task)


def header(name: str, value: str | None) -> Change:
    """Change or drop a header of the answer."""

    def change(event: Exchange) -> Exchange:
        kept = [pair for pair in event.answer.headers if pair[0].lower() != name.lower()]
        added = [] if value is None else [(name, value)]
        return replace(event, answer=replace(event.answer, headers=(*kept, *added)))

    return change


def posted(**members: Any) -> Change:
    """Change the body of a callback."""

    def change(event: Callback) -> Callback:
        text = orjson.dumps(merged(orjson.loads(event.request.body.content), members)).decode()
        return replace(event, request=replace(event.request, body=replace(event.request.body, text=text)))

    return change


def becomes(**members: Any) -> Change:
    """Change members of the event itself."""
    return lambda e: replace(e, **members)


def gone(_: Any) -> None:
    """Leave the event out."""


def again(**members: Any) -> Change:
    """The event happens once more, a tenth of a second later."""
    return lambda e: [e, replace(e, mono=e.mono + 0.005, ended_mono=e.mono + 0.006, **members)]


def credits_(amount: float) -> Change:
    """Change the credits that are read."""

    def change(event: Exchange) -> Exchange:
        data = body_of(event)["data"]
        token = {**data["token"], "remaining_credits": data["token"]["remaining_credits"] + amount}
        return with_body(event, {"success": True, "data": {**data, "token": token}})

    return change


def nth_balance(number: int) -> Pick:
    """The reading of credits with that number (negative: from the end)."""
    wanted = [event for event in GOOD if exchange("GET", "/v1/credits", 200)(event)][number]
    return lambda e: e.seq == wanted.seq


def moved(seconds: float) -> Change:
    """The event happens at another moment of the account's clock."""
    return lambda e: replace(e, at=e.at + seconds, ended_at=e.ended_at + seconds)


def echo(event: Exchange) -> Exchange:
    """The error says the key."""
    return error(message=f"{event.who} is no good")(event)


def mutated(pick: Pick, change: Change, *, every: bool = False) -> list[Any]:
    """The good history with the first picked event changed, or every one."""
    events: list[Any] = []
    done = 0
    for event in GOOD:
        if (every or not done) and pick(event):
            done += 1
            result = change(event)
            events.extend(result if isinstance(result, list) else [] if result is None else [result])
        else:
            events.append(event)
    assert done, "nothing was picked"
    return [replace(event, seq=number) for number, event in enumerate(events, 1)]


SWAPPED = VideoFacts(duration=5, width=720, height=1280)
SMALL = VideoFacts(duration=5, width=640, height=360)
SHORT = VideoFacts(duration=3, width=1280, height=720)
ANY_CREATE, PROCESSING, COMPLETED, FAILED = create(), read("processing"), read("completed", 5), read("failed", 1)
TOO_SLOW = [event for event in GOOD if attempt("/too-slow")(event)]
RETRIES = [event for event in GOOD if attempt("/failing")(event)]


def header_of(event: Exchange, name: str) -> str | None:
    """A header of the answer."""
    return dict(event.answer.headers).get(name)


def REPLAY(event: Any) -> bool:  # noqa: N802 - a pick, as the others
    """The replay that comes after its create."""
    return create()(event) and bool(header_of(event, "idempotency-replayed")) and "duration" not in asked(event)


def IDEMPOTENT(event: Exchange) -> bool:  # noqa: N802 - a pick, as the others
    """Whether it carries the key of the first idempotent create."""
    return ("Idempotency-Key", "0123456789abcdef") in event.request.headers


FIRST = next(body_of(event)["id"] for event in GOOD if create()(event))
ONCE = next(body_of(event)["id"] for event in GOOD if create()(event) and IDEMPOTENT(event))


def listed(query: str) -> Pick:
    """Lists by a part of their query."""
    return lambda e: exchange("GET", "/v1/tasks?")(e) and query in e.url


def LISTED(event: Any) -> bool:  # noqa: N802 - a pick, as the others
    """The whole list that has rows."""
    return exchange("GET", "/v1/tasks")(event) and "?" not in event.url and bool(body_of(event).get("data"))


WHOLE = next(event for event in GOOD if LISTED(event))


def filed(path: str, status: int = 200) -> Pick:
    """Calls of the files API by a part of their URL."""
    return lambda e: (
        isinstance(e, Exchange) and f"{histories.FILES}/" in e.url and path in e.url and e.answer.status == status
    )


def _listing(*ids: str) -> dict[str, Any]:
    rows = [{"file_id": each, "file_name": "x", "file_size": 54, "upload_time": "2026-01-01T00:00:00Z"} for each in ids]
    return {"success": True, "code": 200, "msg": "ok", "data": {"files": rows, "total": 2}}


def row(**members: Any) -> Change:
    """Change members of the first row."""

    def change(event: Exchange) -> Exchange:
        first, *rest = body_of(event)["data"]
        return with_body(event, {**body_of(event), "data": [{**first, **members}, *rest]})

    return change


AFTER_REPLAY = next(
    event.seq
    for event in GOOD
    if exchange("GET", "/v1/credits")(event) and event.seq > next(e.seq for e in GOOD if REPLAY(e))
)

BAD: dict[str, tuple[Any, ...]] = {
    "SW-01": (ANY_CREATE, header("Content-Type", "text/html")),
    "SW-02": (ANY_CREATE, status(201)),
    "SW-03": (ANY_CREATE, body(usage=DROP)),
    "SW-04": (PROCESSING, body(model=DROP)),
    "SW-23": (PROCESSING, body(created=5)),
    "SV-31": (create(duration=7.0), status(400)),
    "SV-32": (create(callback_url="https://h.example.com/127.0.0.1"), status(400)),
    "SC-24": (lambda e: e is RETRIES[1], moved(0.5)),
    "SA-11": (lambda e: isinstance(e, Exchange) and e.probe is not None and "SA-11" in e.probe.rules, status(404)),
    "SW-05": (lambda e: isinstance(e, Exchange) and b"task-unified" in e.answer.body.content, body(id="task-unified-1-ABC")),
    "SW-06": (PROCESSING, body(object="video")),
    "SW-07": (PROCESSING, body(type="image")),
    "SW-08": (PROCESSING, body(progress="40")),
    "SW-09": (PROCESSING, body(status="running")),
    "SW-10": (ANY_CREATE, body(created=1_757_169_743_000)),
    "SW-11": (create(400, duration=2), error(message=DROP)),
    "SW-12": (create(400, duration=2), error(code="bad_request")),
    "SW-13": (create(400, duration=2), error(type="oops")),
    "SW-14": (create(400, duration=2), error(param="prompt")),
    "SW-15": (create(400, duration=2), status(500)),
    "SW-16": (exchange("DELETE", CREATE), header("Allow", None)),
    "SW-17": (lambda e: isinstance(e, Exchange) and e.request.body.text == "{", accepted),
    "SW-18": (create(413), accepted),
    "SW-19": (exchange("GET", "/v1/models", 429), header("Retry-After", "soon")),
    "SW-20": (create(novel=1), status(400)),
    "SW-21": (ANY_CREATE, header("x-request-id", "r1")),
    "SW-22": (PROCESSING, body(created="2026-01-01", novel=1)),
    "SS-01": (PROCESSING, inner("usage", billing_rule="per_mood")),
    "SS-02": (attempt("/completed"), posted(usage="none")),
    "SV-01": (create(400, model=DROP), accepted),
    "SV-02": (create(400, model="kling-v9-image-to-video"), accepted),
    "SV-03": (create(400, image_start=DROP), accepted),
    "SV-04": (create(400, image_start="ftp://x/y.png"), accepted),
    "SV-05": (create(prompt=DROP), status(400)),
    "SV-06": (create(400, prompt="x" * (CONTRACT.prompt_max + 1)), accepted),
    "SV-07": (create(400, prompt=7), accepted),
    "SV-08": (create(400, duration=2), accepted),
    "SV-09": (create(400, duration=16), status(422)),
    "SV-10": (create(duration=15), status(400)),
    "SV-11": (create(400, duration="5"), accepted),
    "SV-12": (create(duration=DROP), inner("task_info", video_duration=10)),
    "SV-13": (create(400, quality="4k"), accepted),
    "SV-14": (create(400, quality="720P"), accepted),
    "SV-15": (create(quality="1080p"), status(400)),
    "SV-16": (create(400, aspect_ratio="16:9"), accepted),
    "SV-17": (create(400, callback_url="http://hooks.example.com/"), accepted),
    "SV-18": (create(400, callback_url="https://2130706433/"), accepted),
    "SV-19": (create(400, callback_url="https://h.example.com/" + "x" * CONTRACT.callback_url_max), accepted),
    "SV-20": (create(callback_url="https://11.0.0.1/x"), status(400)),
    "SV-21": (imaged(200, width=300, height=300), status(400)),
    "SV-22": (imaged(200, width=750), status(400)),
    "SV-23": (imaged(200, size=49_000_000), status(400)),
    "SV-24": (imaged(200, misnamed=True), status(400)),
    "SV-25": (imaged(400, fault="truncated"), status(502)),
    "SV-26": (read("failed"), inner("error", code="service_error")),
    "SV-27": (nth_balance(1), credits_(-20)),
    "SV-28": (create(400, duration=2), error(param="model")),
    "SV-29": (lambda e: isinstance(e, Exchange) and e.request.body.text == "null", accepted),
    "SV-30": (fetched(2), becomes(video=SWAPPED)),
    "SM-01": (create(400, sound="ON"), accepted),
    "SM-02": (create(sound="on"), status(400)),
    "SM-03": (given("gif"), status(500)),
    "SM-04": (create(sound="on"), inner("usage", credits_reserved=1)),
    "SM-05": (create(sound="on"), inner("task_info", video_duration=9)),
    "SM-06": (fetched(-1), becomes(video=SWAPPED)),
    "SM-07": (fetched(-1), becomes(video=SMALL)),
    "SM-08": (read("completed", -1), body(result_data=[{"video_url": "https://files.example.com/1.mp4"}])),
    "SL-01": (ANY_CREATE, body(status="processing")),
    "SL-02": (create(novel=1), body(id=FIRST)),
    "SL-03": (read("pending"), status(404)),
    "SL-04": (read("processing", 1), body(status="pending")),
    "SL-05": (COMPLETED, body(status="processing")),
    "SL-06": (read("processing", 1), body(progress=30)),
    "SL-07": (read("failed", 1), body(progress=20)),
    "SL-08": (COMPLETED, body(progress=99)),
    "SL-09": (PROCESSING, body(results=["https://x.example.com/a.mp4"])),
    "SL-10": (COMPLETED, body(results=[])),
    "SL-11": (FAILED, body(results=["https://x.example.com/a.mp4"])),
    "SL-12": (FAILED, inner("error", message=DROP)),
    "SL-13": (FAILED, inner("error", code="bad_luck")),
    "SL-14": (PROCESSING, body(error={"code": "x", "message": "y"})),
    "SL-15": (PROCESSING, body(created=1)),
    "SL-16": (expecting(Expect.NO_SUCH_TASK), status(400)),
    "SL-17": (read("completed"), lambda e: moved(9000)(body(status="processing", results=DROP, progress=9)(e))),
    "SL-18": (read("pending", 1), body(progress=-1)),
    "SL-19": (COMPLETED, inner("task_info", can_cancel=True)),
    "SL-20": (read("completed", 5), body(model="kling-v4")),
    "SL-21": (ANY_CREATE, inner("task_info", video_duration=1)),
    "SL-22": (lambda e: exchange("GET", "/v1/tasks/")(e) and b"request_cancelled" in e.answer.body.content, inner("error", code="x")),
    "SL-23": (attempt("/completed"), posted(progress="100")),
    "SC-01": (attempt("/completed"), gone),
    "SC-02": (attempt("/failed"), gone),
    "SC-03": (attempt("/completed"), posted(status="processing")),
    "SC-04": (attempt("/completed"), becomes(method="PUT")),
    "SC-05": (attempt("/completed"), posted(usage={})),
    "SC-06": (attempt("/completed"), again()),
    "SC-07": (attempt("/failing", 404), again()),
    "SC-08": (lambda e: e is RETRIES[2], moved(-0.5)),
    "SC-09": (lambda e: e is RETRIES[1], moved(1.5)),
    "SC-10": (attempt("/slow"), again()),
    "SC-11": (lambda e: e is TOO_SLOW[1], gone),
    "SC-12": (attempt("/failing", 302), again(url="https://hooks.example.com/elsewhere", method="GET")),
    "SC-13": (attempt("/failing", 302), posted(progress=99)),
    "SC-14": (attempt("/completed"), lambda e: replace(e, request=replace(e.request, headers=(("X-Key", WHO),)))),
    "SC-15": (attempt("/completed"), lambda e: replace(e, url=e.url.replace("%20", "+"))),
    "SC-16": (create(callback_url="https://hooks.example.com/refused"), lambda e: _probe(e, receiver=Receiver.REBINDS)),
    "SC-17": (attempt("/completed"), posted(id=next(e.data for e in GOOD if getattr(e, "topic", "") == Topic.SETTLED)["task_id"])),
    "SC-18": (lambda e: isinstance(e, Exchange) and FAILING in e.url and e.mono > RETRIES[3].mono, body(usage={"credits_used": 9})),
    "SC-19": (lambda e: isinstance(e, Balance), lambda e: replace(e, remaining=e.remaining + 5)),
    "SC-20": (attempt("/cancelled"), gone),
    "SC-21": (attempt("/receipt", 204), again()),
    "SC-22": (attempt("/refused"), gone),
    "SC-23": (lambda e: isinstance(e, Exchange) and FAILING in e.url and e.mono > RETRIES[3].mono, status(404)),
    "SK-01": (COMPLETED, body(results=["files/a.mp4"])),
    "SK-02": (fetched(2), becomes(headers=(("Content-Type", "application/octet-stream"),))),
    "SK-03": (fetched(2), becomes(status=401)),
    "SK-04": (fetched(6), becomes(status=403)),
    "SK-05": (fetched(7), becomes(status=200, sha256="ab" * 32)),
    "SK-06": (fetched(7), becomes(status=500)),
    "SK-07": (lambda e: exchange("GET", "/v1/tasks/")(e) and e.seq > LAST_DOWNLOAD, status(404)),
    "SK-08": (fetched(5), becomes(status=200)),
    "SK-13": (fetched(5), becomes(size=1)),
    "SK-14": (COMPLETED, body(result_data=[{"video_url": "https://x.example.com/y.mp4", "duration": 5}])),
    "SB-21": (COMPLETED, inner("usage", cost={"credits": 1.5})),
    "SW-24": (exchange("GET", "/v1/models", 429), status(404)),
    "SW-25": (exchange("GET", f"{CREATE}/task"), error(message="no")),
    "SK-09": (fetched(3), becomes(sha256="ef" * 32)),
    "SK-10": (fetched(2), becomes(video=SHORT)),
    "SA-01": (lambda e: exchange("GET", "/v1/tasks", 401)(e) and not e.who, status(200)),
    "SA-02": (expecting(Expect.UNAUTHORIZED), status(200)),
    "SA-03": (lambda e: isinstance(e, Exchange) and ("Authorization", f"Basic {WHO}") in e.request.headers, status(404)),
    "SA-04": (exchange("GET", "/v1/credits?api_key"), status(200)),
    "SA-05": (lambda e: exchange("POST", CREATE, 401)(e), status(400)),
    "SA-06": (lambda e: exchange("GET", "/v1/tasks/", 404)(e) and e.who == WHO_ELSE, status(200)),
    "SA-07": (lambda e: expecting(Expect.UNAUTHORIZED)(e) and "yyyyyyyy" in e.url, error(code="who_knows")),
    "SA-08": (create(400, duration=2), echo),
    "SA-09": (lambda e: isinstance(e, Exchange) and ("Authorization", f"bearer {WHO}") in e.request.headers, status(401)),
    "SA-10": (expecting(Expect.NO_ACCESS), status(400)),
    "SB-01": (create(duration=15), inner("usage", credits_reserved=60)),
    "SB-02": (nth_balance(3), credits_(-50)),
    "SB-03": (nth_balance(4), credits_(-7)),
    "SB-04": (nth_balance(5), credits_(-7)),
    "SB-05": (nth_balance(1), credits_(-20)),
    "SB-06": (expecting(Expect.NO_BALANCE), accepted),
    "SB-07": (nth_balance(-4), credits_(-1)),
    "SB-08": (nth_balance(-6), credits_(50)),
    "SB-09": (lambda e: create(402)(e) and e.probe.group, accepted),
    "SB-10": (nth_balance(8), credits_(-1)),
    "SB-11": (nth_balance(-1), credits_(-20_000)),
    "SB-12": (REPLAY, body(id="task-unified-1757169743-aaaaaaaa")),
    "SB-13": (REPLAY, header("idempotency-replayed", None)),
    "SB-14": (lambda e: isinstance(e, Exchange) and e.seq == AFTER_REPLAY, credits_(-1)),
    "SB-15": (lambda e: exchange("POST", CREATE, 409)(e), accepted),
    "SB-17": (lambda e: create()(e) and e.who == WHO_ELSE and IDEMPOTENT(e), body(id=ONCE)),
    "SB-20": (lambda e: create(duration=4)(e) and ("Idempotency-Key", "0123456789abcdeA") in e.request.headers, status(400)),
    "SB-18": (create(duration=15), inner("usage", credits_reserved=200)),
    "SB-19": (PROCESSING, inner("usage", billing_rule="per_call")),
    "SV-33": (lambda e: create(400)(e) and "@10.0.0.1" in str(asked(e).get("callback_url")), accepted),
    "SV-34": (lambda e: isinstance(e, Exchange) and e.probe is not None and e.probe.value == "127.0.0.1", status(400)),
    "SV-35": (create(callback_url="https://h.example.com:8443"), status(400)),
    "SA-12": (lambda e: exchange("GET", "/v1/tasks/", 404)(e) and e.who == WHO_ELSE, error(message="it is secret", progress=40)),
    "SK-11": (fetched(0), becomes(sha256="ef" * 32)),
    "SK-12": (lambda e: isinstance(e, Download) and "?" not in e.url, becomes(status=200)),
    "ST-01": (LISTED, lambda e: with_body(e, {**body_of(e), "data": body_of(e)["data"][::-1]})),
    "ST-02": (listed("status=completed"), lambda e: with_body(e, body_of(WHOLE))),
    "ST-03": (listed("page=2"), lambda e: with_body(e, {**body_of(e), "data": body_of(WHOLE)["data"][:1]})),
    "ST-04": (LISTED, row(results=["https://x.example.com/a.mp4"])),
    "ST-05": (LISTED, row(has_results=True)),
    "ST-06": (exchange("POST", "/v1/tasks/batch", 200), lambda e: with_body(e, {"data": []}), True),
    "ST-07": (exchange("POST", "/v1/tasks/batch", 400), status(200)),
    "SF-01": (filed("upload/base64"), status(201)),
    "SF-02": (filed("quota"), lambda e: with_body(e, {**body_of(e), "data": {"used_files": 0}})),
    "SF-03": (filed("upload/base64"), inner("data", file_size=72)),
    "SF-04": (lambda e: filed("upload/base64")(e) and "fileName" in asked(e), inner("data", file_name="file.gif")),
    "SF-05": (filed("list"), lambda e: with_body(e, _listing("file-0", "file-1", "file-2"))),
    "SF-06": (filed("upload/base64", 400), lambda e: with_body(status(200)(e), {"success": True, "code": 200, "msg": "ok"})),
    "SF-07": (filed("upload/base64", 400), body(code="invalid_request")),
    "SF-08": (filed("upload/url", 400), body(code=400)),
    "SF-09": (filed("quota"), inner("data", remain_files=90)),
    "SF-10": (filed("page=2"), lambda e: with_body(e, _listing("file-2"))),
    "SF-11": (filed("pageSize=100"), lambda e: with_body(e, _listing("file-1", "file-2"))),
    "SF-12": (filed("upload/base64"), inner("data", expires_at="2026-01-01T00:00:00Z")),
    "SF-13": (lambda e: filed("list")(e) and e.who == WHO_ELSE, lambda e: with_body(e, _listing("file-1"))),
    "SF-14": (filed("quota", 401), lambda e: with_body(status(200)(e), {"success": True, "code": 200, "msg": "ok"})),
    "SB-16": (lambda e: create(duration=6)(e) and header_of(e, "idempotency-replayed"), body(id="task-unified-1-aaaaaaaa")),
}  # fmt: skip

MASK = Mask(b"salt", (KEY, OTHER))
WHO, WHO_ELSE = MASK.token(KEY), MASK.token(OTHER)
FAILING = orjson.loads(RETRIES[0].request.body.content)["id"]
LAST_DOWNLOAD = sorted(event.seq for event in GOOD if isinstance(event, Download))[-2]


def _probe(event: Exchange, **members: Any) -> Exchange:
    return replace(event, probe=replace(event.probe, **members) if event.probe else Probe(**members))
