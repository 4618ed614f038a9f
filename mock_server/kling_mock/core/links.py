"""Links that sign what they open and when they die, so that nothing has to be stored for them.

A link is `ORIGIN/files/ACCOUNT/TASK.mp4?expires=UNIX&signature=HEX`. It works without a key; whoever changes the time breaks the seal.
"""

import hmac
from dataclasses import dataclass
from math import isfinite

from kling_mock.core.moments import after


class BadLink(ValueError):
    """The link was not made here: its signature or its time does not fit."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link to one task's video; times in Unix seconds of the account's clock."""

    url: str
    issued_at: float
    expires_at: float

    def expired(self, now: float) -> bool:
        """Whether the link is dead at *now*; it lives up to, not including, its last second."""
        return now >= self.expires_at


def issue(origin: str, account: str, task_id: str, issued_at: float, lifetime: float, secret: bytes) -> Link:
    """The link to a task's video; the same facts give the same link."""
    expires = after(issued_at, lifetime)
    path = f"/files/{account}/{task_id}.mp4"
    return Link(
        f"{origin}{path}?expires={expires!r}&signature={_seal(secret, path, repr(expires))}", issued_at, expires
    )


def check(path: str, expires: str, signature: str, secret: bytes) -> float:
    """Return when the link that leads to *path* dies, in Unix seconds; whether that has passed is for the caller.

    Raises:
        BadLink: the signature does not fit the path and the time, or the time is not a finite number.
    """
    if not hmac.compare_digest(_seal(secret, path, expires).encode(), signature.encode("utf-8", "replace")):
        raise BadLink("the link's signature does not fit")
    dies = float(expires)
    if not isfinite(dies):
        raise BadLink("the link has no time")
    return dies


def _seal(secret: bytes, path: str, expires: str) -> str:
    return hmac.new(secret, f"{path}\n{expires}".encode("utf-8", "replace"), "sha256").hexdigest()[:32]
