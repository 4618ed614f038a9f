"""The video behind a link: a real one, for whoever has the link, for as long as it lives."""

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import av
import pytest

import kling_openapi

LINK = kling_openapi.service()["components"]["schemas"]["CompletedTask"]["properties"]["results"]["x-link"]
SMALL = "https://image.test/320x300.png"


def path_of(url: str) -> str:
    """Path and query of a link."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture(name="done", scope="module")
def done_fixture(new_rig: Callable[..., Any]) -> Any:
    """A rig with a small video behind `rig.link`, shared by the tests that only look at it."""
    rig = new_rig()
    task_id = rig.task("instant", image_start=SMALL, duration=3)
    rig.advance(1)
    rig.link = path_of(rig.shown(task_id)["results"][0])
    rig.video = rig.call("GET", rig.link, key=None).data
    yield rig
    rig.close()


@pytest.mark.parametrize(
    ("image", "quality", "seconds", "size"),
    [("1280x720.jpg", "720p", 5, (1280, 720)), ("800x1422.png", "1080p", 3, (1080, 1920))],
)
def test_the_video_is_real_and_as_asked(
    rig: Any, image: str, quality: str, seconds: int, size: tuple[int, int]
) -> None:
    """H.264 that decodes to its last frame: the frame's ratio, the quality's short side, the seconds exactly."""
    task_id = rig.task("instant", image_start=f"https://image.test/{image}", quality=quality, duration=seconds)
    rig.advance(1)
    response = rig.call("GET", path_of(rig.shown(task_id)["results"][0]), key=None)

    assert response.mimetype == LINK["content_type"]
    with av.open(io.BytesIO(response.data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", *size)
        assert stream.duration * stream.time_base == seconds
        assert Fraction(container.duration, av.time_base) == seconds
        frames = sum(1 for _ in container.decode(stream))
    assert frames == seconds * stream.average_rate


def test_tiny_videos_keep_length_and_ratio(make: Callable[..., Any]) -> None:
    """`--videos tiny`: a playable file of the asked length and the frame's ratio, a few pixels high whatever the quality."""
    rig = make(videos="tiny")
    task_id = rig.task("instant", image_start="https://image.test/1280x720.jpg", quality="1080p", duration=15)
    rig.advance(1)
    data = rig.call("GET", path_of(rig.shown(task_id)["results"][0]), key=None).data

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (128, 72)
        assert Fraction(container.duration, av.time_base) == 15
    assert len(data) < 100_000


def test_a_link_is_the_fakes_own_and_the_same_each_time(make: Callable[..., Any]) -> None:
    """On the fake's origin, or the one it is known by."""
    rig = make(public_url="https://videos.example.com")
    task_id = rig.task("instant")
    rig.advance(1)
    first = rig.shown(task_id)["results"]
    rig.advance(100)

    assert rig.shown(task_id)["results"] == first
    assert first[0].startswith("https://videos.example.com/files/")


def test_a_get_needs_no_key(done: Any) -> None:
    """Whoever has the link has the video, whatever key is shown beside it."""
    for key in (None, "sk-other", "nonsense"):
        response = done.call("GET", done.link, key=key)
        assert (response.status_code, response.data) == (200, done.video)
        assert response.headers["Accept-Ranges"] == "bytes"
        assert int(response.headers["Content-Length"]) == len(done.video)


def test_a_head_tells_the_length_without_the_bytes(done: Any) -> None:
    """As a client asks before it resumes."""
    response = done.call("HEAD", done.link, key=None)

    assert (response.status_code, response.data, response.mimetype) == (200, b"", LINK["content_type"])
    assert int(response.headers["Content-Length"]) == len(done.video)


@pytest.mark.parametrize("asked", ["0-0", "0-99", "100-", "-50", "10-999999999"])
def test_a_range_is_cut_out(done: Any, asked: str) -> None:
    """206 with just those bytes, and where they lie."""
    first, _, last = asked.partition("-")
    size = len(done.video)
    start = int(first) if first else size - int(last)
    stop = min(int(last) + 1, size) if first and last else size
    response = done.call("GET", done.link, key=None, headers={"Range": f"bytes={asked}"})

    assert (response.status_code, response.data) == (206, done.video[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    assert int(response.headers["Content-Length"]) == stop - start


def test_a_range_past_the_end_is_a_416(done: Any) -> None:
    """With the size, so that the client knows."""
    response = done.call("GET", done.link, key=None, headers={"Range": "bytes=999999999-"})

    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{len(done.video)}"


@pytest.mark.parametrize(
    "asked", ["nonsense", "bytes", "bytes=", "bytes=a-b", "bytes=5-1", "lines=0-5", "bytes=0-1,4-5", "bytes=--1"]
)
def test_a_range_that_is_none_is_not_a_fault(done: Any, asked: str) -> None:
    """Unreadable, of another unit, or of several pieces: the whole file, as if it were not there."""
    response = done.call("GET", done.link, key=None, headers={"Range": asked})

    assert (response.status_code, response.data) == (200, done.video)


def test_a_resumed_download_is_the_same_file(done: Any) -> None:
    """If-Range with the tag gives the rest, with another tag the whole; If-None-Match gives nothing."""
    tag = done.call("GET", done.link, key=None).headers["ETag"]
    range_ = {"Range": "bytes=1000-"}
    rest = done.call("GET", done.link, key=None, headers={**range_, "If-Range": tag})
    whole = done.call("GET", done.link, key=None, headers={**range_, "If-Range": '"another"'})

    assert (rest.status_code, done.video[:1000] + rest.data) == (206, done.video)
    assert (whole.status_code, whole.data) == (200, done.video)
    assert done.call("GET", done.link, key=None, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link[:-1] + ("0" if link[-1] != "0" else "1"),
        lambda link: link.replace("expires=1", "expires=9"),
        lambda link: link.partition("&")[0],
        lambda link: link.partition("?")[0],
        lambda link: link.replace("/files/", "/files/0"),
        lambda link: link.replace("task-unified-", "task-unified-9"),
        lambda link: link + "&signature=0",
        lambda link: link.replace("signature=", "signature=%FF"),
    ],
)
def test_a_link_that_was_changed_opens_nothing(done: Any, change: Callable[[str], str]) -> None:
    """404, as if there were no such file; a second signature behind the right one is not looked at."""
    response = done.call("GET", change(done.link), key=None)

    assert response.status_code == 404 or change(done.link).endswith("&signature=0")


def test_a_link_dies_a_day_after_completion_to_the_second(rig: Any) -> None:
    """Alive a second before, 403 from then on, HEAD and Range included; the query still answers and still lists it."""
    task_id = rig.task("completed queued=1 runs=4", image_start=SMALL, duration=3)
    rig.advance(5)
    body = rig.shown(task_id)
    link = path_of(body["results"][0])
    rig.advance(LINK["lifetime_seconds"] - 1)
    assert rig.call("GET", link, key=None).status_code == 200
    rig.advance(1)

    assert [rig.call(method, link, key=None).status_code for method in ("GET", "HEAD")] == [403, 403]
    assert rig.call("GET", link, key=None, headers={"Range": "bytes=0-9"}).status_code == 403
    assert rig.shown(task_id) == body
    (listed,) = rig.control("GET", f"/tasks/{task_id}")["links"]
    assert (path_of(listed["url"]), listed["expires_at"]) == (link, rig.now())


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_a_dead_link_answers_is_a_choice(make: Callable[..., Any], status: int) -> None:
    """Nobody documents it."""
    rig = make(service_settings={"expired_link_status": status})
    task_id = rig.task("instant", image_start=SMALL)
    link = path_of(rig.shown(task_id)["results"][0])
    rig.advance(LINK["lifetime_seconds"])

    assert rig.call("GET", link, key=None, bent=True).status_code == status


def test_what_was_forgotten_opens_nothing(rig: Any) -> None:
    """After a reset the link is that of no task."""
    task_id = rig.task("instant", image_start=SMALL)
    link = path_of(rig.shown(task_id)["results"][0])
    rig.control("POST", "/reset")

    assert rig.call("GET", link, key=None).status_code == 404


def test_only_get_and_head_are_taken(done: Any) -> None:
    """405 for the rest, in the service's envelope."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert done.call(method, done.link.partition("?")[0]).status_code == 405


def test_downloads_are_in_the_journal_without_their_bytes(done: Any) -> None:
    """Who, what and how much."""
    done.call("GET", done.link, key=None)
    entries = [one for one in done.control("GET", "/journal")["entries"] if one["kind"] == "download"]

    assert entries[-1]["response"]["status"] == 200
    assert entries[-1]["response"]["body"] is None
    assert entries[-1]["task_id"] in done.link
