"""The journal: everything in order, within its bounds, and no key in it."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from kling_contract import Result, judge
from kling_mock.store.journal import Journal, as_har, as_json

KEY = "sk-very-secret-0123456789"
HOOK = "https://8.8.8.8/hook"
SCHEMAS = Path(__file__).parents[1] / "kit" / "har-schema"
"""The JSON schema of HAR 1.2 as published (npm har-schema 2.0.0, ISC)."""


def story(rig: Any) -> str:
    """A day in the life of an account; the id of its task."""
    task_id = str(rig.create(key=KEY, callback_url=HOOK, headers={"X-Api-Key": KEY, "Cookie": f"k={KEY}"}).json["id"])
    rig.query("nonsense", key=KEY)
    rig.call("GET", "/v1/nonsense", key=None, headers={"Authorization": KEY})
    rig.call("GET", "/v1/nonsense", key=None, headers={"Authorization": f"bearer  {KEY}"})
    rig.call("GET", "/v1/nonsense", key=None, headers={"Authorization": f"Bearer {KEY} "})
    rig.call("POST", "/v1/videos/generations", key=KEY, data=b"\xff\xfe", content_type="application/json")
    rig.receiver.script.append(500)
    rig.advance(200, key=KEY)
    body = rig.query(task_id, key=KEY).json
    rig.call("GET", body["results"][0].removeprefix("http://localhost"), key=KEY)
    return task_id


@pytest.mark.parametrize("path", ["/journal", "/journal.har", "/journal?since=2", "/tasks", "/deliveries"])
def test_no_key_is_shown_anywhere(rig: Any, path: str) -> None:
    """However a client sent it: searched for in the whole of the answer, with a key and without."""
    story(rig)

    for key in (KEY, None):
        assert KEY not in rig.call("GET", f"/__mock{path}", key=key).text
        assert KEY.partition("-")[2] not in rig.call("GET", f"/__mock{path}", key=key).text


def test_everything_is_told_in_order(rig: Any) -> None:
    """Exchanges, attempts, downloads and moves of the clock, each with its number."""
    task_id = story(rig)
    entries = rig.control("GET", "/journal", key=KEY)["entries"]

    assert [one["seq"] for one in entries] == sorted(one["seq"] for one in entries)
    assert {one["kind"] for one in entries} == {"exchange", "attempt", "clock", "download"}
    assert [one["outcome"] for one in entries if one["kind"] == "attempt"] == ["status", "2xx"]
    create = entries[0]
    assert (create["request"]["method"], create["response"]["status"], create["task_id"]) == ("POST", 200, task_id)
    assert create["request"]["body"]["callback_url"] == HOOK
    assert create["request"]["headers"]["authorization"] == f"Bearer key-{create['account'][:8]}"
    assert create["scenario"] == "completed"


def test_an_attempt_is_told_with_what_was_sent(rig: Any) -> None:
    """The body that the receiver got, and how it answered."""
    story(rig)
    first, second = (one for one in rig.control("GET", "/journal", key=KEY)["entries"] if one["kind"] == "attempt")

    assert first["request"]["body"] == second["request"]["body"] == rig.receiver.calls[0].body
    assert (first["response"]["status"], second["response"]["status"]) == (500, 204)
    assert (first["attempt"], second["attempt"]) == (1, 2)


def test_accounts_read_their_own(rig: Any) -> None:
    """With a key; without one everything, what no account did included."""
    rig.create(key="sk-a")
    rig.create(key="sk-b")
    rig.call("GET", "/v1/nonsense", key=None)

    own = rig.control("GET", "/journal", key="sk-a")["entries"]
    everything = rig.control("GET", "/journal")["entries"]
    assert len(own) == 1
    assert {one["account"] for one in own} == {rig.account("sk-a").name}
    assert len(everything) == 3
    assert [one["account"] for one in everything][2] is None


def test_it_can_be_read_on_from_where_one_was(rig: Any) -> None:
    """`next` of one answer is `since` of the next call; nothing twice, nothing left out."""
    for _ in range(7):
        rig.query("nonsense")
    seen, since = [], 0
    for _ in range(5):
        answer = rig.control("GET", f"/journal?since={since}&limit=3")
        seen += [one["seq"] for one in answer["entries"]]
        since = answer["next"]

    assert seen == list(range(1, 8))
    rig.query("nonsense")
    assert [one["seq"] for one in rig.control("GET", f"/journal?since={since}")["entries"]] == [8]


def test_it_holds_so_many_entries(make: Callable[..., Any]) -> None:
    """The oldest make room."""
    rig = make(journal=5)
    for _ in range(12):
        rig.query("nonsense")

    assert [one["seq"] for one in rig.control("GET", "/journal")["entries"]] == [8, 9, 10, 11, 12]


@given(sizes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=60))
def test_it_holds_so_many_bytes(sizes: list[tuple[int, int]]) -> None:
    """Bodies are cut at their bound and their true length is told; all together stay within theirs."""
    journal = Journal(entries=20, body=100, total=1000)
    for asked, answered in sizes:
        journal.add(0.0, None, "exchange", method="GET", url="/", request_body=b"a" * asked, body=b"b" * answered)
        kept = journal.entries()
        assert len(kept) <= 20
        assert sum(len(one.request_body) + len(one.body) for one in kept) <= 1000
        assert all(len(one.body) <= 100 and len(one.request_body) <= 100 for one in kept)

    for entry, (asked, answered) in zip(reversed(journal.entries()), reversed(sizes), strict=False):
        assert entry.more.get("body_bytes", len(entry.body)) == answered
        assert entry.more.get("request_body_bytes", len(entry.request_body)) == asked
    assert [one.seq for one in journal.entries()] == list(
        range(len(sizes) - len(journal.entries()) + 1, len(sizes) + 1)
    )


@given(body=st.binary(max_size=200), url=st.text(max_size=50), at=st.floats(0, 4e9))
def test_whatever_was_sent_can_be_shown(body: bytes, url: str, at: float) -> None:
    """Bytes that are no text, paths that are no URLs: JSON and HAR hold them all."""
    journal = Journal()
    entry = journal.add(at, None, "exchange", method="POST", url=url, request_body=body, body=body, status=200)

    orjson.dumps(as_json(entry))
    json.dumps(as_har([entry], creator="test", version="0", origin="http://fake"))


def validator() -> Draft202012Validator:
    """The published JSON schema of HAR 1.2, whose parts name each other by file; dates with an offset of Z are dates."""
    parts = {file.stem: json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")}
    text = json.dumps(parts["har"])
    definitions = {name: json.loads(json.dumps(part)) for name, part in parts.items()}
    whole = json.dumps({**json.loads(text), "$defs": definitions})
    for name in parts:
        whole = whole.replace(f'"{name}.json#"', f'"#/$defs/{name}"')
    document = json.loads(whole)
    for part in (document, *document["$defs"].values()):
        part.pop("$id", None)
        part.pop("$schema", None)
    return Draft202012Validator(document)


def test_the_har_keeps_to_the_published_schema(rig: Any) -> None:
    """Absolute URLs, bodies as text, and whatever else HAR 1.2 asks for; a body that is no text breaks nothing."""
    story(rig)
    document = rig.control("GET", "/journal.har", key=KEY)

    assert [error.message for error in validator().iter_errors(document)] == []
    for entry in document["log"]["entries"]:
        assert urlsplit(entry["request"]["url"]).netloc
        assert isinstance(entry["request"].get("postData", {}).get("text", ""), str)
    broken = json.loads(json.dumps(document))
    broken["log"]["entries"][0]["request"]["url"] = 7
    assert not validator().is_valid(broken)


def test_a_download_is_told_as_it_went_out(rig: Any) -> None:
    """A range, a range that is not there, and the whole: status and bytes are those of the wire."""
    task_id = rig.task("instant")
    path = urlsplit(rig.shown(task_id)["results"][0])._replace(scheme="", netloc="").geturl()
    for asked in (None, "bytes=0-99", "bytes=999999999-"):
        rig.call("GET", path, key=None, headers={"Range": asked} if asked else {}, bent=True)
    entries = [one for one in rig.control("GET", "/journal.har")["log"]["entries"] if one["_kind"] == "download"]
    assert [one["response"]["status"] for one in entries] == [200, 206, 416]
    assert [one["response"]["bodySize"] for one in entries][1:] == [100, 0]
    assert all(one["request"]["url"].startswith("http://") for one in entries)


def test_what_the_fake_wrote_is_judged_and_holds(rig: Any, tmp_path: Path) -> None:
    """A manual clock, retries, a resend, a replay, a link that is read again after its end: no rule is broken, in either form."""
    headers = {"Idempotency-Key": "a" * 16}
    rig.receiver.script += [503] * 4
    task_id = rig.create(callback_url=HOOK, headers=headers).json["id"]
    other = rig.create(callback_url=f"{HOOK}/other").json["id"]
    rig.shown(task_id)
    rig.shown(other)
    rig.advance(60)
    rig.create(callback_url=HOOK, headers=headers)
    rig.advance(400)
    path = urlsplit(rig.shown(task_id)["results"][0])._replace(scheme="", netloc="").geturl()
    delivery = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"][0]["id"]
    rig.control("POST", f"/deliveries/{delivery}/resend")
    rig.call("GET", path, key=None, bent=True)
    rig.advance(90_000)
    rig.call("GET", path, key=None, bent=True)
    rig.shown(task_id)
    rig.create(image_start="https://image.test/10x10.png")
    for name in ("journal", "journal.har"):
        file = tmp_path / name
        file.write_text(json.dumps(rig.control("GET", f"/{name}")))
        run = judge(file)
        assert [(one.rule.id, one.seen) for one in run.having(Result.FAIL, Result.WARN, Result.KIT_ERROR)] == []
        held = {one.rule.id for one in run.having(Result.PASS)}
        assert {"SC-08", "SC-09", "SW-10", "CP-07", "SK-05"} <= held


def test_the_har_is_a_har(rig: Any) -> None:
    """Every member that HAR 1.2 requires, of its kind; what it has no place for begins with an underscore."""
    story(rig)
    log = rig.control("GET", "/journal.har", key=KEY)["log"]

    assert log["version"] == "1.2"
    assert {"name", "version"} <= set(log["creator"])
    assert len(log["entries"]) == len(
        [one for one in rig.control("GET", "/journal", key=KEY)["entries"] if "request" in one]
    )
    for entry in log["entries"]:
        har_entry(entry)


REQUEST = {
    "method": str,
    "url": str,
    "httpVersion": str,
    "cookies": list,
    "headers": list,
    "queryString": list,
    "headersSize": int,
    "bodySize": int,
}
RESPONSE = {
    "status": int,
    "statusText": str,
    "httpVersion": str,
    "cookies": list,
    "headers": list,
    "content": dict,
    "redirectURL": str,
    "headersSize": int,
    "bodySize": int,
}


def har_entry(entry: dict[str, Any]) -> None:
    """Fail where the entry is not one of HAR 1.2."""
    assert datetime.fromisoformat(entry["startedDateTime"]).utcoffset() is not None
    assert entry["time"] >= 0
    assert {"send", "wait", "receive"} <= set(entry["timings"])
    assert entry["cache"] == {}
    for part, members in (("request", REQUEST), ("response", RESPONSE)):
        for name, kind in members.items():
            assert isinstance(entry[part][name], kind), (part, name)
        assert {one["name"] for one in entry[part]["headers"]} == {
            one["name"].lower() for one in entry[part]["headers"]
        }
        assert all(isinstance(one["value"], str) for one in entry[part]["headers"])
    assert isinstance(entry["response"]["content"]["size"], int)
    assert isinstance(entry["response"]["content"]["mimeType"], str)
    assert {"postData"} >= set(entry["request"]) - set(REQUEST)
    allowed = {"startedDateTime", "time", "request", "response", "cache", "timings"}
    assert all(name.startswith("_") for name in set(entry) - allowed)


def test_a_reset_empties_it_and_numbers_go_on(rig: Any) -> None:
    """A reader that remembers where it was misses nothing."""
    rig.query("nonsense")
    rig.control("POST", "/reset")
    rig.query("nonsense")

    assert [one["seq"] for one in rig.control("GET", "/journal")["entries"]] == [2]
