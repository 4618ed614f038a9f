"""JSON as the fake and the kit both write and read it."""

from datetime import UTC, datetime
from typing import Any

import orjson

LAST_MOMENT = 253402300799.0  # the end of the year 9999, the last one that ISO 8601 and Python's dates can say


def iso(at: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC, to the millisecond; a moment outside of the years 1970 to 9999 is cut to them.

    >>> iso(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    moment = datetime.fromtimestamp(min(max(at, 0.0), LAST_MOMENT), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_or_none(body: bytes | str) -> Any:
    """Return the decoded JSON; None where *body* is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def body_bytes(body: Any) -> bytes:
    """Return the bytes of a body that a journal shows as JSON, as text, or as None for an empty one."""
    if body is None:
        return b""
    return body.encode(errors="replace") if isinstance(body, str) else orjson.dumps(body)
