"""Videos and sounds of `video.test` and `audio.test` are real files, and what is found in them is what was asked for."""

import io

import pytest

from kling_mock.media.clips import BadClip, make, parse_clip, probe


def made(url: str) -> bytes:
    """The bytes behind the URL."""
    clip = parse_clip(url)
    assert clip is not None
    return make(clip).data


@pytest.mark.parametrize(
    ("url", "facts"),
    [
        ("https://video.test/1280x720-8s.mp4", ("mp4", 1280, 720, 8, 24)),
        ("https://video.test/720x1280-2.5s.mov", ("mov", 720, 1280, 2.5, 24)),
        ("https://video.test/340x340-3s.mp4?fps=60", ("mp4", 340, 340, 3, 60)),
        ("https://video.test/640x480-30s.mp4", ("mp4", 640, 480, 30, 24)),
    ],
)
def test_a_drawn_video_is_what_its_url_says(url: str, facts: tuple[object, ...]) -> None:
    """Format, sides, length and frames a second, read from its bytes."""
    found = probe(made(url), "video")

    assert (found.format, found.width, found.height, found.seconds, found.fps) == facts


def test_a_drawn_sound_is_as_long_as_its_url_says() -> None:
    """A wave file."""
    found = probe(made("https://audio.test/5s.wav"), "audio")

    assert (found.format, found.seconds, found.width) == ("wav", 5, None)


def test_a_phones_upright_video_is_upright() -> None:
    """What counts is what a viewer sees: the matrix of the track turns it."""
    data = made("https://video.test/640x480-1s.mp4")
    plain = b"\0\1\0\0" + b"\0" * 12 + b"\0\1\0\0" + b"\0" * 12 + b"@\0\0\0"
    turned = b"\0" * 4 + b"\0\1\0\0" + b"\0" * 4 + b"\xff\xff\0\0" + b"\0" * 16 + b"@\0\0\0"
    assert len(plain) == len(turned) == 36
    assert data.count(plain) >= 1
    place = data.index(plain, data.index(b"tkhd"))
    found = probe(data[:place] + turned + data[place + 36 :], "video")

    assert (found.width, found.height) == (480, 640)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (made("https://video.test/640x480-2s.mp4?truncated"), "video", ""),
        (b"", "video", "cannot be read"),
        (b"just words", "video", "cannot be read"),
        (made("https://audio.test/1s.wav")[:10], "audio", ""),
    ],
)
def test_what_cannot_be_read_is_one_line(data: bytes, kind: str, words: str) -> None:
    """Whatever FFmpeg makes of it."""
    with pytest.raises(BadClip) as caught:
        probe(data, kind)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_is_no_video() -> None:
    """Its format is said, for the limits to refuse."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")

    assert probe(file.getvalue(), "video").format == "png"


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("https://video.test/1280x720-8s.webm", 400, "mp4"),
        ("https://video.test/1281x720-8s.mp4", 400, "even"),
        ("https://video.test/8s.mp4", 400, "no such video"),
        ("https://video.test/1280x720-0s.mp4", 400, "seconds"),
        ("https://video.test/1280x720-8s.mp4?loud", 400, "not known"),
        ("https://video.test/1280x720-8s.mp4?fps=x", 400, "fps"),
        ("https://video.test/1280x720-8s.mp4?status=404", 404, ""),
        ("https://audio.test/5s.mp3", 400, "no such sound"),
    ],
)
def test_what_is_not_made_is_said(url: str, status: int, words: str) -> None:
    """A page in place of a file, with what would be right."""
    clip = parse_clip(url)
    assert clip is not None
    found = make(clip)

    assert found.status == status
    assert words in found.data.decode()


def test_other_hosts_are_left_alone() -> None:
    """Only the two hosts."""
    assert parse_clip("https://image.test/1280x720.png") is None
    assert parse_clip("https://example.com/1280x720-8s.mp4") is None


def test_a_file_can_be_padded() -> None:
    """To the byte, and it is still the same video."""
    data = made("https://video.test/640x480-1s.mp4?bytes=200000")

    assert len(data) == 200_000
    assert probe(data, "video").seconds == 1
