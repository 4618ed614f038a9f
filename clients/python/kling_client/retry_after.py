"""The Retry-After header, in both of its forms."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from kling_client.settings import LONGEST
from kling_client.timing import Clock


def retry_after(headers: Mapping[str, str], now: Clock) -> float | None:
    """Seconds that the service asks to wait, None where it does not say.

    A date is measured against the answer's own Date header, so that a wrong clock here does no harm.

    Args:
        headers: the answer's, looked up without regard to case.
        now: Unix seconds, asked only when the answer has no Date.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        # However long the number: a wait beyond every deadline is one as well.
        return min(float(value), LONGEST)
    until = _date(value)
    if until is None:
        return None
    sent = _date(headers.get("Date", ""))
    return max(0.0, until - (sent if sent is not None else now()))


def _date(value: str) -> float | None:
    """An HTTP date as Unix seconds. A date without a zone is UTC, as HTTP means it."""
    try:
        moment = parsedate_to_datetime(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
