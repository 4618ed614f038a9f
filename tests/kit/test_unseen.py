"""What a recording does not hold is not judged: no verdict about bodies, headers, keys or calls that nobody recorded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from tape import BODY

from kling_contract import Result, Run, judge

BASE = "https://api.example.com"
CREATE = f"{BASE}/v1/videos/generations"
TASK = "task-unified-1757169743-7cvnl5zw"
READ = f"{BASE}/v1/tasks/{TASK}"
BROKEN = (Result.FAIL, Result.WARN, Result.KIT_ERROR, Result.UNTESTABLE)
Entry = dict[str, Any]


def task(**members: Any) -> dict[str, Any]:
    """A task as it was created."""
    return {
        "created": 1757169743, "id": TASK, "model": BODY["model"], "object": "video.generation.task", "progress": 0,
        "status": "pending", "type": "video", "task_info": {"video_duration": 5}, "usage": {"credits_reserved": 36}, **members,
    }  # fmt: skip


def entry(
    method: str, url: str, sent: Any = None, got: Any = None, status: int = 200, at: int = 0, keyed: bool = True
) -> Entry:
    """An entry of a browser's HAR."""
    headers = [{"name": "Authorization", "value": "Bearer sk-test-12345678"}] if keyed else []
    headers += [{"name": "Content-Type", "value": "application/json"}] if sent is not None else []
    posted = {"postData": {"mimeType": "application/json", "text": json.dumps(sent)}} if sent is not None else {}
    return {
        "startedDateTime": f"2025-09-06T14:42:{23 + at:02d}.000Z",
        "time": 100,
        "request": {"method": method, "url": url, "headers": headers, **posted},
        "response": {
            "status": status,
            "headers": [
                {"name": "Content-Type", "value": "application/json"},
                {"name": "x-request-id", "value": f"r{at}"},
            ],
            "content": {"size": 10, "mimeType": "application/json", "text": json.dumps(got)},
        },
    }


def log(*entries: Entry) -> dict[str, Any]:
    """A HAR document."""
    return {"log": {"version": "1.2", "creator": {"name": "browser", "version": "1"}, "entries": list(entries)}}


def good(keyed: bool = True) -> list[Entry]:
    """A create and a read, as a browser kept them."""
    return [
        entry("POST", CREATE, BODY, task(), keyed=keyed),
        entry("GET", READ, None, task(status="processing", progress=10), at=10, keyed=keyed),
    ]


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., Run]:
    """Judges entries as a HAR file."""

    def run(*entries: Entry) -> Run:
        path = tmp_path / "browser.har"
        path.write_text(json.dumps(log(*entries)))
        return judge(path)

    return run


def broken(run: Run) -> list[str]:
    """The rules that a run blames, but for SC-10's kin that a recording always lacks."""
    return [one.rule.id for one in run.having(*BROKEN)]


def without_text(one: Entry) -> None:
    """Leave out the response's body."""
    del one["response"]["content"]["text"]


def without_post(one: Entry) -> None:
    """Leave out the request's body."""
    one["request"].pop("postData", None)


def without_headers(one: Entry) -> None:
    """Leave out the response's headers."""
    one["response"]["headers"] = []


def without_sent_headers(one: Entry) -> None:
    """Leave out the request's headers."""
    one["request"]["headers"] = []


def with_empty_texts(one: Entry) -> None:
    """Empty texts in the place of bodies that the tool did not keep."""
    one["response"]["content"] |= {"text": "", "size": 412}
    if one["request"].get("postData"):
        one["request"]["postData"]["text"] = ""
        one["request"]["bodySize"] = -1


def unanswered(status: int) -> Callable[[Entry], None]:
    """Say that there was no response, as browsers do."""

    def change(one: Entry) -> None:
        one["response"] |= {"status": status, "headers": [], "content": {"size": 0}}

    return change


@pytest.mark.parametrize(
    "change",
    [without_text, without_post, without_headers, without_sent_headers, with_empty_texts, unanswered(0), unanswered(-1)],
    ids=["no text", "no postData", "no headers", "no request headers", "empty texts", "status 0", "status -1"],
)  # fmt: skip
@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_what_is_missing_is_not_judged(judged: Callable[..., Run], change: Callable[[Entry], None], which: Any) -> None:
    """
    A correct recording with holes is as correct as it was.
    """
    entries = good()
    for index in which:
        change(entries[index])
    assert broken(judged(*entries)) == []


def test_a_recording_can_still_fail(judged: Callable[..., Run]) -> None:
    """
    What is there is judged: a member too few, another Content-Type, a body that is no JSON.
    """
    lacking = task()
    del lacking["usage"]
    assert "SW-03" in broken(judged(entry("POST", CREATE, BODY, lacking)))
    html = good()
    html[1]["response"]["headers"][0]["value"] = "text/html"
    assert "SW-01" in broken(judged(*html))
    bad = good()
    bad[0]["request"]["postData"]["text"] = "nonsense"
    assert "SV-29" in broken(judged(*bad))


def test_a_sanitised_export_says_nothing_of_keys(judged: Callable[..., Run]) -> None:
    """
    No Authorization anywhere, and calls that were accepted: rules about the key are not run, and say why.
    """
    run = judged(*good(keyed=False))
    assert broken(run) == []
    (key,) = [one for one in run.verdicts if one.rule.id == "CQ-01"]
    assert key.result is Result.NOT_RUN
    assert "without credentials" in key.reason
    refused = good(keyed=False)
    refused[0] = entry(
        "POST", CREATE, BODY, {"error": {"code": "unauthorized", "message": "no", "type": "t"}}, 401, keyed=False
    )
    assert "CQ-01" in broken(judged(*refused))


def test_a_header_that_one_entry_lacks_was_not_seen(judged: Callable[..., Run]) -> None:
    """
    What the service accepted, it saw: an export that dropped the key, or the kind of a body, says nothing of them.
    """
    for name in ("authorization", "content-type"):
        for number in range(len(good())):
            entries = good()
            request = entries[number]["request"]
            request["headers"] = [pair for pair in request["headers"] if pair["name"].lower() != name]
            assert broken(judged(*entries)) == []
    refused = good()
    refused[0] = entry("POST", CREATE, BODY, {"error": {"code": "invalid_request", "message": "no", "type": "t"}}, 400)
    kept = [pair for pair in refused[0]["request"]["headers"] if pair["name"].lower() != "content-type"]
    refused[0]["request"]["headers"] = kept
    assert "CQ-09" in broken(judged(*refused))


def test_a_preflight_is_no_call_of_the_client(judged: Callable[..., Run]) -> None:
    """
    A browser's OPTIONS carries no key and no body.
    """
    preflight = entry("OPTIONS", CREATE, keyed=False, status=204)
    assert broken(judged(preflight, *good())) == []


ERROR = {"code": "invalid_request", "message": "image_start could not be fetched", "type": "invalid_request_error"}


@pytest.mark.parametrize("param", [{"param": "image_start"}, {"param": "model"}, {}])
@pytest.mark.parametrize(
    "members", [{}, {"duration": 3}, {"duration": 15}, {"quality": "1080p"}, {"prompt": "x" * 2500}]
)
def test_a_refusal_is_about_its_param_alone(judged: Callable[..., Run], param: Entry, members: Entry) -> None:
    """
    An image that could not be fetched says nothing about duration, quality or prompt.
    """
    run = judged(entry("POST", CREATE, {**BODY, **members}, {"error": {**ERROR, **param}}, 400))
    assert not {"SV-05", "SV-06", "SV-10", "SV-15"} & set(broken(run))
    named = judged(entry("POST", CREATE, {**BODY, "duration": 3}, {"error": {**ERROR, "param": "duration"}}, 400))
    assert "SV-10" in broken(named)


def test_other_models_and_media_are_left_out(judged: Callable[..., Run]) -> None:
    """
    A host that serves more than this model: its other creates and tasks are not held against this contract.
    """
    other = {"model": "veo-3.1", "prompt": "x", "image_urls": ["https://a.example/b.png"]}
    made = {"id": "task-unified-1-aaaaaaaa", "object": "video.generation.task", "model": "veo-3.1", "status": "pending"}
    image = {
        **task(),
        "id": "task-unified-1-bbbbbbbb",
        "object": "image.generation.task",
        "type": "image",
        "model": "seedream",
    }
    run = judged(
        entry("POST", CREATE, other, made),
        entry("GET", f"{BASE}/v1/tasks/{made['id']}", None, {**made, "progress": "x"}, at=1),
        entry("GET", f"{BASE}/v1/tasks/{image['id']}", None, image, at=2),
        *good(),
    )
    assert broken(run) == []
    assert "SW-06" in {one.rule.id for one in run.having(Result.PASS)}


def test_another_job_is_no_repetition(judged: Callable[..., Run]) -> None:
    """
    After a refusal or a failed task, a create with another body is a job of its own; with the same body it is a repetition.
    """
    failed = task(status="failed", progress=0, error={"code": "service_error", "message": "no", "type": "task_error"})
    seen = [*good()[:1], entry("GET", READ, None, failed, at=10)]
    second = task(id="task-unified-1757169763-aaaaaaaa", created=1757169763)
    assert broken(judged(*seen, entry("POST", CREATE, {**BODY, "prompt": "another"}, second, at=20))) == []
    assert "CM-06" in broken(judged(*seen, entry("POST", CREATE, BODY, second, at=20)))


@pytest.mark.parametrize("status", [0, 500])
def test_a_refused_attempt_is_no_impatience(judged: Callable[..., Run], status: int) -> None:
    """
    Where a recording has no answer of the receiver it does not say who ended the attempt.
    """
    done = task(status="completed", progress=100, results=["https://f.example/a.mp4"])
    attempt = entry("POST", "https://hooks.example.com/cb", done, None, status, at=20, keyed=False)
    if status == 0:
        unanswered(0)(attempt)
    run = judged(*good(), entry("GET", READ, None, done, at=15), attempt)
    assert "SC-10" not in broken(run)


def test_marks_line_ends_and_archives(tmp_path: Path) -> None:
    """
    A byte order mark, CRLF, a .har.zip, and bodies in files of their own: all the same history.
    """
    document = json.dumps(log(*good()), indent=1)
    ways = {
        "plain.har": document.encode(),
        "mark.har": b"\xef\xbb\xbf" + document.encode(),
        "crlf.har": document.replace("\n", "\r\n").encode(),
        "wide.har": b"\xff\xfe" + document.encode("utf-16-le"),
    }
    apart = log(*good())
    for number, one in enumerate(apart["log"]["entries"]):
        text = one["response"]["content"].pop("text")
        one["response"]["content"]["_file"] = f"{number}.json"
        (tmp_path / f"{number}.json").write_text(text)
    ways["apart.har"] = json.dumps(apart).encode()
    with ZipFile(tmp_path / "packed.har.zip", "w") as archive:
        archive.writestr("har.har", json.dumps(apart))
        for number in range(2):
            archive.write(tmp_path / f"{number}.json", f"{number}.json")
    for name, data in ways.items():
        (tmp_path / name).write_bytes(data)
    verdicts = [
        [(one.rule.id, one.result) for one in judge(tmp_path / name).verdicts] for name in (*ways, "packed.har.zip")
    ]
    assert all(one == verdicts[0] for one in verdicts)
    assert ("SW-03", Result.PASS) in verdicts[0]


def test_json_lines_with_a_mark_and_crlf(tmp_path: Path) -> None:
    """
    A history that went through another system's editor is read.
    """
    import histories

    from kling_contract.history.events import jsonl

    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(jsonl(histories.good()))
    other.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert [one.result for one in judge(path).verdicts] == [one.result for one in judge(other).verdicts]


def test_a_body_outside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    """
    A HAR that names a file elsewhere gets nothing of it; the body counts as not recorded.
    """
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    folder = tmp_path / "recordings"
    folder.mkdir()
    entries = good()
    entries[0]["response"]["content"] = {"size": 2, "mimeType": "application/json", "_file": "../secret.json"}
    (folder / "a.har").write_text(json.dumps(log(*entries)))
    run = judge(folder / "a.har")
    assert broken(run) == []


@pytest.mark.parametrize("scheme", ["Bearer ", "Bearer", "Token ", "basic"])
def test_a_scheme_whose_credential_was_cut_off_says_nothing(judged: Callable[..., Run], scheme: str) -> None:
    """
    A tool that leaves the scheme and cuts off the key: every answer is 200, so there was one.
    """
    entries = good()
    for one in entries:
        one["request"]["headers"][0]["value"] = scheme
    run = judged(*entries)
    assert broken(run) == []
    assert {one.result for one in run.verdicts if one.rule.id == "CQ-01"} == {Result.NOT_RUN}


def test_a_whole_number_with_a_point_is_an_integer(judged: Callable[..., Run]) -> None:
    """
    JSON knows one kind of number: 1757169743.0 is an integer wherever one is asked for.
    """
    point = {"created": 1757169743.0, "progress": 0.0, "task_info": {"video_duration": 5.0, "estimated_time": 30.0}}
    later = {**point, "status": "processing", "progress": 10.0}
    assert (
        broken(judged(entry("POST", CREATE, BODY, task(**point)), entry("GET", READ, None, task(**later), at=10))) == []
    )


@pytest.mark.parametrize(
    ("param", "named"),
    [("/image_start", True), ("body/image_start", True), ("$.input.image_start", True), ("image_start[0]", True),
     ("image", False), ("my_image_start", False)],
)  # fmt: skip
def test_a_path_to_a_field_names_it(judged: Callable[..., Run], param: str, named: bool) -> None:
    """
    error.param may be a pointer or a path: the field's name is in it as a step of its own.
    """
    error = {"error": {"code": "invalid_request", "message": "no URL", "type": "invalid_request_error", "param": param}}
    run = judged(entry("POST", CREATE, {**BODY, "image_start": "ftp://x/y"}, error, 400))
    assert ("SW-14" not in broken(run)) is named


@pytest.mark.parametrize(("status", "blamed"), [(502, False), (503, False), (504, False), (500, True), (401, True)])
def test_a_gateways_page_is_not_the_services_answer(judged: Callable[..., Run], status: int, blamed: bool) -> None:
    """
    What a gateway says of a service that is not there is a page, whatever its status.
    """
    page = entry("GET", READ, None, None, status, at=20)
    page["response"]["content"]["text"] = "<html>busy</html>"
    page["response"]["headers"][0]["value"] = "text/html"
    assert ({"SW-01", "SW-11"} <= set(broken(judged(*good(), page)))) is blamed


LINK = "https://files.example.com/v.mp4"
DONE = task(status="completed", progress=100, results=[LINK], usage={"credits_reserved": 36, "credits_used": 36})


@pytest.mark.parametrize(("status", "blamed"), [(0, False), (206, False), (304, False), (200, False), (404, True)])
def test_what_a_browser_shows_of_a_download(judged: Callable[..., Run], status: int, blamed: bool) -> None:
    """
    A video that the user closed, one that is shown by parts, and one that was there already say nothing of the link.
    """
    fetched = entry("GET", LINK, None, None, status, at=12, keyed=False)
    fetched["response"] |= {"headers": [{"name": "Content-Type", "value": "video/mp4"}], "content": {"size": 100_000}}
    run = judged(entry("POST", CREATE, BODY, task()), entry("GET", READ, None, DONE, at=10), fetched)
    assert ("SK-02" in broken(run)) is blamed


@pytest.mark.parametrize("status", [0, -1])
def test_an_attempt_without_an_answer_may_have_ended_at_once(judged: Callable[..., Run], status: int) -> None:
    """
    Who ended it, and when, the recording does not say: a retry a second after its begin is not early.
    """
    url = "https://hooks.example.com/done"
    lost = entry("POST", url, DONE, None, status, at=10, keyed=False)
    lost["response"] |= {"headers": [], "content": {"size": 0}}
    taken = entry("POST", url, DONE, None, 200, at=11, keyed=False)
    assert broken(judged(entry("POST", CREATE, {**BODY, "callback_url": url}, task()), lost, taken)) == []
