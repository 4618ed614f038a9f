"""How late this machine is while a run lasts: what any judge of lateness must forgive."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kling_contract.history.events import Recorder
from kling_contract.history.labels import Topic

_SAMPLE = 0.05
"""Seconds of one wait that is measured."""
_TWICE = 2
"""A correct program may be late twice between two observations: when it wakes, and when it acts."""


@contextmanager
def measured(recorder: Recorder, least: float = 0.0) -> Iterator[None]:
    """Measure while the block runs, then note twice the worst lateness of a short wait, at least *least* seconds."""
    done, worst = threading.Event(), [0.0]

    def sample() -> None:
        while not done.is_set():
            began = recorder.mono()
            done.wait(_SAMPLE)
            worst[0] = max(worst[0], recorder.mono() - began - _SAMPLE)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        recorder.note(Topic.NOISE, seconds=round(max(least, _TWICE * worst[0]), 4))
