"""The only time. An account's clock is real, scaled or manual; everything it shows or waits for is read from here."""

import threading
import time
from dataclasses import dataclass
from typing import Literal

from kling_mock.core.moments import after, moment

Mode = Literal["real", "scaled", "manual"]


def monotonic() -> float:
    """Seconds for measuring real waits, such as a receiver's timeout."""
    return time.monotonic()


def wall() -> float:
    """Real Unix seconds."""
    return time.time()


def pause(seconds: float) -> None:
    """Wait in real time."""
    time.sleep(seconds)


class NotManual(Exception):
    """Only a manual clock can be advanced."""


def not_manual(mode: str) -> str:
    """Return what is wrong with advancing a clock of this *mode*, and what to do first."""
    return f'the clock is {mode}; only a manual clock can be advanced: run "kling-mock freeze" first, or start with --clock manual'


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clock shows: `now` in Unix seconds, `rate` in its seconds a real second (0 when manual)."""

    now: float
    mode: Mode
    rate: float


class Clock:
    """One account's time in Unix seconds. Changing the mode never moves it back."""

    def __init__(self, mode: Mode = "real", rate: float = 1.0, now: float | None = None) -> None:
        self._lock = threading.Lock()
        self.mode: Mode = mode
        real = wall()
        self._run: _Run = (_base(mode, real if now is None else now), real, _rate(mode, rate))
        self._steady = True

    @classmethod
    def at(cls, mode: Mode, base: float, began: float, rate: float) -> "Clock":
        """Return a clock that showed *base* when the real time was *began*, and goes at *rate*."""
        clock = cls(mode, rate or 1.0, base)
        clock._run = (base, began, rate)
        return clock

    @property
    def run(self) -> tuple[float, float, float]:
        """What it showed, the real time at which it did, and its rate: enough to make it again with `at`."""
        return self._run

    def now(self) -> float:
        """Unix seconds on this clock."""
        if self._steady:
            run = self._run
            base, began, rate = run  # `_shown`, spelled out, since each request asks
            now = base if rate == 0.0 else base + max(0.0, wall() - began) * rate
            # Else it was set meanwhile, and this may lie ahead of what it shows now.
            if self._steady and self._run is run:
                return now
        with self._lock:
            return _shown(self._run)

    def reading(self) -> Reading:
        """Time, mode and rate together."""
        with self._lock:
            return Reading(_shown(self._run), self.mode, self._run[2])

    def set(self, mode: Mode, rate: float = 1.0) -> None:
        """Go on from where it is, in another mode."""
        with self._lock:
            self._steady = False
            real = wall()
            self._run = (_base(mode, _shown(self._run, real)), real, _rate(mode, rate))
            self.mode = mode
            self._steady = True

    def move_to(self, at: float) -> None:
        """Set a manual clock forward to the moment *at*; one that is already past it stays.

        Raises:
            NotManual: the clock runs by itself.
        """
        with self._lock:
            if self.mode != "manual":
                raise NotManual(not_manual(self.mode))
            base, real, rate = self._run
            self._run = (max(base, moment(at)), real, rate)

    def fork(self) -> "Clock":
        """A clock of its own that starts where this one is."""
        return Clock(self.mode, self._run[2] or 1.0, self.now())

    def real_seconds(self, span: float) -> float:
        """How long *span* of this clock's seconds takes when it is really waited for; a manual clock waits in real time."""
        return span / (self._run[2] or 1.0)

    def real_wait(self, moment: float) -> float | None:
        """Real seconds until the clock shows *moment*; 0 when it already does, None when it never will by itself."""
        left = moment - self.now()
        if left <= 0:
            return 0.0
        rate = self._run[2]
        return left / rate if rate else None


_Run = tuple[float, float, float]
"""What a clock showed, the real time at which it did, and its rate: read together, replaced whole."""


def _shown(run: _Run, real: float | None = None) -> float:
    base, began, rate = run
    return base if rate == 0.0 else base + max(0.0, (wall() if real is None else real) - began) * rate


def _base(mode: Mode, now: float) -> float:
    """Return what a clock begins at, which is never before *now*; one that is moved by hand stands at whole microseconds."""
    if mode != "manual":
        return now
    near = moment(now)
    return near if near >= now else after(now, 1e-6)


def _rate(mode: Mode, rate: float) -> float:
    return {"real": 1.0, "manual": 0.0}.get(mode, rate)
