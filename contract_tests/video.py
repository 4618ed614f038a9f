"""What a real decoder finds in a downloaded file."""

import io

from contract_tests.history import VideoFacts


def decode(data: bytes) -> VideoFacts:
    """Seconds and pixels of the first video stream of *data*, its first frame decoded; `error` when that fails."""
    import av  # takes a tenth of a second to import, and few commands need it

    try:
        with av.open(io.BytesIO(data), mode="r") as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream))
            seconds = container.duration / av.time_base if container.duration else 0.0
            if stream.duration and stream.time_base:
                seconds = float(stream.duration * stream.time_base)
            return VideoFacts(duration=seconds, width=frame.width, height=frame.height)
    except (av.FFmpegError, IndexError, StopIteration, ValueError) as error:
        return VideoFacts(error=f"{type(error).__name__}: {error}"[:200])
