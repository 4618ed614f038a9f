"""The account's clock, as the kit knows it: its own where there is none to steer, else what control calls said."""

import threading
from typing import Literal

from kling_contract.driving.control import Control
from kling_contract.history.events import ClockMove, Moment, Recorder, wall


class AccountClock:
    """Reads and moves one account's clock. Thread-safe; moves are recorded.

    Without a control protocol it is this machine's clock and cannot be moved.
    """

    def __init__(self, recorder: Recorder, control: Control | None = None, *, who: str = "", case: str = "") -> None:
        self._recorder, self._control = recorder, control
        self._who, self._case = who, case
        self._lock = threading.Lock()
        self._mode: Literal["real", "scaled", "manual"] = "real"
        self._rate = 1.0
        self._base, self._read = 0.0, 0.0
        self._since: float | None = None
        if control is not None:
            self._base, self._read = control.now(), recorder.mono()

    def moment(self) -> Moment:
        """What the clock shows now."""
        if self._control is None:
            return wall()
        with self._lock:
            passed = (self._recorder.mono() - self._read) * self._rate if self._mode != "manual" else 0.0
            return Moment(self._base + passed, self._since)

    def stop(self) -> None:
        """Make it a manual clock, which stands still."""
        self._set("manual")

    def scale(self, rate: float) -> None:
        """Let it run *rate* times as fast as real time."""
        self._set("scaled", rate)

    def run(self) -> None:
        """Let it run as real time does."""
        self._set("real")

    def _set(self, mode: Literal["real", "scaled", "manual"], rate: float = 1.0) -> None:
        control = self._steered()
        before = self.moment().at
        now = control.set_clock(mode, rate)
        with self._lock:
            self._mode, self._rate = mode, rate if mode == "scaled" else 1.0
            self._base, self._read, self._since = now, self._recorder.mono(), None
        self._record(before, now)

    def advance(self, seconds: float) -> None:
        """Move a manual clock forward; what falls due on the way has happened when this returns."""
        control = self._steered()
        with self._lock:
            before = self._base
            self._since, self._base = before, before + seconds
        now = before + seconds
        try:
            now = control.advance(seconds)
        finally:
            with self._lock:
                self._base, self._since = now, None
        self._record(before, now)

    def _steered(self) -> Control:
        if self._control is None:
            raise RuntimeError("this clock cannot be moved")
        return self._control

    def _record(self, before: float, after: float) -> None:
        self._recorder.add(
            ClockMove(
                mode=self._mode, rate=self._rate, before=before, after=after, who=self._who, case=self._case, at=after
            )
        )
