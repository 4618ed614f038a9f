"""Videos: a real, playable MP4 made from a first frame by a camera that slowly moves into it and back.

One cycle of the camera is encoded; a video repeats it for as long as it lasts, so a long one costs hardly more than a short one. What is
costly depends on the frame, the size and the length; tasks that share those share the work, and each file still differs by its *tag*.
The bytes depend on the `VideoSpec` alone, so a link can be served by any process and still lead to the same file.
Pillow and PyAV are imported with the first video, because a server that is only started should be ready at once.
"""

import ctypes
import hashlib
import io
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kling_mock.media import pictures
from kling_mock.media.cache import ByteCache

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from PIL.Image import Image as Picture

# A third of what the service's own videos have: a slow camera is still smooth, and a first download waits a third as long.
FRAMES_PER_SECOND = 8

# The shorter side under `--videos tiny`: 16:9 is exact at 128x72.
TINY = 72

# The camera is back at the whole frame after this many seconds; each cycle begins with a key frame, so that a player can jump.
CYCLE = 2
_IMAGES = CYCLE * FRAMES_PER_SECOND

# Share of the picture's width that the camera loses in a second: slow enough to be calm, and half a cycle on the image is
# still plainly another one.
ZOOM_PER_SECOND = 0.03

# Measured on drawn pictures and on noise: without B-frames, because a cycle is cut where the video ends. One thread, because the
# number of threads changes the bytes.
_ENCODER = {"preset": "ultrafast", "crf": "25", "bf": "0", "threads": "1", "flags": "+bitexact", "g": str(_IMAGES)}

# H.273 number of BT.709, the colours of high definition, for primaries, transfer and matrix alike.
_BT709 = 1

# What the index at the head of the file (`moov`) takes at most: its fixed boxes, and per frame its size, its offset
# and its place among the key frames.
_INDEX_BYTES = 4096
_INDEX_BYTES_PER_FRAME = 24

_TAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """All that a video depends on.

    *seconds*: its exact length. *short_side*: pixels of its shorter side, an even number. *frame*: file of the first
    frame, or None for a drawn one. *width*, *height*: pixels of the frame as a viewer sees it, which give the ratio.
    *seed*: where the camera goes, and what is drawn where there is no frame. *tag*: makes two files differ that show the same.
    """

    seconds: float
    short_side: int
    frame: bytes | None
    width: int
    height: int
    seed: int
    tag: int = 0


class Videos:
    """Rendered videos, kept within a bound of bytes; two downloads that want the same one wait for one rendering."""

    def __init__(self, kept_bytes: int) -> None:
        """Keep at most *kept_bytes* of files."""
        self._cache: ByteCache[Hashable, bytes] = ByteCache(kept_bytes, len)

    def video(self, key: Hashable, spec: VideoSpec, rendered: Callable[[], object] = lambda: None) -> bytes:
        """Return the MP4 file of *spec*; *key* stands for all of it but its tag. Calls *rendered* when it had to be made first.

        Raises what `render` raises.
        """

        def make() -> bytes:
            essence = _essence(spec)
            rendered()
            return essence

        return self._cache.get(key, make) + _tagged(spec.tag)


def size_of(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height of a video from a frame of *width* x *height*: the shorter side exactly *short_side*.

    The other side keeps the frame's ratio, rounded to the nearest even number as yuv420p needs it. Raises ValueError
    for sizes that no video can have.
    """
    if min(width, height) < 1:
        raise ValueError(f"a frame of {width}x{height} pixels has no ratio")
    if short_side < 2 or short_side % 2:
        raise ValueError(f"the shorter side of a video is an even number of pixels, not {short_side}")
    short, long = sorted((width, height))
    long_side = 2 * ((short_side * long + short) // (2 * short))
    return (long_side, short_side) if width >= height else (short_side, long_side)


def render(spec: VideoSpec) -> bytes:
    """Return the MP4 file of *spec*: H.264, yuv420p, no sound, its index before its data; the same bytes in every process.

    The first image is the whole first frame. Raises ValueError for a length or size that no video can have, and what
    Pillow raises for a frame that is no picture; frames that passed `images.inspect` are.
    """
    return _essence(spec) + _tagged(spec.tag)


def _tagged(tag: int) -> bytes:
    """A box that players skip (ISO 14496-12, `free`): it follows the video and makes the file one task's own."""
    content = tag.to_bytes(_TAG_BYTES, signed=True)
    return (8 + len(content)).to_bytes(4) + b"free" + content


def _essence(spec: VideoSpec) -> bytes:
    """The file without its tag."""
    import av

    if spec.seconds < 1:
        raise ValueError(f"a video lasts a second or more, not {spec.seconds}")
    size = size_of(spec.width, spec.height, spec.short_side)
    count = round(spec.seconds * FRAMES_PER_SECOND)
    file = io.BytesIO()
    # `movflags=+faststart` would reopen the file by name to move its index; space kept free ahead needs no name.
    index = {"fflags": "+bitexact", "moov_size": str(_INDEX_BYTES + _INDEX_BYTES_PER_FRAME * count)}
    with av.open(file, "w", format="mp4", container_options=index) as container:
        stream = _stream(container, size)
        cycle = [packet for frame in _frames(spec, size, min(count, _IMAGES)) for packet in stream.encode(frame)]
        cycle += stream.encode(None)
        for number in range(count):
            container.mux(_again(cycle[number % _IMAGES], number, stream))
    del cycle
    _give_memory_back()
    return file.getvalue()


def _stream(container: "OutputContainer", size: tuple[int, int]) -> "VideoStream":
    """The one track of the file."""
    from av.video.reformatter import ColorRange

    stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_ENCODER)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.color_range = ColorRange.MPEG
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    return stream


def _again(packet: "Packet[Any]", number: int, stream: "VideoStream") -> "Packet[Any]":
    """An encoded image once more, as image *number* of the video."""
    from av import Packet

    copy = Packet(bytes(packet))
    copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, packet.is_keyframe
    ticks = round(1 / (FRAMES_PER_SECOND * packet.time_base))
    copy.pts = copy.dts = number * ticks
    copy.duration = ticks
    return copy


def _give_memory_back() -> None:
    """Return what the encoder has freed to the system; glibc would keep it. Other C libraries need nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _frames(spec: VideoSpec, size: tuple[int, int], count: int) -> Iterator["VideoFrame"]:
    """The first *count* images of the camera's way into the first frame and back, ready for the encoder."""
    from av.video.reformatter import Interpolation, VideoReformatter

    planes = _planes(_first_image(spec, size))
    reformatter = VideoReformatter()
    turned = _IMAGES // 2
    way_in = []
    for box in _boxes(spec, size, min(count, turned + 1)):
        part = _part(planes, box)
        way_in.append(
            reformatter.reformat(part, *size, interpolation=Interpolation.BICUBIC) if part.width < size[0] else part
        )
    for number in range(count):
        frame = way_in[min(number, _IMAGES - number)]
        frame.pts = number
        yield frame


def _first_image(spec: VideoSpec, size: tuple[int, int]) -> "Picture":
    """The first frame in the video's own size, or a drawn one."""
    from PIL import Image

    if spec.frame is None:
        return pictures.paint(*size, spec.seed)
    return pictures.upright(spec.frame, max(size)).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _planes(image: "Picture") -> list["Picture"]:
    """Brightness and the two colour planes of *image* in BT.709, the colour planes at half its size.

    Done once: the camera then scales the planes themselves, and no image of the video is converted on its own.
    """
    from av import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace
    from PIL import Image

    rgba = image.convert("RGBA").tobytes()
    frame = VideoFrame.from_bytes(rgba, *image.size).reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    return [
        Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
        for plane in frame.planes
    ]


def _boxes(spec: VideoSpec, size: tuple[int, int], count: int) -> Iterator[tuple[int, int, int, int]]:
    """What the camera sees in each image: left, upper, right and lower bound in pixels, even numbers as yuv420p needs them.

    It begins with the whole and moves, evenly, towards a point that the seed chooses away from the edges.
    """
    digest = hashlib.blake2b(str(spec.seed).encode(), digest_size=2).digest()
    aims = [0.2 + 0.6 * byte / 255 for byte in digest]
    for number in range(count):
        lost = 1 - (1 - ZOOM_PER_SECOND) ** (number / FRAMES_PER_SECOND)
        left, upper = (2 * round(lost * aim * side / 2) for aim, side in zip(aims, size, strict=True))
        width, height = (2 * max(1, round((1 - lost) * side / 2)) for side in size)
        yield left, upper, min(left + width, size[0]), min(upper + height, size[1])


def _part(planes: list["Picture"], box: tuple[int, int, int, int]) -> "VideoFrame":
    """The part of the picture in *box*, its own size."""
    from av import VideoFrame

    frame = VideoFrame(box[2] - box[0], box[3] - box[1], "yuv420p")
    for source, target, shrunk in zip(planes, frame.planes, (1, 2, 2), strict=True):
        left, upper, right, lower = (bound // shrunk for bound in box)
        # Each line is padded, as the encoder wants it.
        target.update(source.crop((left, upper, right, lower)).tobytes("raw", "L", target.line_size, 1))
    return frame
