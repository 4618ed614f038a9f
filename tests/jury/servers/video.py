"""Videos of any length, at any quality, in any ratio: real H.264 in MP4, few frames, made once."""

import io
import threading
from functools import lru_cache

_LOCK = threading.Lock()


def video(frame: tuple[int, int], side: int, seconds: int) -> bytes:
    """The bytes of one, the same for the same arguments."""
    with _LOCK:
        return _made(frame, side, seconds)


@lru_cache(maxsize=64)
def _made(frame: tuple[int, int], side: int, seconds: int) -> bytes:
    import av

    width, height = (2 * round(length * side / min(frame) / 2) for length in frame)
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=2, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(2 * seconds):
            picture = av.VideoFrame(width, height, "yuv420p")
            for plane, shade in zip(picture.planes, (60 + 5 * number, 120, 130), strict=True):
                plane.update(bytes([shade % 255]) * plane.buffer_size)
            picture.pts = number
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return target.getvalue()
