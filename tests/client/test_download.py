"""Saving videos: rules CD."""

import contextlib
import io

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import NewConnectionError

from kling_client import (
    DownloadError,
    DownloadPolicy,
    LinkExpired,
    NotAVideo,
    ResultMissing,
    mp4,
)

QUICK = DownloadPolicy(first_wait=0.1)


class Broken(io.BytesIO):
    """A body that breaks off: the connection is reset after what it holds."""

    def read1(self, size=-1):
        """The next bytes, or the reset."""
        data = super().read1(size)
        if not data:
            raise ConnectionResetError(104, "reset")
        return data


class Endless(io.RawIOBase):
    """A body without end, after a good beginning."""

    def __init__(self, start):
        self.start, self.served = start, 0

    def read1(self, size=-1):
        """As many bytes as asked for."""
        data, self.start = (self.start or bytes(size)), b""
        self.served += len(data)
        return data


@pytest.fixture
def out(tmp_path):
    """The file to save."""
    return tmp_path / "out.mp4"


@pytest.fixture
def done(client, service, kit):
    """A completed task."""
    service.on("poll", kit.answer(kit.task("completed")))
    done = client.get(kit.task_id)
    service.calls.clear()
    return done


def only(out):
    """Whether nothing else stands in the folder."""
    return list(out.parent.iterdir()) == [out]


def test_the_bytes_are_those_served_and_the_key_stays_home(client, service, kit, out, done):
    """CD-03, CQ-04: a link gets no key, no cookie, nothing."""
    assert client.download(done, out) == (out,)

    assert out.read_bytes() == kit.video_bytes
    (call,) = service.calls
    assert "Authorization" not in call.headers
    assert kit.key not in str(call)
    assert only(out)


def test_every_result_is_saved(client, service, kit, out):
    """CD-01: a second video goes to a second file."""
    service.on("poll", kit.answer(kit.task("completed", results=[f"{kit.files}/a.mp4", f"{kit.files}/b.mp4"])))

    paths = client.download(client.get(kit.task_id), out)

    assert [path.name for path in paths] == ["out.mp4", "out-2.mp4"]
    assert all(path.read_bytes() == kit.video_bytes for path in paths)


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_cut_download_is_resumed(client, service, kit, out, done, etag):
    """CD-05: from where it was cut, on condition that it is still the same file."""
    whole, at = kit.video_bytes, 5000
    rest = {"Content-Range": f"bytes {at}-{len(whole) - 1}/{len(whole)}", "Content-Length": str(len(whole) - at)}
    headers = {"ETag": etag} if etag else {}
    service.on(
        "link",
        kit.video(Broken(whole[:at]), **headers),
        kit.reply(206, {"Content-Type": "video/mp4", **rest}, whole[at:]),
    )

    client.download(done, out)

    assert out.read_bytes() == whole
    second = service.seen("link")[1]
    assert second.headers["Range"] == "bytes=5000-"
    assert second.headers.get("If-Range") == etag
    assert service.seen("create") == []


def test_a_range_answered_in_full_starts_anew(client, service, kit, out, done):
    """A server that ignores Range, or whose file has changed, sends it all."""
    service.on("link", kit.video(Broken(kit.video_bytes[:5000])), kit.video())

    client.download(done, out)

    assert out.read_bytes() == kit.video_bytes


def test_a_wrong_range_is_not_glued_on(client, service, kit, out, done):
    """206 with other bytes than asked for: begin again."""
    whole = kit.video_bytes
    wrong = kit.reply(206, {"Content-Type": "video/mp4", "Content-Range": f"bytes 0-9/{len(whole)}"}, whole[:10])
    service.on("link", kit.video(Broken(whole[:5000])), wrong, kit.video())

    client.download(done, out)

    assert out.read_bytes() == whole


def test_a_rest_that_is_short_is_not_the_end(client, service, kit, out, done):
    """A partial answer may promise all of the rest and bring less."""
    whole = kit.video_bytes
    promise = {"Content-Type": "video/mp4", "Content-Range": f"bytes 5000-{len(whole) - 1}/{len(whole)}"}
    rest = {"Content-Type": "video/mp4", "Content-Range": f"bytes 6000-{len(whole) - 1}/{len(whole)}"}
    service.on(
        "link",
        kit.video(Broken(whole[:5000])),
        kit.reply(206, promise, whole[5000:6000]),
        kit.reply(206, rest, whole[6000:]),
    )

    client.download(done, out)

    assert out.read_bytes() == whole


@pytest.mark.parametrize("short", [Broken, io.BytesIO])
def test_a_download_that_is_always_cut_leaves_nothing(client, service, kit, out, done, short):
    """CD-04: reset or simply short, whatever the length says."""
    service.on("link", lambda _call: kit.video(short(kit.video_bytes[:5000])))

    with pytest.raises(DownloadError, match=r"cut|bytes"):
        client.download(done, out)

    assert len(service.seen("link")) == 5
    assert list(out.parent.iterdir()) == []


def test_a_cut_without_a_length_is_seen_in_the_file(client, service, kit, out, done):
    """Where no length is declared, the boxes have to end with the file."""
    headers = {"Content-Type": "video/mp4"}
    service.on("link", kit.reply(200, headers, kit.video_bytes[:-10]), kit.reply(200, headers, kit.video_bytes))

    client.download(done, out)

    assert out.read_bytes() == kit.video_bytes


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_link_leads_to_one_fresh_read(client, service, kit, out, done, status):
    """CD-06: the task is read once more, nothing is created."""
    service.on("poll", kit.answer(kit.task("completed", results=[f"{kit.files}/fresh.mp4"])))
    service.on("link", kit.reply(status, {}, b"gone"), kit.video())

    client.download(done, out)

    assert [call.kind for call in service.calls] == ["link", "poll", "link"]
    assert service.calls[-1].url.endswith("fresh.mp4")


def test_a_link_that_stays_expired_is_told(client, service, kit, out, done):
    """One fresh read, not two."""
    service.on("link", kit.reply(403, {}, b"gone"))

    with pytest.raises(LinkExpired, match="403"):
        client.download(done, out)

    assert [call.kind for call in service.calls] == ["link", "poll", "link"]


ERROR_PAGES = [
    ("text/html", b"<html>sorry</html>"),
    ("video/mp4", b"<html>sorry, but with a nice type</html>"),
    ("application/json", b"{}"),
    ("video/mp4", b""),
    ("application/octet-stream", b"\x89PNG\r\n\x1a\n0000"),
]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("kind", "content"), ERROR_PAGES)
def test_an_error_page_is_not_saved(client, service, kit, out, done, kind, content, declared):
    """CD-07: neither by its type nor by its bytes."""
    headers = {"Content-Type": kind, "Content-Length": str(len(content))} if declared else {"Content-Type": kind}
    service.on("link", kit.reply(200, headers, content))

    with pytest.raises(NotAVideo):
        client.download(done, out)

    assert list(out.parent.iterdir()) == []


def test_a_passing_error_page_is_survived(client, service, kit, out, done):
    """A store that stumbles once is asked again."""
    service.on("link", kit.reply(200, {"Content-Type": "text/html"}, b"<html>"), kit.reply(503, {}, b""), kit.video())

    client.download(done, out)

    assert out.read_bytes() == kit.video_bytes


def test_an_endless_body_is_bounded(make_client, service, kit, out, done):
    """CD-08: it stops at the limit, and nothing is left."""
    limit = 1 << 20
    body = Endless(kit.video_bytes)
    service.on("link", kit.reply(200, {"Content-Type": "video/mp4"}, body))
    client = make_client(download=DownloadPolicy(max_bytes=limit))

    with pytest.raises(DownloadError, match=str(limit)):
        client.download(done, out)

    assert body.served < limit + (1 << 18)
    assert list(out.parent.iterdir()) == []


def test_a_declared_giant_is_refused_unread(make_client, service, kit, out, done):
    """The length alone is enough."""
    service.on("link", kit.video(Broken(b""), Content_Length=str(10**12)))
    client = make_client(download=DownloadPolicy(max_bytes=1 << 20))

    with pytest.raises(DownloadError, match="larger"):
        client.download(done, out)


@pytest.mark.parametrize("began", [0.0, 7.0, 1000.0])
def test_a_dripping_body_ends_with_the_deadline(make_client, service, kit, out, done, time, began):
    """Bytes now and then keep no client for ever, however long the machine has been up."""
    time.now = began

    class Drip(io.RawIOBase):
        def read1(self, size=-1):
            time.now += 5
            return b"\0\0\0\x10ftypisom"

    service.on("link", lambda _call: kit.reply(200, {"Content-Type": "video/mp4"}, Drip()))
    client = make_client(download=DownloadPolicy(deadline=60))
    before = time.now

    with pytest.raises(DownloadError):
        client.download(done, out)

    assert time.now - before < 80


@pytest.mark.parametrize("results", [[], None, "https://files.test/a.mp4", [None], [7], [""]])
def test_completed_without_links_is_an_error(client, service, kit, tmp_path, results):
    """CD-09: never success without a video."""
    service.on("poll", kit.answer(kit.task("completed", results=results)))

    with pytest.raises(ResultMissing, match=kit.task_id):
        client.generate(kit.image, tmp_path / "out.mp4")


def test_a_failed_save_keeps_the_record(client, service, kit, out):
    """CD-05: the video is paid for; the next run only downloads."""
    service.on("link", kit.reply(500, {}, b""))
    with pytest.raises(DownloadError):
        client.generate(kit.image, out)
    service.on("link", kit.video())

    client.generate(kit.image, out)

    assert len(service.seen("create")) == 1
    assert only(out)


def test_an_old_file_survives_a_failed_save(client, service, kit, out, done):
    """Replaced only by a whole video."""
    out.write_bytes(b"old")
    service.on("link", kit.reply(200, {"Content-Type": "text/html"}, b"<html>"))

    with pytest.raises(NotAVideo):
        client.download(done, out)

    assert out.read_bytes() == b"old"
    assert only(out)


def test_redirects_of_links_are_followed_without_the_key(client, service, kit, out, done):
    """From store to store, https only."""
    service.on("link", kit.reply(302, {"Location": "https://cdn.test/v.mp4"}, b""), kit.video())

    client.download(done, out)

    assert service.calls[-1].url == "https://cdn.test/v.mp4"
    assert all("Authorization" not in call.headers for call in service.calls)


@pytest.mark.parametrize(
    "target",
    ["http://cdn.test/v.mp4", "file:///etc/passwd", "http://127.0.0.1/x", "https://localhost/x", "https://2130706433/"],
)
def test_redirects_of_links_that_lead_astray_are_refused(client, service, kit, out, done, target):
    """Not to plain http, not to this machine."""
    service.on("link", kit.reply(302, {"Location": target}, b""))

    with pytest.raises(DownloadError):
        client.download(done, out)

    assert len(service.calls) == 1


def test_redirects_without_end_are_refused(client, service, kit, out, done):
    """A few are followed, no more."""
    service.on("link", kit.reply(302, {"Location": "/next"}, b""))

    with pytest.raises(DownloadError, match="without end"):
        client.download(done, out)

    assert len(service.calls) == 4


@pytest.mark.parametrize(
    "link", ["http://files.test/a.mp4", "ftp://files.test/a", "file:///etc/passwd", "a.mp4", "https://[::bad/"]
)
def test_odd_links_are_not_fetched(client, service, kit, out, link):
    """Only https leaves this machine."""
    with pytest.raises(DownloadError):
        client.download(link, out)

    assert service.calls == []


def test_a_link_host_that_is_down_is_tried_again(client, service, kit, out, done):
    """Refused connections pass."""
    down = requests.exceptions.ConnectionError(NewConnectionError(None, "refused"))
    service.on("link", down, kit.video())

    client.download(done, out)

    assert only(out)


def test_a_folder_that_is_gone_is_told(client, done, tmp_path):
    """One clear error, no traceback of the system's."""
    with pytest.raises(DownloadError, match="cannot write"):
        client.download(done, tmp_path / "no" / "out.mp4")


@pytest.mark.parametrize(("status", "requests_sent"), [(400, 1), (401, 1), (416, 5), (429, 5)])
def test_other_answers_of_a_link_are_told(client, service, kit, out, done, status, requests_sent):
    """What may pass is tried again, what will not is not."""
    service.on("link", kit.reply(status, {"Retry-After": "1"}, b""))

    with pytest.raises(DownloadError):
        client.download(done, out)

    assert len(service.seen("link")) == requests_sent


@given(st.data())
def test_every_cut_of_a_video_is_seen(kit, data):
    """By its boxes alone, wherever it is cut; and no bytes crash the look."""
    whole = kit.video_bytes
    boundaries = st.sampled_from([0, 16, 124])
    at = data.draw(boundaries | st.integers(0, len(whole) - 1))
    mp4.check_whole(io.BytesIO(whole), len(whole))
    with pytest.raises(NotAVideo):
        mp4.check_whole(io.BytesIO(whole[:at]), at)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\0\1mdat\0\0\0\0\0\0\0\x10", b"\0\0\0\0moov"]))
def test_no_bytes_crash_the_look(start, tail):
    """A verdict, always: long boxes, boxes up to the end, nonsense."""
    content = start + tail
    for look in (mp4.check_start, lambda file: mp4.check_whole(file, len(content))):
        with contextlib.suppress(NotAVideo):
            look(io.BytesIO(content))


def test_long_and_open_boxes_are_read(kit):
    """A 64-bit length, and a last box that goes on to the end."""
    long_box = b"\0\0\0\1mdat" + (20).to_bytes(8, "big") + b"abcd"
    content = kit.box(b"ftyp") + kit.box(b"moov") + long_box + b"\0\0\0\0free and so on"

    mp4.check_whole(io.BytesIO(content), len(content))
