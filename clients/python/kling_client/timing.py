"""The only place of the client that reads time, waits or draws: everything else takes these as parameters."""

import random
import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds from any origin; never goes back."""
Sleep = Callable[[float], None]
"""Waits for so many seconds."""

monotonic: Clock = time.monotonic  # noqa: TID251 - the client's default clock; tests inject another
wall: Clock = time.time  # noqa: TID251 - Unix seconds, for HTTP dates only
sleep: Sleep = time.sleep  # noqa: TID251 - the client's default sleep


def dice() -> random.Random:
    """A source of jitter, different in every process."""
    return random.SystemRandom()
