"""What a real decoder finds in a downloaded file."""

import io

from kling_contract.history.events import VideoFacts


def decode(data: bytes) -> VideoFacts:
    """Seconds and pixels of the first video stream of *data*; `error` when its first frame cannot be decoded, or some are missing."""
    import av  # takes a tenth of a second to import, and few commands need it

    try:
        with av.open(io.BytesIO(data), mode="r") as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            seconds = container.duration / av.time_base if container.duration else 0.0
            if stream.duration and stream.time_base:
                seconds = float(stream.duration * stream.time_base)
            return VideoFacts(
                duration=seconds, width=frame.width, height=frame.height, error=_missing(data, stream.frames)
            )
    except (av.FFmpegError, IndexError, StopIteration, ValueError) as error:
        return VideoFacts(error=f"{type(error).__name__}: {error}"[:200])


def _missing(data: bytes, frames: int) -> str:
    """What the index of *data* promises and the bytes do not hold; empty when all is there, or nothing is promised."""
    import av

    with av.open(io.BytesIO(data), mode="r") as container:
        held = sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
    return f"{held} of {frames} frames" if held < frames else ""
