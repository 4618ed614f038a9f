"""Retry-After and other dates of HTTP headers, as judges and the guard read them."""

from datetime import UTC
from email.utils import parsedate_to_datetime


def date_of(value: str) -> float | None:
    """Unix seconds of an HTTP date; None where it is not a date."""
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def wait_until(value: str | None, now: float) -> float | None:
    """Unix seconds until which a Retry-After that came at *now* asks to wait, in seconds or by a date; None where it says neither."""
    text = (value or "").strip()
    return now + float(text) if text.isascii() and text.isdigit() else date_of(text)
