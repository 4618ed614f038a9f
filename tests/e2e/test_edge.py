"""The server under load and abuse: who waits stops nobody, what is refused is not kept, what is large is streamed."""

import re
import resource
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import requests

import kling_openapi
from kling_mock.serving.process import Running

pytestmark = pytest.mark.e2e

MODEL = kling_openapi.service()["components"]["schemas"]["Model"]["const"]
CREATE = "/v1/videos/generations"
KEY = {"Authorization": "Bearer sk-edge"}
MIB = 1 << 20


@pytest.fixture(scope="module")
def fake() -> Iterator[Running]:
    """A fake whose clock only the tests move."""
    with Running(["--clock", "manual"]) as running:
        yield running


def call(fake: Running, method: str, path: str, **more: Any) -> requests.Response:
    """One call with the key."""
    return requests.request(method, fake.url + path, **{"headers": KEY, "timeout": 60, **more})


def create(fake: Running) -> str:
    """The id of a new task."""
    body = {"model": MODEL, "image_start": "https://image.test/640x480.png"}
    return str(call(fake, "POST", CREATE, json=body).json()["id"])


def dial(fake: Running, text: str) -> socket.socket:
    """A connection on which *text* has been sent."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(fake.url).port), timeout=60)
    connection.sendall(text.replace("\n", "\r\n").encode())
    return connection


def said(connection: socket.socket) -> str:
    """What came back, to the end of it or to the end of its head."""
    with connection:
        return connection.recv(65536).decode()


def memory(fake: Running, what: str = "VmHWM") -> int:
    """MiB that the server has used at most, or uses now (VmRSS)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{fake.pid}/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) // 1024


def test_who_waits_stops_nobody(fake: Running) -> None:
    """150 clients wait; health, credits and clock respond, and one advance ends all waits."""
    task_id = create(fake)
    met: list[Any] = []

    def wait() -> None:
        met.append(call(fake, "GET", f"/__mock/wait?task_id={task_id}&timeout=60").json()["met"])

    waiting = [threading.Thread(target=wait) for _ in range(150)]
    for one in waiting:
        one.start()
    for path in ("/__mock/health", "/v1/credits", "/__mock/clock", f"/v1/tasks/{task_id}"):
        assert call(fake, "GET", path).status_code == 200
    assert not met
    assert call(fake, "POST", "/__mock/clock/advance", json={"seconds": 86400}).status_code == 200
    for one in waiting:
        one.join()

    assert met == [True] * 150


def test_who_hangs_up_frees_its_place(fake: Running) -> None:
    """Two hundred that gave up, and then one that is served at once; its time is up in the order of things."""
    task_id = create(fake)
    for _ in range(200):
        head = f"GET /__mock/wait?task_id={task_id}&timeout=60 HTTP/1.1\nHost: localhost\n\n"
        dial(fake, head).close()

    assert call(fake, "GET", f"/__mock/wait?task_id={task_id}&timeout=0").status_code == 408
    assert call(fake, "GET", f"/__mock/wait?task_id={task_id}&until=never").status_code == 400
    assert call(fake, "GET", "/__mock/wait?task_id=none").status_code == 404
    assert call(fake, "GET", f"/__mock/wait?task_id={task_id}", headers={"Host": "evil.example"}).status_code == 403


REFUSED = {
    "no key": (CREATE, {}, 401),
    "no key, files": ("/api/v1/files/upload/stream", {}, 401),
    "no route": ("/v1/nothing", KEY, 404),
    "no method": ("/v1/credits", KEY, 405),
    "too long": (CREATE, KEY, 413),
    "control": ("/__mock/scenarios/next", {}, 400),
    "foreign control": ("/__mock/reset", {"Origin": "https://evil.example"}, 403),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("why", REFUSED)
def test_what_is_refused_is_not_kept(fake: Running, why: str, chunked: bool) -> None:
    """50 MB that no route looks at leave no trace in memory, and the client sees why."""
    path, headers, status = REFUSED[why]
    before = memory(fake)
    data = iter([b"x" * MIB] * 50) if chunked else b"x" * (50 * MIB)

    response = call(fake, "POST", path, headers=headers, data=data)

    assert response.status_code == status
    assert memory(fake) - before < 25


def test_a_body_that_ends_early_is_a_400(fake: Running) -> None:
    """The client has closed its half of the connection in the middle of it."""
    connection = dial(
        fake, f"POST {CREATE} HTTP/1.1\nHost: x\nAuthorization: Bearer sk-edge\nContent-Length: 100\n\n{{}}"
    )
    connection.shutdown(socket.SHUT_WR)

    answer = said(connection)

    assert answer.startswith("HTTP/1.1 400 ")
    assert "the body ended before its Content-Length" in answer


def test_a_client_that_closes_its_side_gets_its_response(fake: Running) -> None:
    """Behind a whole request: it may still read."""
    body = '{"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x480.png"}'
    key = {"Authorization": "Bearer sk-half-closed"}
    connection = dial(
        fake,
        f"POST {CREATE} HTTP/1.1\nHost: x\nAuthorization: Bearer sk-half-closed\nContent-Length: {len(body)}\n\n{body}",
    )
    connection.shutdown(socket.SHUT_WR)

    assert said(connection).startswith("HTTP/1.1 200 ")
    assert len(call(fake, "GET", "/__mock/tasks", headers=key).json()["tasks"]) == 1


@pytest.mark.parametrize("line", [f"POST /{CREATE}", "GET //[", f"GET /{CREATE}", "GET //__mock/health", "GET ///"])
def test_an_empty_segment_is_no_route(fake: Running, line: str) -> None:
    """404, in the service's words, and no task is made; the journal can still be saved as HAR."""
    before = len(call(fake, "GET", "/__mock/tasks").json()["tasks"])

    answer = said(dial(fake, f"{line} HTTP/1.1\nHost: x\nAuthorization: Bearer sk-edge\nContent-Length: 2\n\n{{}}"))

    assert answer.startswith("HTTP/1.1 404 ")
    assert f"Invalid URL ({line})" in answer
    assert len(call(fake, "GET", "/__mock/tasks").json()["tasks"]) == before
    assert call(fake, "GET", "/__mock/journal.har").status_code == 200


def test_files_are_streamed(fake: Running) -> None:
    """Fifteen clients that do not read a file of 60 MB cost next to nothing; ranges and HEAD are what they are."""
    asked = {"file_url": f"https://image.test/1280x720.jpg?bytes={60 * MIB}"}
    url = call(fake, "POST", "/api/v1/files/upload/url", json=asked).json()["data"]["file_url"]
    path = urlsplit(url).path
    part = requests.get(url, headers={"Range": "bytes=6-9"}, timeout=60)
    before = memory(fake, "VmRSS")
    unread = [dial(fake, f"GET {path} HTTP/1.1\nHost: x\n\n") for _ in range(15)]
    assert call(fake, "GET", "/__mock/health").status_code == 200

    assert memory(fake, "VmRSS") - before < 60
    for one in unread:
        one.close()
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"JFIF", f"bytes 6-9/{60 * MIB}")
    assert requests.head(url, timeout=60).headers["content-length"] == str(60 * MIB)
    assert len(requests.get(url, timeout=60).content) == 60 * MIB


def test_idle_connections_stop_no_new_ones(fake: Running) -> None:
    """Far more than a thousand of them, on each of which something was begun or nothing at all."""
    mine, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
    idle = [dial(fake, "") for _ in range(1200)] + [dial(fake, "POST / HTTP/1.1\nHost: x\n") for _ in range(300)]
    try:
        assert call(fake, "GET", "/__mock/health").status_code == 200
        assert create(fake)
        limits = Path(f"/proc/{fake.pid}/limits").read_text(encoding="utf-8")
        soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()  # type: ignore[union-attr]
        assert int(soft) == min(int(hard), 65_536)
    finally:
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (mine, most))


class Counting(BaseHTTPRequestHandler):
    """Reads a callback to its end and keeps its length and its two ends."""

    taken: ClassVar[list[tuple[int, bytes, bytes]]] = []

    def do_POST(self) -> None:
        """Take one callback."""
        length, size, start, end = int(self.headers["Content-Length"]), 0, b"", b""
        while size < length:
            piece = self.rfile.read(min(MIB, length - size))
            start, end, size = start or piece[:10], piece[-10:], size + len(piece)
        self.taken.append((size, start, end))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_huge_callbacks_are_streamed(fake: Running) -> None:
    """Eight at once of 64 MiB each: every one arrives whole, and none is ever held."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        relay = {"https://hooks.example.com": f"http://127.0.0.1:{receiver.server_address[1]}"}
        assert call(fake, "PUT", "/__mock/relays", json=relay).status_code == 200
        body = {"model": MODEL, "image_start": "https://image.test/640x480.png"}
        for number in range(8):
            asked = {**body, "callback_url": f"https://hooks.example.com/{number}"}
            choice = {**KEY, "X-Mock-Scenario": f"callback-huge bytes={64 * MIB}"}
            assert call(fake, "POST", CREATE, json=asked, headers=choice).status_code == 200
        before = memory(fake)
        fired = call(fake, "POST", "/__mock/clock/advance", json={"seconds": 86400}).json()["fired"]
        receiver.shutdown()

    assert memory(fake) - before < 25
    assert [one["outcome"] for one in fired if one["kind"] == "attempt"] == ["2xx"] * 8
    assert [(start[:2], end) for _, start, end in Counting.taken] == [(b'{"', b'........"}')] * 8
    assert all(64 * MIB < size < 64 * MIB + 4096 for size, _, _ in Counting.taken)
    attempts = [one for one in call(fake, "GET", "/__mock/journal").json()["entries"] if one["kind"] == "attempt"]
    assert sorted(one["request_body_bytes"] for one in attempts[-8:]) == sorted(size for size, _, _ in Counting.taken)
