"""Result videos that a decoder opens: PyAV, and nothing else from outside the standard library."""

import io
import threading
from functools import lru_cache

_SIDES = {"720p": (1280, 720), "1080p": (1920, 1080)}
_alone = threading.Lock()


def film(seconds: int, quality: str) -> bytes:
    """An MP4 of so many seconds; the same bytes each time."""
    with _alone:
        return _made(min(seconds, 20), quality)


@lru_cache(maxsize=16)
def _made(seconds: int, quality: str) -> bytes:
    import av

    width, height = _SIDES[quality]
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=2, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(2 * seconds):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([100]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()
