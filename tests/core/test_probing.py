"""Videos and sounds of others: read apart, within bounds of memory and time, and by no reader that would open an address."""

import resource
import socket
import struct

import pytest

from kling_mock.media import probing
from kling_mock.media.clips import BadClip, make, parse_clip, probe
from kling_mock.media.probing import probe_apart


def video(seconds: int = 1) -> bytes:
    """A small MP4."""
    clip = parse_clip(f"https://video.test/640x480-{seconds}s.mp4")
    assert clip is not None
    return make(clip).data


def many_samples(count: int) -> bytes:
    """The same in as few bytes, whose tables name so many samples of one byte each."""
    data = bytearray(video())
    size, chunks, times = (data.index(name) for name in (b"stsz", b"stsc", b"stts"))
    struct.pack_into(">II", data, size + 8, 1, count)
    struct.pack_into(">IIII", data, chunks + 8, 1, 1, count, 1)
    struct.pack_into(">III", data, times + 8, 1, count, 512)
    return bytes(data)


def test_apart_is_the_same() -> None:
    """Facts and refusals are those of the reader itself."""
    assert probe_apart(video(2), "video") == probe(video(2), "video")
    with pytest.raises(BadClip, match="the audio cannot be read: it is of no known format"):
        probe_apart(b"just words", "audio")
    with pytest.raises(BadClip, match="the video"):
        probe_apart(video()[:20_000], "video")


def test_a_small_file_of_thirty_million_samples() -> None:
    """35 KB that cost more than two gigabytes: refused within the bound, and this process takes none of it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(BadClip):
        probe_apart(many_samples(30_000_000), "video")

    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < probing.MEMORY // 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_one_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time, whatever it waits for."""
    monkeypatch.setattr(probing, "SECONDS", 0.001)

    with pytest.raises(BadClip, match="the video takes too long to read"):
        probe_apart(video(), "video")


def test_a_reader_that_breaks_down_takes_nothing_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No output at all, as of a process that a limit or a fault ended."""
    monkeypatch.setattr(probing, "__name__", "kling_mock.ids")

    with pytest.raises(BadClip, match="takes too much memory or time"):
        probe_apart(video(), "video")


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
    "HLS of a file": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile http://127.0.0.1:{port}/a.mp4\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>http://127.0.0.1:{port}/</BaseURL></Period></MPD>',
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("kind", ["video", "audio"])
def test_play_lists_and_sessions_are_not_followed(name: str, kind: str) -> None:
    """What names other places is of no known format: no reader looks at it, and no socket is opened for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BadClip, match="it is of no known format"):
            probe(PLAYLISTS[name].format(port=port).encode(), kind)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("box", [b"moov", b"mdat", b"free", b"wide"])
def test_old_movies_begin_with_other_boxes(box: bytes) -> None:
    """They are read as movies are, not refused for their first bytes."""
    with pytest.raises(BadClip) as caught:
        probe(b"\0\0\0\x10" + box + bytes(100), "video")

    assert "no known format" not in str(caught.value)


def test_a_video_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what a picture may have."""
    monkeypatch.setitem(probing.probe.__globals__["_NOTHING_ELSE"], "max_pixels", "1000")

    with pytest.raises(BadClip):
        probe(video(), "video")
