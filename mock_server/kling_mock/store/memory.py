"""Accounts in memory: a key is a world of its own, with its tasks, money, clock, scenario queue and relays."""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

from kling_common.targets import IPAddress
from kling_mock.clock import Clock
from kling_mock.core.deliveries import Delivery
from kling_mock.core.tasks import Task
from kling_mock.ids import fingerprint
from kling_mock.store.disk import Blob

Due = tuple[float, Task | Delivery]
"""What will change and when. Where times are equal, tasks go in order of their numbers, each before its deliveries."""


@dataclass(slots=True)
class Queued:
    """A scenario that the next *times* creates follow; `used` counts those that did."""

    name: str
    params: dict[str, Any]
    times: int
    used: int = 0


@dataclass(slots=True)
class StoredFile:
    """An uploaded file; times in Unix seconds of the account's clock."""

    id: str
    name: str
    original_name: str
    content_type: str
    content: Blob
    stored_at: float
    expires_at: float


@dataclass(slots=True)
class Remembered:
    """What an Idempotency-Key answered: the body's fingerprint and the task; None while the first create is still under way."""

    body: str
    expires_at: float
    task_id: str | None = None


@dataclass(slots=True)
class Account:
    """One key's world. Whoever reads or changes it holds `lock`; nobody sends anything while holding it."""

    key: str
    name: str
    clock: Clock
    credits: float
    lock: threading.RLock = field(default_factory=threading.RLock)
    advancing: threading.Lock = field(default_factory=threading.Lock)
    changed: threading.Condition = field(init=False)
    models: frozenset[str] | None = None
    rate_limit: int | None = None
    used: float = 0.0
    number: int = 0
    tasks: dict[str, Task] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    of_task: dict[str, list[Delivery]] = field(default_factory=dict)
    agenda: list[Due] = field(default_factory=list)
    alarm: float = inf
    queue: deque[Queued] = field(default_factory=deque)
    relays: dict[str, str] = field(default_factory=dict)
    names: dict[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    requests: deque[float] = field(default_factory=deque)
    files: dict[str, StoredFile] = field(default_factory=dict)
    idempotency: dict[str, Remembered] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)

    def schedule(self, at: float, what: Task | Delivery) -> None:
        """Put something on the agenda: a task's next change or a delivery's next attempt."""
        heapq.heappush(self.agenda, (at, what))

    def next_due(self) -> float | None:
        """When the next thing on the agenda falls due."""
        return self.agenda[0][0] if self.agenda else None

    def pop_due(self, now: float) -> Due | None:
        """Take the next thing off the agenda, if it is due at *now*."""
        return heapq.heappop(self.agenda) if self.agenda and self.agenda[0][0] <= now else None

    def count(self, what: str) -> int:
        """How often *what* has been called, this time included."""
        self.calls[what] = self.calls.get(what, 0) + 1
        return self.calls[what]

    def forget(self, *, clock: Clock, credits: float) -> None:
        """Back to how it was first seen; relays, names and the key stay."""
        with self.lock:
            for kept in (
                self.tasks, self.deliveries, self.of_task, self.agenda, self.queue, self.calls, self.requests, self.files, self.idempotency,
            ):  # fmt: skip
                kept.clear()
            self.clock, self.credits, self.used, self.number = clock, credits, 0.0, 0
            self.models, self.rate_limit = None, None
            self.alarm = inf
            self.changed.notify_all()


class MemoryStore:
    """All accounts of one process. `clock` is the server's own; accounts share it until one is given its own."""

    def __init__(self, start_clock: Callable[[], Clock], credits: float) -> None:
        self._start_clock = start_clock
        self._credits = credits
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}
        self._names: dict[str, Account] = {}
        self.clock = start_clock()
        self.queue: deque[Queued] = deque()
        self.relays: dict[str, str] = {}
        self.defaults: dict[str, Any] = {}

    def get(self, key: str) -> Account | None:
        """The account of *key*, if it has been seen."""
        return self._accounts.get(key)

    def seen(self, key: str) -> Account:
        """The account of *key*, made on first sight."""
        account = self._accounts.get(key)
        if account is None:
            with self._lock:
                account = self._accounts.get(key)
                if account is None:
                    account = self._new(key)
        return account

    def named(self, name: str) -> Account | None:
        """The account with this public name, as it stands in links and in the journal."""
        return self._names.get(name)

    def accounts(self) -> list[Account]:
        """Every account, in order of first sight."""
        return list(self._accounts.values())

    def owner(self, task_id: str) -> Account | None:
        """The account that has this task."""
        return next((account for account in self.accounts() if task_id in account.tasks), None)

    def own_clock(self, account: Account) -> Clock:
        """The account's clock, cut loose from the server's so that it can be set alone."""
        if account.clock is self.clock:
            account.clock = self.clock.fork()
        return account.clock

    def reset(self, account: Account | None) -> None:
        """Forget one account's doings, or everybody's with the server's own clock and queue."""
        if account is not None:
            account.forget(clock=self._start_clock(), credits=self._credits)
            return
        self.clock = self._start_clock()
        self.queue.clear()
        self.defaults.clear()
        for one in self.accounts():
            one.forget(clock=self.clock, credits=self._credits)

    def _new(self, key: str) -> Account:
        account = Account(
            key=key, name=fingerprint(key), clock=self.clock, credits=self._credits, relays=dict(self.relays)
        )
        for name, value in self.defaults.items():
            setattr(account, name, value)
        self._names[account.name] = account
        self._accounts[key] = account
        return account

    def __iter__(self) -> Iterator[Account]:
        return iter(self.accounts())
