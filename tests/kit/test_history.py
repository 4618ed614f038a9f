"""Events survive every file format, keys survive none, and foreign recordings are read as far as they go."""

import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tape import BODY, CONTRACT, CREATE, KEY, OTHER

from kling_common.masking import Mask
from kling_contract.history import har
from kling_contract.history.events import (
    BODY_CAP,
    Balance,
    Body,
    Callback,
    ClockMove,
    Download,
    Exchange,
    HistoryError,
    Message,
    Note,
    Recorder,
    Response,
    VideoFacts,
    body_of,
    events_in,
    from_json,
    jsonl,
    to_json,
)
from kling_contract.history.labels import Expect, ImageFacts, Probe, Receiver, When
from kling_contract.reading import recordings
from kling_contract.reading.view import View

texts = st.text(st.characters(codec="utf-8"), max_size=20)
seconds = st.floats(0, 4e9, allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, lambda v: st.lists(v, max_size=3)
)
headers = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
bodies = st.one_of(
    st.builds(Body, text=texts, size=st.integers(0, 99), sha256=texts, truncated=st.booleans()),
    st.binary(max_size=20).map(lambda data: body_of(b"\xff" + data, Mask(b"s"))),
)
messages = st.builds(Message, headers=headers, body=bodies)
answers = st.builds(Response, headers=headers, body=bodies, status=st.integers(100, 599))
images = st.builds(ImageFacts, width=st.integers(0, 9), format=texts, fault=texts, misnamed=st.booleans())
probes = st.builds(
    Probe, rules=st.lists(texts, max_size=2).map(tuple), expect=st.none() | st.sampled_from(Expect), value=values,
    expected=st.none() | st.integers(0, 9), receiver=st.none() | st.sampled_from(Receiver), image=st.none() | images,
)  # fmt: skip
common = {"at": seconds, "mono": seconds, "who": texts, "case": texts}
span = {"ended_at": seconds, "ended_mono": seconds}
urls = texts.map(lambda path: f"https://x.example.com/{path}")
events = st.one_of(
    st.builds(Exchange, **common, **span, method=texts, url=urls, request=messages, answer=st.none() | answers,
              lost=texts, probe=st.none() | probes),
    st.builds(Callback, **common, **span, method=texts, url=urls, request=messages, answer=st.none() | answers,
              ended=st.sampled_from(["answered", "cut", "gone"]), since=st.none() | seconds),
    st.builds(Download, **common, **span, url=urls, headers=headers, status=st.none() | st.integers(100, 599), sha256=texts,
              video=st.none() | st.builds(VideoFacts, duration=seconds, error=texts)),
    st.builds(ClockMove, **common, before=seconds, after=seconds, mode=st.sampled_from(["real", "scaled", "manual"])),
    st.builds(Balance, **common, remaining=seconds, used=st.none() | seconds, when=st.sampled_from(When), task_id=texts),
    st.builds(Note, **common, topic=texts, data=st.dictionaries(texts, values, max_size=3)),
)  # fmt: skip
told = st.lists(events, max_size=5).map(
    lambda found: [type(event)(**{**_members(event), "seq": number}) for number, event in enumerate(found, 1)]
)


def _members(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in type(event).__dataclass_fields__}


@given(told)
@settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_json_lines_round_trip(tmp_path: Path, history: list[Any]) -> None:
    """
    What is written as JSON Lines is read back equal, and as the same bytes.
    """
    path = tmp_path / "history.jsonl"
    path.write_bytes(jsonl(history))

    assert events_in(path.read_bytes(), str(path)) == history
    assert [from_json(to_json(event)) for event in history] == history


@given(told)
@settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_har_round_trip(tmp_path: Path, history: list[Any]) -> None:
    """
    What is written as HAR is read back equal: the underscore members carry what HAR has no place for.
    """
    path = tmp_path / "history.har"
    har.write_har(path, history)

    assert recordings.read(path) == history


def kept_with(key: str, before: int) -> bytes:
    """All that is kept of a history in which *key* stands in every place."""
    recorder = Recorder(keys=[key], salt=b"s")
    body = b"x" * (BODY_CAP - before) + key.encode() + b"y" * 50
    recorder.add(
        Exchange(
            method="GET",
            url=f"http://x/v1/tasks/1?k={key}",
            request=recorder.message([("authorization", f"Bearer {key}"), ("X", key)], body),
            answer=recorder.answer(200, [("Set-Cookie", key)], b"\xff\xfe" + key.encode()),
            probe=Probe(value={"key": key}),
        )
    )
    recorder.note("run", target=key)
    kept = b"".join(orjson.dumps(to_json(event)) for event in recorder.events)
    assert recorder.mask.token(key).encode() in kept
    return kept


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=12, max_size=40), st.integers(0, 200))
def test_key_is_never_kept(secret: str, before: int) -> None:
    """
    Wherever a key stands (header, URL, text, bytes, at the cap), what is kept holds its hash and not the key.
    """
    key = f"sk-{secret}"
    kept = kept_with(key, before)
    assume(secret.encode() not in kept_with("sk-another", before))  # "authorization" stands there anyway

    assert key.encode() not in kept
    assert secret.encode() not in kept


def test_recorder_keeps_order_between_threads() -> None:
    """
    Events of many threads get the numbers 1 to n, in the order of the file.
    """
    written: list[int] = []
    recorder = Recorder(salt=b"s", sink=lambda event: written.append(event.seq))

    def record() -> None:
        for _ in range(50):
            recorder.note("noise", seconds=0)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert written == [event.seq for event in recorder.events] == list(range(1, 201))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<html>", "1:"),
        (b'{"seq": 1}\n', "1:"),
        (b'{"seq":1,"kind":"exchange","method":"GET"}\n', "url"),
        (b'{"log": {"entries": [{}]}}', "request"),
        (b'{"entries": [{"request": {"method": "GET"}}]}', "at"),
        (b"\xff\x00", "1:"),
    ],
)
def test_bad_file_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    """
    A file that is no recording is refused in one line that names it and the place.
    """
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(HistoryError) as caught:
        recordings.read(path)

    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


TASK = {
    "id": "task-unified-1757169743-7cvnl5zw", "object": "video.generation.task", "created": 1757169743, "type": "video",
    "model": CONTRACT.model, "status": "completed", "progress": 100, "results": ["https://cdn.example.com/a.mp4"],
}  # fmt: skip


def _entry(method: str, url: str, second: int, sent: Any = None, got: Any = None) -> dict[str, Any]:
    authorization = [{"name": "Authorization", "value": f"Bearer {KEY}"}] if "evolink" in url else []
    posted = {"postData": {"mimeType": "application/json", "text": orjson.dumps(sent).decode()}} if sent else {}
    return {
        "startedDateTime": f"2026-11-22T10:00:{second:02d}.000Z",
        "time": 120.5,
        "request": {"method": method, "url": url, "headers": authorization, **posted},
        "response": {"status": 200, "headers": [], "content": {"size": 3, "text": orjson.dumps(got).decode()}},
    }


def test_foreign_har_is_recognised(tmp_path: Path) -> None:
    """
    In a browser's or proxy's HAR calls are known by path, callbacks by their body, downloads by their link.
    """
    api = "https://api.evolink.ai"
    entries = [
        _entry("GET", "https://cdn.example.com/a.mp4", 9),
        _entry("GET", "https://shop.example.com/style.css", 1),
        _entry("POST", api + CREATE, 2, BODY, {**TASK, "status": "pending", "progress": 0}),
        _entry("POST", "https://hooks.example.com/done", 5, TASK),
        _entry("GET", f"{api}/v1/tasks/{TASK['id']}", 6, None, TASK),
        _entry("POST", "https://log.example.com/", 7, {"status": "fine"}),
    ]
    path = tmp_path / "browser.har"
    path.write_bytes(orjson.dumps({"log": {"version": "1.2", "entries": entries}}))

    found = recordings.read(path)
    story = View(found, CONTRACT).tasks[TASK["id"]]

    assert [event.kind for event in found] == ["exchange", "callback", "exchange", "download"]
    assert found[0].who.startswith("key-")
    assert found[0].ended_mono - found[0].mono == pytest.approx(0.1205)
    assert (len(story.sightings), len(story.attempts), len(story.downloads)) == (3, 1, 1)
    assert recordings.read(path) == found


def test_journal_is_read(tmp_path: Path) -> None:
    """
    The fake's journal gives calls, attempts, downloads and clock moves; what is unknown is left out.
    """

    def call(kind: str, method: str, url: str, body: Any = None, got: Any = None) -> dict[str, Any]:
        request = {"method": method, "url": url, "headers": {"authorization": "Bearer [redacted]"}, "body": body}
        reply = {"status": 200, "headers": {"content-type": "application/json"}, "body": got}
        return {
            "seq": 1,
            "at": 100.0,
            "account": "a1",
            "kind": kind,
            "request": request,
            "response": reply,
            "seconds": 0.01,
        }

    entries = [
        call("exchange", "POST", "http://127.0.0.1:4010" + CREATE, BODY, {**TASK, "status": "pending"}),
        {"seq": 2, "at": 100.0, "account": "a1", "kind": "clock", "mode": "manual", "from": 100.0, "to": 160.0},
        {"seq": 3, "at": 100.0, "account": "a1", "kind": "mood", "of": "server"},
        call("attempt", "POST", "https://hooks.example.com/x", TASK) | {"at": 160.0},
        call("download", "GET", "http://127.0.0.1:4010/files/a.mp4", None, "[3 bytes]") | {"at": 161.0},
    ]
    path = tmp_path / "journal.json"
    path.write_bytes(orjson.dumps({"entries": entries, "next": 6}))

    found = recordings.read(path)

    assert [event.kind for event in found] == ["exchange", "clock", "callback", "download"]
    assert (found[1].before, found[1].after, found[1].mode) == (100.0, 160.0, "manual")
    assert found[0].who == Mask(b"").token(found[0].who) != ""


def har_with(*entries: tuple[str, list[tuple[str, str]], str]) -> dict[str, Any]:
    """A browser's HAR with these calls: URL, headers of the request, body of the response."""

    def entry(number: int, url: str, headers: list[tuple[str, str]], content: str) -> dict[str, Any]:
        pairs = [{"name": name, "value": value} for name, value in headers]
        request = {"method": "GET", "url": url, "headers": pairs}
        response = {"status": 200, "headers": [], "content": {"text": content, "size": len(content)}}
        return {
            "startedDateTime": f"2025-09-06T14:42:{number:02d}Z",
            "time": 1,
            "request": request,
            "response": response,
        }

    return {"log": {"version": "1.2", "entries": [entry(number, *one) for number, one in enumerate(entries)]}}


def test_har_keeps_no_secret(tmp_path: Path) -> None:
    """
    Nothing of a browser's recording is kept that has a secret's name, and a key that was echoed before it was sent is known.
    """
    key = "plain-cAnary-0123456789"
    path = tmp_path / "browser.har"
    log = har_with(
        ("https://x.example/v1/models", [("x", "1")], f'{{"seen": "{key} of somebody"}}'),
        (f"https://x.example/v1/tasks?access_token={key}1", [("Authorization", f"Bearer {key}")], "{}"),
        ("https://u:cAnary@x.example/v1/credits", [("X-Auth-Token", "cAnary"), ("X-Goog-Api-Key", "cAnary")], "{}"),
        ("https://x.example/v1/credits", [("Cookie", "a=cAnary; b=2"), ("Authorization", "KEY cAnary")], "{}"),
    )
    path.write_bytes(orjson.dumps(log))

    kept = b"".join(orjson.dumps(to_json(event)) for event in recordings.read(path))

    assert b"cAnary" not in kept
    assert kept.count(b"key-") >= 8


def test_accounts_keep_apart_after_masking() -> None:
    """
    Two keys have two tokens, one key has one, and another salt gives others.
    """
    mask = Mask(b"a", [KEY, OTHER])

    assert mask.token(KEY) != mask.token(OTHER)
    assert mask.text(f"{KEY} {OTHER}") == f"{mask.token(KEY)} {mask.token(OTHER)}"
    assert Mask(b"b").token(KEY) != mask.token(KEY)
    assert mask.text("task-unified-1757169743-7cvnl5zw") == "task-unified-1757169743-7cvnl5zw"
