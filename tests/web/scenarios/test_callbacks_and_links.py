"""What happens to callbacks and to result links: each scenario seen on the wire."""

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

AT_ONCE = "pending=0 processing=0"


@pytest.mark.scenario("callback-twice", "callback-out-of-order", "callback-unknown-id")
@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("callback-twice", {}, {}),
        ("callback-out-of-order", {}, {"status": "processing", "progress": 50}),
        ("callback-unknown-id", {"id": "task-unified-1-unknown0"}, {}),
    ],
)
def test_another_callback_comes(
    account: Any, receiver: Any, name: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Two are sent, in order; what is wrong with one is wrong in it alone."""
    client = account(f"{name} gap=300ms {AT_ONCE}" + (" id=task-unified-1-unknown0" if "id" in first else ""))
    shown, taken = client.called_back(receiver, 2)
    assert [json.loads(body)["id"] == shown["id"] for _, body in taken] == ["id" not in first, True]
    for (_, body), changed in zip(taken, (first, second), strict=True):
        told = json.loads(body)
        assert told["status"] == changed.get("status", "completed")
        assert ("results" in told) == ("status" not in changed)
    assert [fault is None for fault in client.faults("attempt")] == [not first, False]
    assert all(fault is None or fault.startswith("callback ") for fault in client.faults("attempt"))


@pytest.mark.scenario("callback-late")
def test_the_callback_is_late(account: Any, receiver: Any) -> None:
    """Not when the task ends, but so long after."""
    client = account("callback-late after=45s queued=1s runs=1s")
    client.control("PUT", "/clock", {"mode": "manual"})
    client.task(callback_url=receiver.url)
    fired = client.control("POST", "/clock/advance", {"seconds": 46})["fired"]
    assert [one["kind"] for one in fired] == ["status", "status"]
    ended = fired[-1]["at"]
    (attempt,) = client.control("POST", "/clock/advance", {"seconds": 1})["fired"]
    assert (attempt["kind"], attempt["at"] - ended) == ("attempt", pytest.approx(45))
    assert (len(receiver.taken), client.faults("attempt")) == (1, ["callback late"])


@pytest.mark.scenario("callback-before-reply")
@pytest.mark.parametrize("mode", ["real", "manual"])
def test_the_callback_comes_before_the_reply(account: Any, receiver: Any, mode: str) -> None:
    """When the create is answered, the receiver has been called, and has answered."""
    client = account("callback-before-reply")
    client.control("PUT", "/clock", {"mode": mode})
    made = client.create(fields={"callback_url": receiver.url}).json
    assert [json.loads(body)["id"] for _, body in receiver.taken] == [made["id"]]
    assert (made["status"], client.faults("attempt")) == ("pending", ["callback before reply"])


@pytest.mark.scenario("callback-never")
def test_no_callback_comes(account: Any, receiver: Any) -> None:
    """The task ends, and nothing is owed."""
    client = account(f"callback-never {AT_ONCE}")
    shown, taken = client.called_back(receiver, 1)
    assert (shown["status"], taken) == ("completed", [])
    assert client.control("GET", "/deliveries")["deliveries"] == []


@pytest.mark.scenario("callback-contradicts", "callback-forged")
@pytest.mark.parametrize(
    ("name", "shows", "tells"),
    [("callback-contradicts", "completed", "failed"), ("callback-forged", "failed", "completed")],
)
def test_the_callback_contradicts_the_query(account: Any, receiver: Any, name: str, shows: str, tells: str) -> None:
    """One says completed, the other failed, each in a whole task object."""
    client = account(f"{name} {AT_ONCE}")
    shown, ((_, body),) = client.called_back(receiver, 1)
    told = json.loads(body)
    assert (shown["status"], told["status"]) == (shows, tells)
    assert told["id"] == shown["id"]
    assert (told.get("results"), "error" in told) == (
        (["https://elsewhere.test/video.mp4"], False) if tells == "completed" else (None, True)
    )
    assert client.faults("attempt")[0].startswith("callback edit status")


@pytest.mark.scenario("callback-wrong-type", "callback-not-json", "callback-huge")
def test_the_callback_is_no_task(account: Any, receiver: Any) -> None:
    """Text by its type, a page by its body, or far too many bytes."""
    for choice, kind, fault in (
        ("callback-wrong-type", "text/plain", "callback content type"),
        ("callback-not-json", "application/json", "callback body"),
        ("callback-huge bytes=1500000", "application/json", "callback padding"),
    ):
        client = account(f"{choice} {AT_ONCE}")
        client.called_back(receiver, 1)
        seen, body = receiver.taken.pop()
        assert (seen, client.faults("attempt")) == (kind, [fault])
        assert body.startswith(b"<html>") == ("not-json" in choice)
        assert (len(body) > 1_500_000) == ("huge" in choice)


# Links


@pytest.mark.scenario("link-early-expiry")
def test_the_link_dies_early(account: Any) -> None:
    """It opens up to its end, and not from then on."""
    client = account(f"link-early-expiry lifetime=30s {AT_ONCE}")
    client.control("PUT", "/clock", {"mode": "manual"})
    link = client.link()
    client.control("POST", "/clock/advance", {"seconds": 29})
    assert client.call("GET", link).end == "whole"
    client.control("POST", "/clock/advance", {"seconds": 1})
    assert client.call("GET", link).status == 403


@pytest.mark.scenario("link-refused", "link-cut", "link-slow", "link-error-page")
def test_the_first_download_goes_wrong(account: Any) -> None:
    """Each in its way; the next one is the video."""
    for choice, fault in (
        ("link-refused status=410", "answer 410"),
        ("link-cut share=0.25", "short"),
        ("link-slow lasts=400ms times=1", "drip"),
        ("link-error-page times=1", "answer 200"),
    ):
        client = account(f"{choice} {AT_ONCE}")
        link = client.link()
        bad, good = client.call("GET", link), client.call("GET", link)
        assert (good.end, good.status, good.headers["content-type"]) == ("whole", 200, "video/mp4")
        assert client.faults("download") == [fault, None]
        name = choice.split()[0]
        if name == "link-refused":
            assert (bad.status, b"<Code>Gone</Code>" in bad.body) == (410, True)
        elif name == "link-cut":
            assert (bad.end, bad.body) == ("eof", good.body[: len(good.body) // 4])
        elif name == "link-slow":
            assert (bad.body == good.body, bad.seconds > 0.4) == (True, True)
        else:
            assert (bad.status, bad.headers["content-type"], bad.body[:6]) == (200, "text/html", b"<html>")


def test_a_cut_download_can_be_resumed(account: Any) -> None:
    """The rest by its range, cut or whole."""
    client = account(f"link-cut times=2 {AT_ONCE}")
    link = client.link()
    first = client.call("GET", link)
    second = client.call("GET", link, range=f"bytes={len(first.body)}-")
    rest = client.call("GET", link, range=f"bytes={len(first.body) + len(second.body)}-")
    assert [(one.status, one.end) for one in (first, second, rest)] == [(200, "eof"), (206, "eof"), (206, "whole")]
    assert first.body + second.body + rest.body == client.call("GET", link).body


def take(connection: socket.socket, size: int) -> None:
    """Read *size* bytes, or fail where the connection ends before."""
    while size > 0:
        data = connection.recv(1 << 20)
        assert data, "the download ended"
        size -= len(data)


@pytest.mark.scenario("link-endless")
def test_the_download_never_ends(account: Any, fake_pid: int) -> None:
    """It begins as the video and goes on; a client that stops reading costs no memory, and one that goes away ends it."""
    client = account(f"link-endless times=1 {AT_ONCE}")
    link = client.link()
    place = urlsplit(client.url)
    with socket.create_connection((place.hostname, place.port), timeout=5) as connection:
        connection.sendall(f"GET {link} HTTP/1.1\r\nhost: fake\r\n\r\n".encode())
        # What the first bytes of all load and keep is no growth, whether or not a test before this one made the fake load it.
        take(connection, 5_000_000)
        before = memory(fake_pid)
        take(connection, 50_000_000)
        assert memory(fake_pid) - before < 20_000_000
        connections = open_connections(fake_pid)
    video = client.call("GET", link)
    assert video.end == "whole"
    for _ in range(100):
        if open_connections(fake_pid) < connections:
            break
        client.control("GET", "/health")
    else:
        pytest.fail("the download goes on without its client")


def memory(pid: int) -> int:
    """Bytes that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def open_connections(pid: int) -> int:
    """How many sockets a process has open."""
    found = 0
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            found += str(one.readlink()).startswith("socket:")
    return found
