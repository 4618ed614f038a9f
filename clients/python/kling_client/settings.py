"""Checks of the numbers that a caller sets: a wait, a bound, a number of attempts."""

from kling_client.errors import BadSetting

LONGEST = 1e9
"""Seconds: the longest time that can be set, some thirty years. Every timer of the system takes it."""


def check_seconds(name: str, value: float, *, zero: bool = False) -> float:
    """Return *value* if it can be a time in seconds.

    Raises:
        BadSetting: it is not a number, not above 0 (0 is fine with *zero*), or above `LONGEST`.
    """
    least = "0" if zero else "more than 0"
    return check_number(name, value, 0.0, LONGEST, f"must be {least} to {LONGEST:g} seconds", above=not zero)


def check_number(name: str, value: float, least: float, most: float, rule: str, *, above: bool = False) -> float:
    """Return *value* if it is a number from *least* (or above it) to *most*.

    Raises:
        BadSetting: it is not; the message states *rule*.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    if not fits or (above and value == least):
        raise BadSetting(f"{name} {rule}, not {value!r:.40}")
    return value


def check_whole(name: str, value: int, least: int) -> int:
    """Return *value* if it is a whole number of at least *least*.

    Raises:
        BadSetting: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadSetting(f"{name} must be a whole number of at least {least}, not {value!r:.40}")
    return value
