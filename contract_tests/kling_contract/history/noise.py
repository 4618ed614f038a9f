"""How late this machine is while a run lasts: what any judge of lateness must forgive."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kling_contract.history.events import Recorder
from kling_contract.history.labels import Topic

_SAMPLE = 0.05
"""Seconds of one wait that is measured."""
_TWICE = 2
"""A correct program may be late twice between two observations: when it wakes, and when it acts."""


@dataclass(slots=True)
class Meter:
    """What was measured so far."""

    least: float
    worst: float = 0.0

    @property
    def seconds(self) -> float:
        """Twice the worst lateness of a short wait."""
        return max(self.least, _TWICE * self.worst)


@contextmanager
def measured(recorder: Recorder, least: float = 0.0) -> Iterator[Meter]:
    """Measure while the block runs, then note twice the worst lateness of a short wait, at least *least* seconds."""
    done, meter = threading.Event(), Meter(least)

    def sample() -> None:
        while not done.is_set():
            began = recorder.mono()
            done.wait(_SAMPLE)
            meter.worst = max(meter.worst, recorder.mono() - began - _SAMPLE)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        done.set()
        thread.join()
        recorder.note(Topic.NOISE, seconds=round(meter.seconds, 4))
