"""Videos: a real, playable MP4 made from a first frame by a camera that slowly moves into it.

The bytes depend on the `VideoSpec` alone, so a link can be served by any process and still answer the same file.
Pillow and PyAV are imported with the first video, because a server that is only started should be ready at once.
"""

import hashlib
import io
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kling_mock.media import pictures
from kling_mock.media.cache import ByteCache

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image as Picture

# Half of what the service's own videos have: a slow camera is still smooth, and a first download waits half as long.
FRAMES_PER_SECOND = 12

# A key frame at least this often (seconds), so that a player can jump.
KEY_FRAME_EVERY = 5

# Share of the picture's width that the camera loses in a second: slow enough to be calm, and after the shortest video
# the last frame is still plainly another one.
ZOOM_PER_SECOND = 0.025

# Measured on this house's own pictures and on noise: `superfast` without B-frames is the cheapest setting that keeps
# a moving picture small. One thread, because the number of threads changes the bytes.
_ENCODER = {"preset": "superfast", "crf": "25", "bf": "0", "threads": "1", "flags": "+bitexact"}

# H.273 number of BT.709, the colours of high definition, for primaries, transfer and matrix alike.
_BT709 = 1

# What the index at the head of the file (`moov`) takes at most: its fixed boxes, and per frame its size, its offset
# and its place among the key frames.
_INDEX_BYTES = 4096
_INDEX_BYTES_PER_FRAME = 24


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """All that a video depends on.

    *seconds*: its exact length. *short_side*: pixels of its shorter side, an even number. *frame*: file of the first
    frame, or None for a drawn one. *width*, *height*: pixels of the frame as a viewer sees it, which give the ratio.
    *seed*: where the camera goes, and what is drawn where there is no frame.
    """

    seconds: int
    short_side: int
    frame: bytes | None
    width: int
    height: int
    seed: int


class Videos:
    """Rendered videos, kept within a bound of bytes; two downloads that want the same one wait for one rendering."""

    def __init__(self, kept_bytes: int) -> None:
        """Keep at most *kept_bytes* of files."""
        self._cache: ByteCache[Hashable, bytes] = ByteCache(kept_bytes, len)

    def video(self, key: Hashable, spec: VideoSpec) -> bytes:
        """The MP4 file of *spec*, which the caller knows as *key*. Raises what `render` raises."""
        return self._cache.get(key, lambda: render(spec))


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
    """The MP4 file of *spec*: H.264, yuv420p, no sound, its index before its data; the same bytes in every process.

    The first image is the whole first frame. Raises ValueError for a length or size that no video can have, and what
    Pillow raises for a frame that is no picture; frames that passed `images.inspect` are.
    """
    import av

    if spec.seconds < 1:
        raise ValueError(f"a video lasts a second or more, not {spec.seconds}")
    size = size_of(spec.width, spec.height, spec.short_side)
    count = spec.seconds * FRAMES_PER_SECOND
    file = io.BytesIO()
    # `movflags=+faststart` would reopen the file by name to move its index; space kept free ahead needs no name.
    index = {"fflags": "+bitexact", "moov_size": str(_INDEX_BYTES + _INDEX_BYTES_PER_FRAME * count)}
    with av.open(file, "w", format="mp4", container_options=index) as container:
        options = {**_ENCODER, "g": str(KEY_FRAME_EVERY * FRAMES_PER_SECOND)}
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.color_range = av.video.reformatter.ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        for frame in _frames(spec, size, count):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _frames(spec: VideoSpec, size: tuple[int, int], count: int) -> Iterator["VideoFrame"]:
    """*count* images of the camera's way into the first frame, ready for the encoder."""
    from av import VideoFrame

    planes = _planes(_first_image(spec, size))
    for number, box in enumerate(_boxes(spec, count)):
        frame = VideoFrame(*size, "yuv420p")
        for source, target in zip(planes, frame.planes, strict=True):
            target.update(_zoomed(source, (target.width, target.height), box, target.line_size))
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


def _boxes(spec: VideoSpec, count: int) -> Iterator[tuple[float, float, float, float]]:
    """What the camera sees in each image: left, upper, right and lower bound as shares of the frame.

    It begins with the whole and moves, evenly, towards a point that the seed chooses away from the edges.
    """
    digest = hashlib.blake2b(str(spec.seed).encode(), digest_size=2).digest()
    aim_x, aim_y = (0.2 + 0.6 * byte / 255 for byte in digest)
    for number in range(count):
        lost = 1 - (1 - ZOOM_PER_SECOND) ** (number / FRAMES_PER_SECOND)
        left, upper = lost * aim_x, lost * aim_y
        yield left, upper, left + 1 - lost, upper + 1 - lost


def _zoomed(plane: "Picture", size: tuple[int, int], box: tuple[float, float, float, float], line_bytes: int) -> bytes:
    """The part of *plane* in *box* at *size*, between pixels where the camera stands between pixels.

    Each line is padded to *line_bytes*, as the encoder wants it.
    """
    from PIL import Image

    width, height = plane.size
    left, upper, right, lower = box
    part = (left * width, upper * height, min(right, 1.0) * width, min(lower, 1.0) * height)
    return plane.resize(size, Image.Resampling.BILINEAR, box=part).tobytes("raw", "L", line_bytes, 1)
