"""Result videos: real H.264 in MP4 of the asked length, at the asked quality, in the first frame's ratio.

PyAV is the one import from outside the standard library, and only for these bytes.
"""

import io
import threading
from functools import lru_cache

FRAMES_A_SECOND = 4  # plays for exactly the asked seconds and stays cheap to encode

_one_at_a_time = threading.Lock()


def video_size(frame: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Width and height with the ratio of `frame` and `short_side` pixels on the shorter side; even, as H.264 wants."""
    width, height = frame
    scale = short_side / min(width, height)
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def video(width: int, height: int, seconds: int) -> bytes:
    """The MP4; the same bytes for the same arguments as long as the process lives."""
    with _one_at_a_time:
        return _encode(width, height, seconds)


@lru_cache(maxsize=64)
def _encode(width: int, height: int, seconds: int) -> bytes:
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        count = seconds * FRAMES_A_SECOND
        for number in range(count):
            frame = av.VideoFrame(width, height, "yuv420p")
            shades = (40 + 170 * number // count, 110, 150)
            for plane, shade in zip(frame.planes, shades, strict=True):
                plane.update(bytes([shade]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()
