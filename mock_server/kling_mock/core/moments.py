"""Moments of a clock, in Unix seconds to the microsecond, so that a sum of steps is the moment that it says.

Floating-point seconds of this size are 0.2 microseconds apart: ten steps of 0.1 s would end a little before the second that is due.
"""

_DIGITS = 6
_NEAR = 1e-5


def moment(seconds: float) -> float:
    """Return *seconds* since 1970 to the microsecond; infinity stays."""
    return round(seconds, _DIGITS)


def after(start: float, seconds: float) -> float:
    """Return the moment *seconds* after *start*."""
    return round(start + seconds, _DIGITS)


def reached(now: float, start: float, seconds: float) -> bool:
    """Return whether *now* is the moment *seconds* after *start*, or later.

    Rounding takes longer than all else in a read of a task, and decides only about the last microsecond.
    """
    exact = start + seconds
    if not -_NEAR < now - exact < _NEAR:
        return now >= exact
    return now >= after(start, seconds)
