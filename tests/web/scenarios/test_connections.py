"""What happens to connections, and answers that are not the contract's: each scenario seen on the wire."""

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kling_mock.contract import Contract
from kling_mock.serving.process import Running

BODY = {"model": Contract().model, "image_start": "https://image.test/320x320.png"}

AT_ONCE = "pending=0 processing=0"
RESET, SILENCE = ("reset", 0), ("silence", 0)


@pytest.mark.scenario("lost-reply")
def test_loses_the_reply(account: Any) -> None:
    """Reset without a byte, the task made; repeated with the same Idempotency-Key, the create answers that task."""
    client = account("lost-reply times=forever")
    same = {"idempotency-key": "0123456789abcdef"}
    assert client.create(**same).nothing == "reset"
    (task,) = client.tasks()
    again = client.create(**same)
    assert (again.json["id"], again.headers["idempotency-replayed"]) == (task["id"], "true")
    assert client.create().nothing == "reset"
    assert len(client.tasks()) == 2
    assert client.faults() == ["cut after", None, "cut after"]


@pytest.mark.scenario("connection-cut")
def test_is_cut(account: Any) -> None:
    """Reset without a byte: no task of a create, and a query can be repeated."""
    client = account("connection-cut")
    assert client.create().nothing == "reset"
    assert client.tasks() == []
    client = account("connection-cut on=query from=2")
    task = client.task()
    assert [client.query(task).end for _ in range(3)] == ["whole", "reset", "whole"]
    assert client.faults() == [None, None, "cut before", None]


@pytest.mark.scenario("silent")
def test_keeps_silent(account: Any) -> None:
    """Not a byte while the client waits; the task is made or not, as was asked for."""
    for point, made in (("before", 0), ("after", 1)):
        client = account(f"silent point={point}")
        assert client.create(timeout=0.3).nothing == "silence"
        assert len(client.tasks()) == made
        assert client.faults() == [f"silent {point}"]
    client = account("silent on=query")
    task = client.task()
    assert client.query(task, timeout=0.3).nothing == "silence"
    assert client.query(task).status == 200


@pytest.mark.scenario("cut-body")
def test_ends_early(account: Any) -> None:
    """Half of the length that was announced."""
    client = account("cut-body")
    answer = client.create()
    assert (answer.end, answer.status) == ("eof", 200)
    assert len(answer.body) == int(answer.headers["content-length"]) // 2
    assert (len(client.tasks()), client.faults()) == (1, ["short"])


@pytest.mark.scenario("slow-bytes")
def test_drips(account: Any) -> None:
    """Begun at once, not over before its time; shorter on a faster clock."""
    client = account("slow-bytes on=query lasts=600ms")
    task = client.task()
    slow, quick = client.query(task), client.query(task)
    assert (slow.end, slow.pieces > 5, slow.seconds > 0.6, quick.end) == ("whole", True, True, "whole")
    assert client.faults() == [None, "drip", None]
    client.control("PUT", "/clock", {"mode": "scaled", "rate": 100})
    assert client.query(client.task()).seconds < slow.seconds


@pytest.mark.scenario("redirect")
def test_sends_elsewhere(account: Any) -> None:
    """A redirect that nobody here answers; nothing was made."""
    client = account("redirect location=http://127.0.0.2:9/v1/x status=308")
    answer = client.create()
    assert (answer.status, answer.headers["location"], client.tasks()) == (308, "http://127.0.0.2:9/v1/x", [])
    assert account("redirect").create().headers["location"].startswith("https://elsewhere.test/")


@pytest.mark.scenario("not-json")
def test_talks_nonsense(account: Any) -> None:
    """It says JSON and is none."""
    client = account("not-json on=create")
    answer = client.create()
    assert (answer.status, answer.headers["content-type"], answer.end) == (200, "application/json", "whole")
    with pytest.raises(json.JSONDecodeError):
        answer.json  # noqa: B018 - reading it is what fails
    assert len(client.tasks()) == 1


@pytest.mark.scenario("unknown-field", "missing-optional")
@pytest.mark.parametrize("name", ["unknown-field", "missing-optional"])
def test_bends_every_task(account: Any, name: str, receiver: Any) -> None:
    """The create, the query and the callback alike."""
    client = account(f"{name} {AT_ONCE}")
    made = client.create(fields={"callback_url": receiver.url}).json
    shown = client.query(made["id"]).json
    client.control("GET", f"/wait?task_id={made['id']}&until=delivered")
    for body in (made, shown, json.loads(receiver.taken[0][1])):
        if name == "unknown-field":
            assert (body["stage"], body["task_info"]["gpu"]) == ("denoising", "A100")
        else:
            assert not {"task_info", "usage", "result_data"} & set(body)
    assert client.faults("attempt")[0].startswith("callback edit ")


@pytest.mark.scenario("unknown-status")
def test_has_a_fifth_status(account: Any) -> None:
    """For some looks while it runs; it ends all the same."""
    seen = account("unknown-status status=upscaling from=2 times=9 pending=1 processing=2").looks(4)
    assert [status for status, _ in seen] == ["pending", "upscaling", "upscaling", "completed"]


@pytest.mark.scenario("empty-results", "missing-results")
@pytest.mark.parametrize("name", ["empty-results", "missing-results"])
def test_has_nothing_to_show(account: Any, name: str) -> None:
    """Completed, and no video."""
    client = account(f"{name} {AT_ONCE}")
    body = client.query(client.task()).json
    assert (body["status"], body.get("results"), "result_data" in body) == (
        "completed", [] if name == "empty-results" else None, False,
    )  # fmt: skip


def test_a_silent_connection_is_freed_when_the_client_goes(account: Any, fake_pid: int) -> None:
    """Nothing of it stays open."""
    client = account("silent times=forever")
    client.control("GET", "/health")
    before = len(list(Path(f"/proc/{fake_pid}/fd").iterdir()))
    for _ in range(5):
        assert client.create(timeout=0.05).nothing == "silence"
    for _ in range(200):
        client.control("GET", "/health")
        if len(list(Path(f"/proc/{fake_pid}/fd").iterdir())) <= before:
            return
    pytest.fail("silent connections stay open")


def test_a_fault_hits_its_own_connection_only(account: Any) -> None:
    """A connection that is kept alive: a good answer, then the fault, while another goes on."""
    client = account("connection-cut on=query from=2 times=1")
    task = client.task()
    request = f"GET /v1/tasks/{task} HTTP/1.1\r\nhost: fake\r\nauthorization: Bearer {client.key}\r\n\r\n".encode()
    place = urlsplit(client.url)
    with (
        socket.create_connection((place.hostname, place.port), timeout=5) as kept,
        socket.create_connection((place.hostname, place.port), timeout=5) as other,
    ):
        kept.sendall(request)
        assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200")
        kept.sendall(request)
        with pytest.raises(ConnectionResetError):
            kept.recv(1)
        other.sendall(request)
        assert other.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_the_fake_stops_though_somebody_waits() -> None:
    """Silence does not keep a fake from ending."""
    with Running(["--scenario", "silent"]) as fake:
        place = urlsplit(fake.url)
        body = json.dumps(BODY).encode()
        head = f"POST /v1/videos/generations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-1\r\ncontent-length: {len(body)}\r\n\r\n"
        waiting = socket.create_connection((place.hostname, place.port), timeout=60)
        waiting.sendall(head.encode() + body)
    with waiting, pytest.raises(ConnectionResetError):
        waiting.recv(1)
