"""Moments of a clock, in Unix seconds to the microsecond, so that a sum of steps is the moment that it says.

Floating-point seconds of this size are 0.2 microseconds apart: ten steps of 0.1 s would end a little before the second that is due.
"""

_DIGITS = 6
_NEAR = 1e-5
_PARTS = 10.0**_DIGITS
_EXACT, _LARGE = 2.0**20, 2.0**52


def moment(seconds: float) -> float:
    """Return *seconds* since 1970 to the microsecond, as `round` does, in half of its time; infinity stays.

    From 2^20 s on the digits behind the point have 32 bits at most, so a million times them is exact, and so is the nearest whole number;
    what is added up again is rounded once. `round` makes decimal digits of the whole number, and reads them again.
    """
    if not _EXACT <= seconds < _LARGE:
        return round(seconds, _DIGITS)
    whole = int(seconds)
    return whole + round((seconds - whole) * _PARTS) / _PARTS


def after(start: float, seconds: float) -> float:
    """Return the moment *seconds* after *start*."""
    return moment(start + seconds)


def reached(now: float, start: float, seconds: float) -> bool:
    """Return whether *now* is the moment *seconds* after *start*, or later.

    Rounding takes longer than all else in a read of a task, and decides only about the last microsecond.
    """
    exact = start + seconds
    if not -_NEAR < now - exact < _NEAR:
        return now >= exact
    return now >= after(start, seconds)
