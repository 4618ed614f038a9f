"""What goes in and out of a store: an account as it stands, bytes, and the small records of what callers set up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kling_common.targets import IPAddress
from kling_mock.clock import Clock

Names = Mapping[str, Sequence[IPAddress]]
"""What host names resolve to, in place of the system's answer."""
SHARE = 16
"""Of the tasks that an account keeps, this part is dropped at a time, so that it costs little for each."""

MOST_UNTOUCHED = 10_000
"""Accounts that are kept although nothing sets them apart from one that was never seen: callers may invent any number of keys."""


class NoRoom(Exception):
    """The bytes could not be kept; the message says why."""


class StoreDown(Exception):
    """The store cannot be reached or cannot write; `reason` says why. Nothing was half-written."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(f"{message}: {reason}")
        self.reason = reason


class StoreUnusable(Exception):
    """The store cannot be used as it is; the message says why, and what to do."""


class Blob(Protocol):
    """Bytes that a store keeps."""

    @property
    def size(self) -> int:
        """How many."""
        ...

    def read(self) -> bytes:
        """Return all of them."""
        ...


@dataclass(slots=True)
class Queued:
    """A scenario that the next *times* creates follow; `used` counts those that did."""

    name: str
    params: dict[str, Any]
    times: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file; times in Unix seconds of the account's clock."""

    id: str
    name: str
    original_name: str
    content_type: str
    content: Blob
    stored_at: float
    expires_at: float
    folder: str = ""
    upload_id: str = ""
    """What the upload called itself, for its receipt."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an Idempotency-Key stands for: the body's fingerprint and the task."""

    body: str
    expires_at: float
    task_id: str


class Account(Protocol):
    """One key's account: a world of its own, with its tasks, money, clock, scenario queue and relays."""

    @property
    def key(self) -> str:
        """The API key."""
        ...

    @property
    def name(self) -> str:
        """Its public name, as it stands in links and in the journal."""
        ...

    @property
    def clock(self) -> Clock:
        """Its clock, to be read; `Store.set_clock` and `Store.move_clock` change it."""
        ...

    @property
    def credits(self) -> float:
        """What is left."""
        ...

    @property
    def used(self) -> float:
        """What completed tasks have used."""
        ...

    @property
    def models(self) -> frozenset[str] | None:
        """The models it may use; None for all."""
        ...

    @property
    def rate_limit(self) -> int | None:
        """How many requests a window may have; None for no limit."""
        ...

    @property
    def relays(self) -> Mapping[str, str]:
        """Where callbacks for an origin really go."""
        ...

    @property
    def names(self) -> Names:
        """What names resolve to for this account's callbacks."""
        ...

    def next_due(self) -> float | None:
        """Return when the next thing on the agenda falls due."""
        ...
