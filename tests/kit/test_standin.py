"""The stand-in on the wire: it must be right before it may judge whether the kit is."""

import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest
import trustme
from PIL import Image
from standin import StandIn

CREATE = "/v1/videos/generations"
IMAGE = "https://image.test/1280x720.png"
FAST: dict[str, Any] = {"queue": 0.05, "run": 0.1}
LOOKS = 100_000
"""Reads after which a task that does not end is given up."""


@dataclass
class Reply:
    """One answer as the wire had it."""

    status: int
    headers: Any
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.raw)

    @property
    def error(self) -> Any:
        """(status, code, param) of an error answer."""
        error = self.json["error"]
        assert isinstance(error["message"], str)
        return self.status, error["code"], error.get("param")


def call(
    server: StandIn | str, method: str, path: str, body: Any = None, key: str | None = "sk-a", **headers: str
) -> Reply:
    """One request; `body` is sent as it is when bytes, else as JSON."""
    parts = urlsplit(server if isinstance(server, str) else server.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    if key is not None:
        sent.setdefault("Authorization", f"Bearer {key}")
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def create(server: StandIn, key: str = "sk-a", headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    """A create, valid unless `fields` say otherwise; a field given as ... is left out."""
    body = {"model": "kling-v3-turbo-image-to-video", "image_start": IMAGE, "duration": 3} | fields
    body = {name: value for name, value in body.items() if value is not ...}
    return call(server, "POST", CREATE, body, key, **(headers or {}))


def until(server: StandIn, ready: Callable[[], Any], seconds: float = 8.0) -> Any:
    """What `ready` gives once it gives anything; fails after `seconds`."""
    for _ in range(int(seconds / 0.01)):
        if found := ready():
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"never: {server.attempt_rows()}")


def finished(server: StandIn, task_id: str, key: str = "sk-a") -> Any:
    """The task once it is terminal."""

    def terminal() -> Any:
        task = call(server, "GET", f"/v1/tasks/{task_id}", key=key).json
        return task if task["status"] in ("completed", "failed") else None

    return until(server, terminal)


@pytest.fixture(scope="module")
def plain() -> Iterator[StandIn]:
    """One stand-in with default liberties, shared by tests that only look."""
    with StandIn(**FAST, keys=("sk-a", "sk-b"), denied_keys=("sk-denied",)) as server:
        yield server


@dataclass
class Receiver:
    """An HTTPS callback receiver: scripted answers, everything it got."""

    port: int = 0
    script: list[bytes | Iterable[bytes]] = field(default_factory=list)  # pieces go out one every 50 ms
    got: list[tuple[str, Any, bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Receiver, dict[str, Any]]]:
    """A receiver known as hooks.example.com, with the options that let a stand-in reach it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    state = Receiver()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append((self.path, self.headers, body))
            answer = state.script.pop(0) if state.script else answer_of(204)
            for piece in [answer] if isinstance(answer, bytes) else answer:
                self.wfile.write(piece)
                threading.Event().wait(0 if isinstance(answer, bytes) else 0.05)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # the stand-in hangs up on an answer that takes too long

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    with serving(server):
        place = {"hooks.example.com": ("127.0.0.1", state.port)}
        yield state, {**FAST, "ca_file": tmp_path / "ca.pem", "resolve": place, "retry_gaps": (0.1, 0.2, 0.4)}


class serving:  # noqa: N801
    """A server in a thread for the length of a with block."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server

    def __enter__(self) -> None:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def answer_of(status: int, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of an HTTP answer."""
    length = () if status < 200 or status == 204 else (f"Content-Length: {len(body)}",)
    return "\r\n".join([f"HTTP/1.1 {status} X", *headers, *length, "", ""]).encode() + body


def test_create_then_query_walks_the_documented_life(plain: StandIn) -> None:
    """A create answers the whole task at once; status and progress only go forward; the end has links."""
    made = create(plain)
    task = made.json
    assert (made.status, task["status"], task["progress"]) == (200, "pending", 0)
    assert made.headers["Content-Type"] == "application/json"
    assert set(task) == {"created", "id", "model", "object", "progress", "status", "task_info", "type", "usage"}
    assert task["task_info"] == {"can_cancel": True, "estimated_time": 1, "video_duration": 3}
    seen = [task]
    for _ in range(LOOKS):
        seen.append(call(plain, "GET", f"/v1/tasks/{task['id']}").json)
        if seen[-1]["status"] in ("completed", "failed"):
            break
    order = ["pending", "processing", "completed"]
    stages = [order.index(each["status"]) for each in seen]
    assert stages == sorted(stages)
    assert [each["progress"] for each in seen] == sorted(each["progress"] for each in seen)
    assert seen[-1]["progress"] == 100
    assert seen[-1]["task_info"]["can_cancel"] is False
    assert seen[-1]["usage"] == {
        "billing_rule": "per_second",
        "credits_reserved": 30,
        "user_group": "default",
        "credits_used": 30,
        "cost": {"credits": 30, "usd": 0.3},
    }
    assert all("results" not in each and "error" not in each for each in seen[:-1])


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic sk-a"}, {"Authorization": "sk-a"}, {"Authorization": "Bearer nope"}],
)
@pytest.mark.parametrize("path", [CREATE, "/v1/tasks/task-unified-1-abcdefgh", "/v1/nothing", "/v1/credits?key=sk-a"])
def test_auth_comes_first_on_every_path(plain: StandIn, path: str, headers: dict[str, str]) -> None:
    """Without a good bearer key everything is the same 401, whatever the path, method or body."""
    for method in ("GET", "POST", "DELETE"):
        answer = call(plain, method, path, b'{"api_key": "sk-a"', key=None, **headers)
        assert answer.json["error"] == {
            "code": "unauthorized",
            "message": "The API key is missing or not valid.",
            "type": "authentication_error",
        }
        assert (answer.status, answer.headers["Content-Type"]) == (401, "application/json")


def test_bearer_in_any_case(plain: StandIn) -> None:
    """The scheme word is matched without regard to case."""
    assert call(plain, "GET", "/v1/credits", key=None, Authorization="bEARER sk-a").status == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ...}, "model"),
        ({"model": "kling-v3-image-to-video"}, "model"),
        ({"model": None}, "model"),
        ({"image_start": ...}, "image_start"),
        *(
            ({"image_start": bad}, "image_start")
            for bad in (None, 5, "", "ftp://a.b/c.png", "data:image/png;base64,", [])
        ),
        *(({"prompt": bad}, "prompt") for bad in (None, 5, [], "界" * 2501, "🎬" * 2501)),
        *(({"duration": bad}, "duration") for bad in (2, 0, -1, 16, 10**9, 5.5, "5", True, None, [5], 1e308)),
        *(({"quality": bad}, "quality") for bad in ("4k", "480p", "720P", 1080, "", None, [])),
        *(({bad: None}, bad) for bad in ("aspect_ratio", "image_end", "image_urls", "video_urls", "audio_urls")),
        ({"callback_url": "https://a.example/" + "x" * 2031}, "callback_url"),
    ],
)
def test_a_bad_field_is_named(plain: StandIn, fields: dict[str, Any], param: str) -> None:
    """A body against the document is 400 with the field in `param`, and costs nothing."""
    before = call(plain, "GET", "/v1/credits", key="sk-b").json
    assert create(plain, "sk-b", **fields).error == (400, "invalid_request", param)
    assert call(plain, "GET", "/v1/credits", key="sk-b").json == before


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "界" * 2500},
        {"prompt": "🎬" * 2500},
        {"prompt": ""},
        {"duration": 15},
        {"duration": 5.0},
        {"quality": "1080p"},
        {"never_heard_of": None},
        {"callback_url": "https://11.0.0.1/" + "x" * 2031},
        *({"callback_url": f"https://{host}/"} for host in ("172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1")),
        {"callback_url": "HTTPS://[2606:4700::1111]:8443/hook?a=b"},
    ],
)
def test_the_edges_are_accepted(fields: dict[str, Any]) -> None:
    """The last good value of each rule passes; nothing is really called, the task does not end here."""
    with StandIn(queue=60) as server:
        assert create(server, **fields).status == 200


@pytest.mark.parametrize(
    "url",
    [
        *("http://a.example/", "ftp://a.example/", "javascript:alert(1)", "a.example/x", "//a.example/", "https://"),
        *("https://u@a.example/", "https://a.example:0/", "https://a.example:99999/", "https://a.example /", 5, None),
        *("https://1.1.1.1\\@127.0.0.1/", "https://256.1.1.1/", "https://1.2.3.4.5/", "https://[::1"),
        *(
            f"https://{host}/"
            for host in (
                *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.", "0"),
                *(
                    "\uff11\uff12\uff17.0.0.1",
                    "127。0。0。1",
                    "%31%32%37.0.0.1",
                    "10.1.2.3",
                    "172.16.0.1",
                    "172.31.255.255",
                ),
                *("192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
                *("localhost", "LOCALHOST.", "api.localhost", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[ff02::1]"),
                *("[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
            )
        ),
    ],
)
def test_callback_urls_that_are_refused(plain: StandIn, url: Any) -> None:
    """Only https, and no internal address in any spelling."""
    assert create(plain, "sk-b", callback_url=url).error == (400, "invalid_request", "callback_url")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b"5", b'{"model":', b'{"duration": NaN}', b"\xff\xfe{}", b"\xef\xbb\xbf{}"),
        *(b'{"model": 1, "model": 2}', b'{"prompt": "\\ud800"}', b"[" * 100_000, b'{"a": Infinity}', b"{}{}"),
    ],
)
def test_a_body_that_is_no_json_object(plain: StandIn, body: bytes) -> None:
    """Whatever two JSON readers could disagree about is refused in the documented shape."""
    assert call(plain, "POST", CREATE, body).error == (400, "invalid_request", None)


def test_routes_methods_and_sizes() -> None:
    """404, 405 with Allow, 413, 415 and unknown methods keep the documented shape; there is no control protocol."""
    with StandIn(max_body=1000) as server:
        assert call(server, "GET", "/__mock/info", key=None).error == (404, "not_found", None)
        missing = call(server, "GET", CREATE + "/task-unified-1-abcdefgh?api_key=sk-a")
        assert missing.error == (404, "not_found", None)
        assert "Invalid URL" in missing.json["error"]["message"]
        assert b"sk-a" not in call(server, "GET", "/v1/sk-a").raw
        for method, path, allow in (
            ("GET", CREATE, "POST"),
            ("BREW", CREATE, "POST"),
            ("PUT", "/v1/tasks/x", "GET, HEAD"),
        ):
            answer = call(server, method, path)
            assert (answer.error, answer.headers["Allow"]) == ((405, "method_not_allowed", None), allow)
        assert create(server, prompt="x" * 1000).error == (413, "request_too_large", None)
        assert create(server, headers={"Content-Type": "text/plain"}).error == (415, "unsupported_media_type", None)
        assert create(server, headers={"Content-Type": "application/json; charset=utf-8"}).status == 200
        first, second = (call(server, "GET", "/v1/credits").headers["x-request-id"] for _ in range(2))
        assert first != second


def test_chunked_and_broken_framing(plain: StandIn) -> None:
    """A chunked create is a create; a request that is no HTTP still gets JSON and 400."""
    address = urlsplit(plain.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
    body = json.dumps({"model": "kling-v3-turbo-image-to-video", "image_start": IMAGE}).encode()
    connection.request(
        "POST", CREATE, iter([body[:9], body[9:]]), {"Authorization": "Bearer sk-a"}, encode_chunked=True
    )
    assert connection.getresponse().status == 200
    connection.close()
    for raw in (b"NONSENSE\r\n\r\n", b"GET / HTTP/7.7\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
            sock.sendall(raw)
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


def test_ids_of_others_and_of_nobody_look_the_same(plain: StandIn) -> None:
    """404 for a task of another key exactly as for no task; 400 for an id that is none."""
    task_id = create(plain, "sk-b").json["id"]
    foreign, nobody = (call(plain, "GET", f"/v1/tasks/{each}") for each in (task_id, "task-unified-1-abcdefgh"))
    assert foreign.raw == nobody.raw
    assert foreign.error == (404, "task_not_found", "task_id")
    assert call(plain, "GET", "/v1/tasks/abc").error == (400, "invalid_task_id", "task_id")
    assert call(plain, "GET", "/v1/tasks/%00").error == (400, "invalid_task_id", "task_id")


def test_a_key_without_the_model(plain: StandIn) -> None:
    """403 in the documented shape."""
    assert create(plain, "sk-denied").error == (403, "model_access_denied", None)


def test_rate_limit_says_when_to_come_back() -> None:
    """The call over the limit is 429 with Retry-After, as seconds or as a date."""
    with StandIn(rate_limit=2) as server:
        codes = [create(server).status for _ in range(3)]
        late = call(server, "GET", "/v1/tasks/task-unified-1-abcdefgh")
        assert codes == [200, 200, 429]
        assert late.error == (429, "rate_limit_exceeded", None)
        assert 0 < int(late.headers["Retry-After"]) <= 60
    with StandIn(rate_limit=0, retry_after="date") as server:
        assert create(server).headers["Retry-After"].endswith("GMT")


def test_legacy_dialect() -> None:
    """The older generation: the status as an integer code and its own types, on every answer."""
    with StandIn(dialect="legacy", keys=("sk-a",), credits=1) as server:
        answers = [call(server, "GET", "/v1/x", key=None), create(server, model="x"), create(server)]
        answers += [call(server, "GET", "/v1/tasks/task-unified-1-abcdefgh"), call(server, "GET", CREATE)]
        told = [(each.json["error"]["code"], each.json["error"]["type"]) for each in answers]
    assert told == [
        (401, "authentication_error"),
        (400, "invalid_request_error"),
        (402, "insufficient_quota_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
    ]


def png(width: int, height: int, **how: Any) -> bytes:
    """A PNG made by Pillow."""
    out = BytesIO()
    Image.new(how.pop("mode", "RGB"), (width, height)).save(out, "PNG", **how)
    return out.getvalue()


def picture(kind: str, width: int, height: int, **how: Any) -> bytes:
    """An image of another kind made by Pillow."""
    out = BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, kind, **how)
    return out.getvalue()


def lying_png(width: int, height: int) -> bytes:
    """A PNG whose checksums are right but which holds fewer rows than its header says."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((1 + width * 3) * (height - 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


GOOD = {
    "smallest": png(300, 300),
    "widest": png(750, 300),
    "tallest": png(300, 750),
    "grey": png(300, 300, mode="L"),
    "palette": png(300, 300, mode="P"),
    "one-bit": png(301, 300, mode="1"),
    "baseline": picture("JPEG", 640, 480),
    "progressive": picture("JPEG", 640, 480, progressive=True),
    "restarts": picture("JPEG", 640, 480, restart_marker_blocks=4),
}
BAD = {
    "too-small": png(299, 400),
    "too-wide": png(751, 300),
    "too-tall": png(300, 751),
    "gif": picture("GIF", 640, 480),
    "webp": picture("WEBP", 640, 480),
    "bmp": picture("BMP", 640, 480),
    "tiff": picture("TIFF", 640, 480),
    "text": b"hello",
    "nothing": b"",
    "short-png": png(640, 480)[:-20],
    "shorter-png": png(640, 480)[:60],
    "short-jpeg": picture("JPEG", 640, 480)[:-100],
    "bare-jpeg": b"\xff\xd8\xff\xd9",
    "lying-png": lying_png(640, 480),
    "too-big": png(640, 480) + bytes(50 * 1024 * 1024),
}


@pytest.fixture(scope="module")
def gallery() -> Iterator[str]:
    """A real image host on the loopback: /good/NAME, /bad/NAME, /moved, /cut."""

    class Images(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path[1:].partition("/")
            data = {"good": GOOD, "bad": BAD}.get(kind, {}).get(name, GOOD["baseline"])
            self.send_response({"moved": 302, "gone": 404}.get(kind, 200))
            self.send_header("Location", "/good/baseline")
            self.send_header("Content-Length", str(len(data) + 9 * (kind == "cut")))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # the stand-in hangs up on an image over its limit

    server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@pytest.mark.parametrize("name", ["moved", *(f"good/{name}" for name in GOOD)])
def test_a_fetched_first_frame_is_accepted(plain: StandIn, gallery: str, name: str) -> None:
    """Real bytes over HTTP: the bytes decide, whatever the name."""
    assert create(plain, image_start=f"{gallery}/{name}").status == 200


@pytest.mark.parametrize("name", ["gone", "cut", *(f"bad/{name}" for name in BAD)])
def test_a_fetched_first_frame_is_refused(plain: StandIn, gallery: str, name: str) -> None:
    """Wrong kind, size, ratio, length, or not there: 400 for image_start."""
    assert create(plain, image_start=f"{gallery}/{name}").error == (400, "invalid_request", "image_start")


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("300x300.jpg", 200),
        ("750x300.png", 200),
        ("1280x720.jpg?bytes=52428800", 200),
        ("299x400.png", 400),
        ("300x751.png", 400),
        ("1280x720.jpg?bytes=52428801", 400),
        ("1280x720.png?truncated", 400),
        ("1280x720.png?as=gif", 400),
        ("1280x720.png?status=404", 400),
        ("cat.png", 400),
    ],
)
def test_images_of_the_test_host(plain: StandIn, url: str, status: int) -> None:
    """An image of image.test is judged by its URL, with no network."""
    assert create(plain, image_start=f"https://image.test/{url}").status == status


def test_a_late_image_check_fails_the_task() -> None:
    """With the option a bad frame is accepted, then fails as image_processing_error and is refunded."""
    with StandIn(**FAST, late_image_check=True) as server:
        task = finished(server, create(server, image_start="https://image.test/100x100.png").json["id"])
        assert (task["status"], task["error"]["code"]) == ("failed", "image_processing_error")
        assert server.balance("sk-a") == 1_000_000


def test_money_is_reserved_settled_and_refunded(tmp_path: Path) -> None:
    """Every credit that moves stands in the ledger file, and the balance agrees with it and with /v1/credits."""
    ledger = tmp_path / "ledger.jsonl"
    with StandIn(**FAST, tags=True, credits=100, price_1080p=0.1, ledger=ledger) as server:
        good = create(server, duration=3).json["id"]
        assert call(server, "GET", "/v1/credits").json["data"]["token"] == {
            "remaining_credits": 70,
            "used_credits": 0,
            "unlimited_credits": False,
        }
        bad = create(server, duration=3, quality="1080p", prompt="[[failed code=service_error at=40]]").json["id"]
        assert create(server, duration=15).error == (402, "insufficient_quota", None)
        assert create(server, duration=16).status == 400
        assert create(server, key="sk-nobody").status == 401
        finished(server, good)
        failed = finished(server, bad)
        assert (failed["progress"], failed["usage"]["credits_used"], "results" in failed) == (40, 0, False)
        assert failed["error"]["type"] == "task_error"
        assert call(server, "GET", "/v1/credits").json["data"]["user"] == {"remaining_credits": 70, "used_credits": 30}
        rows = server.ledger_rows()
    assert [json.loads(line) for line in ledger.read_text().splitlines()] == rows
    assert [
        (row["event"], row["key"], row["credits_reserved"], row["credits_settled"], row["credits_refunded"])
        for row in rows
    ] == [
        ("accepted", "sk-a", 30, 0, 0),
        ("accepted", "sk-a", 0.3, 0, 0),
        ("refused", "sk-a", 0, 0, 0),
        ("refused", "sk-a", 0, 0, 0),
        ("refused", None, 0, 0, 0),
        ("settled", "sk-a", 0, 30, 0),
        ("refunded", "sk-a", 0, 0, 0.3),
    ]
    assert [row["balance_after"] for row in rows] == [70, 69.7, 69.7, 69.7, None, 69.7, 70]


def test_creates_at_once_never_overdraw() -> None:
    """24 creates at once with credits for 5 are 5 tasks with 5 ids, and 19 times 402."""
    with StandIn(queue=60, credits=150) as server, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: create(server), range(24)))
        assert sorted(each.status for each in answers) == [200] * 5 + [402] * 19
        assert len({each.json["id"] for each in answers if each.status == 200}) == 5
        assert server.balance("sk-a") == 0


def test_idempotency_key(gallery: str) -> None:
    """Same key and body: one task, one charge, a header that says so; another body is 409; off means ignored."""
    name = {"Idempotency-Key": "k" * 16}
    together = threading.Barrier(8)  # all eight are past the first look for the key before any is accepted

    def meet(_host: str) -> list[str]:
        together.wait(5)
        return ["127.0.0.1"]

    image = f"http://frames.example.com:{urlsplit(gallery).port}/good/baseline"
    with StandIn(queue=60, lookup=meet) as server, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(server, headers=name, image_start=image), range(8)))
        assert len({each.raw for each in answers}) == 1
        assert sum(each.headers["idempotency-replayed"] == "true" for each in answers) == 7
        assert server.balance("sk-a") == 1_000_000 - 30
        assert create(server, headers=name, duration=4).error == (409, "idempotency_conflict", "Idempotency-Key")
        assert create(server, headers={"Idempotency-Key": "short"}).error[2] == "Idempotency-Key"
        assert create(server, "sk-b", headers=name).headers["idempotency-replayed"] is None
    with StandIn(queue=60, idempotency="off") as server:
        assert create(server, headers=name).json["id"] != create(server, headers=name).json["id"]


def test_tags_are_off_unless_asked_for() -> None:
    """The real service knows no tags: by default one is just a prompt."""
    with StandIn(**FAST) as server:
        assert finished(server, create(server, prompt="[[cancelled]]").json["id"])["status"] == "completed"
    with StandIn(**FAST, tags=True) as server:
        task = finished(server, create(server, prompt="[[cancelled]]").json["id"])
        assert task["error"]["code"] == "request_cancelled"


def test_a_link_plays_in_the_frame_s_ratio(plain: StandIn) -> None:
    """The link needs no key, decodes, lasts as long as asked, has the tier's size and supports HEAD and ranges."""
    made = create(plain, image_start="https://image.test/1000x500.png", quality="1080p", duration=4).json
    link = finished(plain, made["id"])["results"][0]
    path = urlsplit(link).path
    assert link.startswith(plain.url)
    whole = call(plain, "GET", path, key=None)
    assert (whole.status, whole.headers["Content-Type"]) == (200, "video/mp4")
    with av.open(BytesIO(whole.raw)) as film:
        stream = film.streams.video[0]
        frames = sum(1 for _ in film.decode(stream))
        assert (stream.width, stream.height) == (2160, 1080)
        assert abs(film.duration / av.time_base - 4) < 0.1
        assert frames == 16
    head = call(plain, "HEAD", path, key=None)
    assert (head.raw, head.headers["Content-Length"]) == (b"", str(len(whole.raw)))
    for asked, start, stop in (("bytes=0-99", 0, 100), ("bytes=100-", 100, len(whole.raw)), ("bytes=-7", -7, None)):
        part = call(plain, "GET", path, key=None, Range=asked)
        assert (part.status, part.raw) == (206, whole.raw[start:stop])
    beyond = call(plain, "GET", path, key=None, Range=f"bytes={len(whole.raw)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole.raw)}")
    assert call(plain, "GET", "/dl/0123456789abcdef.mp4", key=None).status == 404


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_link(status: int) -> None:
    """After its lifetime the link answers the status of the option; the task stays as it was."""
    with StandIn(**FAST, link_life=0.2, expired_status=status) as server:
        task = finished(server, create(server).json["id"])
        path = urlsplit(task["results"][0]).path
        until(server, lambda: call(server, "HEAD", path, key=None).status == status)
        assert call(server, "GET", f"/v1/tasks/{task['id']}").json == task


def test_a_callback_is_the_task_and_nothing_more(receiver: tuple[Receiver, dict[str, Any]]) -> None:
    """One POST to the URL as given, after settling, with the body of a query and no key in it."""
    hook, options = receiver
    with StandIn(**options) as server:
        url = "https://hooks.example.com:8443/a%20b/c;d?x=1&y=%2F&z"
        task_id = create(server, callback_url=url).json["id"]
        until(server, server.attempt_rows)
        [(path, headers, body)] = hook.got
        assert path == "/a%20b/c;d?x=1&y=%2F&z"
        assert json.loads(body) == call(server, "GET", f"/v1/tasks/{task_id}").json
        assert (headers["Content-Type"], headers["Host"]) == ("application/json", "hooks.example.com:8443")
        assert "Authorization" not in headers
        assert b"sk-a" not in body
        assert [row["outcome"] for row in server.attempt_rows()] == ["2xx"]
        settled = next(row for row in server.ledger_rows() if row["event"] == "settled")
        assert settled["at"] <= server.attempt_rows()[0]["sent"]


def test_callbacks_are_retried_after_each_failure_and_then_given_up(
    receiver: tuple[Receiver, dict[str, Any]],
) -> None:
    """A redirect, a cut body, a 500 and a lone interim answer all fail; gaps count from the end of each failure."""
    hook, options = receiver
    hook.script += [
        answer_of(302, "Location: https://hooks.example.com/elsewhere"),
        answer_of(200, body=b"0123456789")[:-3],
        answer_of(500),
        answer_of(103),
    ]
    with StandIn(**options, tags=True) as server:
        task_id = create(server, callback_url="https://hooks.example.com/", prompt="[[failed]]").json["id"]
        rows = until(server, lambda: rows if len(rows := server.attempt_rows()) == 4 else None)
        assert [row["status"] for row in rows] == [302, None, 500, None]
        for before, after, gap in zip(rows, rows[1:], (0.1, 0.2, 0.4), strict=False):
            assert gap <= after["sent"] - before["ended"] < gap + 1
        threading.Event().wait(0.3)
        assert len(hook.got) == 4
        assert len({body for _, _, body in hook.got}) == 1
        assert finished(server, task_id)["status"] == "failed"
        assert server.balance("sk-a") == 1_000_000


@pytest.mark.parametrize("success", [answer_of(299), answer_of(204), answer_of(103) + answer_of(201, body=b"ok")])
def test_any_2xx_is_success(receiver: tuple[Receiver, dict[str, Any]], success: bytes) -> None:
    """Every 2xx ends the delivery, also behind an interim answer."""
    hook, options = receiver
    hook.script += [answer_of(400), success]
    with StandIn(**options) as server:
        create(server, callback_url="https://hooks.example.com/")
        rows = until(server, lambda: rows if len(rows := server.attempt_rows()) == 2 else None)
        assert [row["outcome"] for row in rows] == ["status", "2xx"]


def test_a_trickling_receiver_is_timed_out(receiver: tuple[Receiver, dict[str, Any]]) -> None:
    """The timeout is for the whole attempt: an answer that never ends does not stretch it."""
    hook, options = receiver
    hook.script.append([answer_of(200, body=b"." * 40)[:-40], *[b"."] * 40])
    with StandIn(**options | {"callback_timeout": 0.3, "retry_gaps": ()}) as server:
        create(server, callback_url="https://hooks.example.com/")
        [row] = until(server, server.attempt_rows)
        assert row["outcome"] == "timeout"
        assert 0.3 <= row["ended"] - row["sent"] < 1.5


def test_certificates_and_rebinding(receiver: tuple[Receiver, dict[str, Any]]) -> None:
    """An unknown authority is a failure, and a name that turned internal is never connected to."""
    hook, options = receiver
    with StandIn(**options | {"ca_file": None, "retry_gaps": ()}) as server:
        create(server, callback_url="https://hooks.example.com/")
        assert until(server, server.attempt_rows)[0]["outcome"] == "tls"
    answers = iter([["93.184.216.34"]])
    rebinding = {"resolve": None, "retry_gaps": (), "lookup": lambda _host: next(answers, ["127.0.0.1"])}
    with StandIn(**options | rebinding) as server:
        create(server, callback_url=f"https://hooks.example.com:{hook.port}/")
        assert until(server, server.attempt_rows)[0]["outcome"] == "blocked"
        assert create(server, callback_url="https://hooks.example.com/").error[2] == "callback_url"
    assert hook.got == []


def test_liberties_change_what_they_say_and_nothing_else() -> None:
    """Extra fields, no can_cancel, refused unknown fields and jumps of progress are each visible and correct."""
    with StandIn(queue=0.05, run=0.4, extra_fields=True, no_cancel_field=True, refuse_unknown=True) as server:
        task = create(server).json
        assert task["x_region"] == "eu-1"
        assert "can_cancel" not in task["task_info"]
        assert create(server, never_heard_of=1).error == (400, "invalid_request", "never_heard_of")
    with StandIn(queue=0.05, run=0.4, jumpy_progress=True) as server:
        task_id = create(server).json["id"]
        seen: list[int] = []
        for _ in range(LOOKS):
            seen.append(call(server, "GET", f"/v1/tasks/{task_id}").json["progress"])
            if seen[-1] == 100:
                break
        assert seen == sorted(seen)
        assert seen[-1] == 100
        assert set(seen) <= {0, 2, 40, 41, 96, 100}


def test_slow_answers_wait() -> None:
    """--slow holds each answer back and changes nothing else."""
    with StandIn(slow=0.3, **FAST) as server, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(create, server)
        threading.Event().wait(0.15)
        assert not waiting.done()
        assert waiting.result().status == 200


def test_the_command_line_over_tls(tmp_path: Path) -> None:
    """`python standin.py` prints where it is ready, serves HTTPS, keeps the ledger, stops on SIGTERM."""
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    pair.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    script = str(Path(__file__).with_name("standin.py"))
    options = ["--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem", "--ledger", tmp_path / "l.jsonl"]
    more = ["--keys", "sk-x,sk-y", "--credits", "10", "--resolve", "hooks.example.com=127.0.0.1:9", "--slow", "0"]
    process = subprocess.Popen([sys.executable, script, *map(str, options), *more], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        word, url = process.stdout.readline().split()
        assert (word, url[:8]) == ("ready", "https://")
        address = urlsplit(url)
        connection = HTTPSConnection(address.hostname or "", address.port, timeout=10, context=context)
        body = json.dumps({"model": "kling-v3-turbo-image-to-video", "image_start": IMAGE})
        connection.request("POST", CREATE, body, {"Authorization": "Bearer sk-y", "Content-Type": "application/json"})
        assert connection.getresponse().status == 402
        connection.close()
    finally:
        process.terminate()
        code = process.wait(timeout=10)
        process.stdout.close()
    assert code == 0
    assert json.loads((tmp_path / "l.jsonl").read_text())["key"] == "sk-y"
    bad = subprocess.run([sys.executable, script, "--expired-status", "200"], capture_output=True, check=False)
    assert bad.returncode == 2
