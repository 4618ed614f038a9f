"""The stand-in on the wire: it must be right before it may judge whether the kit is."""

import json
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPSConnection
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest
import trustme
from standin import StandIn
from standin_calls import CREATE, FAST, IMAGE, LOOKS, call, create, finished, until


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
