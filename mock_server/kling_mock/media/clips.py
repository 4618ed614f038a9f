"""Videos and sounds that a create names: what their bytes are, and `video.test` and `audio.test`, whose files the fake makes itself.

`https://video.test/1280x720-8s.mp4` is a real video of eight seconds; `.mov` likewise. `?fps=60`, `?bytes=N` (padded), `?truncated`,
`?as=mkv` and `?status=404` make what a test of a limit needs. `https://audio.test/5s.wav` is a sound. PyAV is imported with the first one.
"""

import io
import re
import wave
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from kling_mock.media import costs, pictures
from kling_mock.media.cache import ByteCache
from kling_mock.media.images import Drawn
from kling_mock.media.signatures import Signature, recognised
from kling_openapi.media import Facts

if TYPE_CHECKING:
    from av.container import InputContainer

VIDEO_HOST, AUDIO_HOST = "video.test", "audio.test"
"""The fake makes what these hosts are asked for; `.test` never resolves on a real network (RFC 6761)."""

_LONGEST_SECONDS = 600
_LONGEST_SIDE = 4096
_MOST_BYTES = 2**28
_KEPT_BYTES = 2**26
_FPS = 24
_CONTAINERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "avi": "avi"}
_TYPES = {"mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "avi": "video/x-msvideo"}
_VIDEO = re.compile(r"/(\d{1,5})x(\d{1,5})-(\d{1,4}(?:\.\d{1,3})?)s\.([a-z0-9]+)", re.IGNORECASE | re.ASCII)
_AUDIO = re.compile(r"/(\d{1,4}(?:\.\d{1,3})?)s\.wav", re.IGNORECASE | re.ASCII)
_OPTIONS = ("as", "bytes", "fps", "status", "truncated")
_NAMES = {"QuickTime": "mov", "MPEG": "mp3"}
_SAMPLES = 8000
_READERS = {
    "MP4": "mov",
    "QuickTime": "mov",
    "WebM": "matroska",
    "AVI": "avi",
    "WAV": "wav",
    "MP3": "mp3",
    "OGG": "ogg",
    "FLAC": "flac",
}
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_NOTHING_ELSE = {"protocol_whitelist": "none", "max_pixels": str(costs.MOST_PIXELS)}
_PACKETS_OF_A_FRAME = 250


class BadClip(Exception):
    """A video or a sound that cannot be read; the message is one line."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One file of `video.test` or `audio.test`, as its URL asks for it; *complaint*: what is wrong with the URL."""

    seconds: float = 0
    width: int = 0
    height: int = 0
    format: str = "mp4"
    fps: int = _FPS
    padded_to: int | None = None
    truncated: bool = False
    page_status: int | None = None
    complaint: str | None = None


_made: ByteCache[Clip, bytes] = ByteCache(_KEPT_BYTES, len)


def parse_clip(url: str) -> Clip | None:
    """Return the clip that *url* asks for; None where it is not on one of the two hosts."""
    if ".test" not in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no address; fetching it says so
        return None
    if parts.hostname not in (VIDEO_HOST, AUDIO_HOST):
        return None
    try:
        return _asked(parts.hostname, parts.path, parts.query)
    except ValueError as error:
        return Clip(complaint=str(error))


def make(clip: Clip) -> Drawn:
    """Return the response to a clip's URL; the same bytes every time, 400 with a line of text where there is a complaint."""
    if clip.complaint is not None:
        return Drawn(
            HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", f"{clip.complaint}\n".encode(errors="replace")
        )
    if clip.page_status is not None:
        return Drawn(clip.page_status, "text/html; charset=utf-8", b"<!doctype html>\n<title>No video</title>\n")
    data = _made.get(clip, lambda: _sound(clip) if clip.format == "wav" else _video(clip))
    if clip.truncated:
        data = data[: len(data) // 2]
    if clip.padded_to is not None:
        data = data.ljust(clip.padded_to, b"\0")
    return Drawn(HTTPStatus.OK, "audio/wav" if clip.format == "wav" else _TYPES[clip.format], data)


def probe(data: bytes, kind: str) -> Facts:
    """Return what *data* is, read through to its end: format by content, length, and for a video its sides and frames a second.

    Raises:
        BadClip: it is no readable medium of its *kind*, `video` or `audio`.
    """
    import av

    known = recognised(data)
    name = _NAMES.get(known.name, known.name.lower()) if known else None
    if known is not None and not known.media_type.startswith(f"{kind}/"):
        return Facts(format=name, bytes=len(data))
    reader = _reader(known, data)
    if reader is None:
        raise BadClip(f"the {kind} cannot be read: it is of no known format")
    try:
        with av.open(io.BytesIO(data), "r", format=reader, options=_NOTHING_ELSE) as container:
            return _facts(container, name, len(data), kind)
    except BadClip:
        raise
    except Exception as error:  # FFmpeg's readers raise anything
        said = str(error).partition(":")[0] if isinstance(error, av.error.FFmpegError) else type(error).__name__
        raise BadClip(f"the {kind} cannot be read: {' '.join(said.split())}") from error


def _reader(known: Signature | None, data: bytes) -> str | None:
    """Return FFmpeg's reader for a file that is all in one piece; others, of play lists and sessions, would open addresses."""
    if known is not None:
        return _READERS.get(known.name)
    return _READERS["MP4"] if data[4:8] in _BOXES else None


def _facts(container: "InputContainer", name: str | None, size: int, kind: str) -> Facts:
    streams = container.streams.video if kind == "video" else container.streams.audio
    if not streams:
        raise BadClip(f"the file holds no {kind}")
    stream: Any = streams[0]
    packets = sum(1 for packet in container.demux(stream) if packet.size)
    if not packets or (stream.frames and packets < stream.frames):
        raise BadClip(f"the {kind} is cut short")
    seconds = _length(container, stream)
    if kind == "audio":
        return Facts(name or container.format.name, size, seconds=seconds)
    width, height = _seen(container, stream)
    rate = float(stream.average_rate) if stream.average_rate else None
    return Facts(name or container.format.name, size, width, height, seconds, rate)


def _length(container: "InputContainer", stream: Any) -> float:
    if stream.duration:
        return round(float(stream.duration * stream.time_base), 3)
    return round((container.duration or 0) / 1_000_000, 3)


def _seen(container: "InputContainer", stream: Any) -> tuple[int, int]:
    """Return width and height as a viewer sees them: a phone's upright video is stored lying down."""
    container.seek(0)
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": _NOTHING_ELSE["max_pixels"]}
    packets = islice(container.demux(stream), _PACKETS_OF_A_FRAME)
    frame: Any = next((frame for packet in packets for frame in packet.decode()), None)
    if frame is None:
        raise BadClip("the video cannot be read: it shows no picture")
    turned = abs(getattr(frame, "rotation", 0) or 0) % 180 == 90
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def _asked(host: str, path: str, query: str) -> Clip:
    """Return the clip of a path and a query.

    Raises:
        ValueError: one that is not made; the message says what would be.
    """
    given = parse_qsl(query, keep_blank_values=True)
    options = dict(given)
    unknown = next((name for name in options if name not in _OPTIONS), None)
    if unknown is not None:
        raise ValueError(f"option {unknown!r} is not known; there are {', '.join(_OPTIONS)}")
    if host == AUDIO_HOST:
        match = _AUDIO.fullmatch(path)
        if match is None:
            raise ValueError("no such sound; ask for one as /5s.wav")
        return _with(Clip(_seconds(match[1]), format="wav"), options)
    match = _VIDEO.fullmatch(path)
    if match is None:
        raise ValueError("no such video; ask for one as /1280x720-8s.mp4")
    sides = int(match[1]), int(match[2])
    if any(not 2 <= side <= _LONGEST_SIDE or side % 2 for side in sides):
        raise ValueError(f"each side of a video has an even number of pixels from 2 to {_LONGEST_SIDE}")
    name = options.get("as", match[4].lower())
    if name not in _CONTAINERS:
        raise ValueError(f"format {name!r}: use one of {', '.join(_CONTAINERS)}")
    return _with(Clip(_seconds(match[3]), *sides, name), options)


def _with(clip: Clip, options: dict[str, str]) -> Clip:
    number = _number(options)
    status = None if options.get("status", "200") == "200" else number("status", 400, 599)
    return Clip(
        clip.seconds,
        clip.width,
        clip.height,
        clip.format,
        fps=number("fps", 1, 120) if "fps" in options else _FPS,
        padded_to=number("bytes", 1, _MOST_BYTES) if "bytes" in options else None,
        truncated="truncated" in options,
        page_status=status,
    )


def _number(options: dict[str, str]) -> Callable[[str, int, int], int]:
    def number(name: str, low: int, high: int) -> int:
        text = options[name]
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"{name}={text!r}: a whole number from {low} to {high}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    if not 0 < float(text) <= _LONGEST_SECONDS:
        raise ValueError(f"a clip has more than 0 and at most {_LONGEST_SECONDS} seconds")
    return float(text)


def _video(clip: Clip) -> bytes:
    """The file of a still picture: one second is encoded and repeated."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=_CONTAINERS[clip.format], container_options={"fflags": "+bitexact"}) as container:
        options = {"preset": "ultrafast", "bf": "0", "threads": "1", "flags": "+bitexact", "g": str(clip.fps)}
        stream = container.add_stream("libx264", rate=clip.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        picture = pictures.paint(clip.width, clip.height, clip.width + clip.height)
        frame = av.VideoFrame.from_bytes(picture.convert("RGBA").tobytes(), clip.width, clip.height).reformat(
            format="yuv420p"
        )
        count = max(1, round(clip.seconds * clip.fps))
        second = []
        for number in range(min(count, clip.fps)):
            frame.pts = number
            second += stream.encode(frame)
        second += stream.encode(None)
        for number in range(count):
            source = second[number % clip.fps]
            packet = av.Packet(bytes(source))
            packet.stream, packet.time_base, packet.is_keyframe = stream, source.time_base, source.is_keyframe
            ticks = round(1 / (clip.fps * source.time_base))
            packet.pts = packet.dts = number * ticks
            packet.duration = ticks
            container.mux(packet)
    return file.getvalue()


def _sound(clip: Clip) -> bytes:
    """A quiet file of that length."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(_SAMPLES)
        sound.writeframes(b"\x80" * round(clip.seconds * _SAMPLES))
    return file.getvalue()
