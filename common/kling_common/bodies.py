"""Bodies as the fake and the kit both write and read them: JSON, and what is too large to be held."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

LAST_MOMENT = 253402300799.0  # the end of the year 9999, the last one that ISO 8601 and Python's dates can say

_PIECE = b"." * (64 * 1024)


@dataclass(frozen=True, slots=True)
class Padded:
    """A body with so many dots between its start and its end, which are made while it is sent."""

    start: bytes
    padding: int
    end: bytes

    def __len__(self) -> int:
        return len(self.start) + self.padding + len(self.end)

    def __iter__(self) -> Iterator[bytes]:
        yield self.start
        for at in range(0, self.padding, len(_PIECE)):
            yield _PIECE[: self.padding - at]
        yield self.end

    def __bytes__(self) -> bytes:
        return b"".join(self)


Payload = bytes | Padded
"""What is sent: bytes, or pieces of them one after the other."""


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
