"""One account of the memory store, and the transaction on it."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf
from types import TracebackType
from typing import Protocol

from kling_mock.clock import Clock
from kling_mock.core.deliveries import Attempt, Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.agenda import Agenda
from kling_mock.store.interface import Due, Names, Queued, Remembered, StoredFile
from kling_mock.store.records import SHARE


class Shared(Protocol):
    """What an account needs of the store it is in."""

    waiting: deque[Queued]
    queue_lock: threading.Lock

    def notice(self, account: "MemoryAccount", due: float) -> None:
        """Set an alarm for the account's agenda, of which the next thing is *due*."""
        ...

    def take_back(self, account: "MemoryAccount") -> None:
        """Hold an account again that was written to after it was forgotten."""
        ...


@dataclass(slots=True, eq=False, weakref_slot=True)
class MemoryAccount:
    """An account, and at the same time the transaction on it: `with account:` holds its lock."""

    key: str
    name: str
    clock: Clock
    credits: float
    shared: "Shared"
    lock: threading.RLock = field(default_factory=threading.RLock)
    advancing: threading.Lock = field(default_factory=threading.Lock)
    changed: threading.Condition = field(init=False)
    changes: int = 0
    models: frozenset[str] | None = None
    rate_limit: int | None = None
    used: float = 0.0
    number: int = 0
    tasks: dict[str, Task] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    of_task: dict[str, list[Delivery]] = field(default_factory=dict)
    agenda: Agenda = field(default_factory=Agenda)
    alarm: float = inf
    rung: float = -inf
    calls_back: bool = False
    """Whether it ever had a task with a callback."""
    queued: deque[Queued] = field(default_factory=deque)
    relays: Mapping[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    requests: deque[float] = field(default_factory=deque)
    uploads: dict[str, StoredFile] = field(default_factory=dict)
    idempotency: dict[str, Remembered] = field(default_factory=dict)
    forgotten: bool = False

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)

    def __enter__(self) -> "MemoryAccount":
        self.lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            due = self.agenda.first
            if due is not None and due < self.alarm:
                self.shared.notice(self, due)
        finally:
            self.lock.release()
        if self.forgotten:
            self.shared.take_back(self)

    @property
    def account(self) -> "MemoryAccount":
        """The account itself."""
        return self

    @property
    def holds_anything(self) -> bool:
        """Whether there are facts of its own: whatever a caller has done to it."""
        facts = (self.tasks, self.agenda, self.queued, self.names, self.calls, self.requests, self.uploads)
        return bool(any(facts) or self.idempotency or self.number or self.used)

    def touch(self) -> None:
        """Wake those who wait for a change."""
        self.changes += 1
        self.changed.notify_all()

    def next_due(self) -> float | None:
        """Return when the next thing on the agenda falls due."""
        return self.agenda.first

    def now(self) -> float:
        """Return what the account's clock shows."""
        return self.clock.now()

    def next_number(self) -> int:
        """Return the number of a new task."""
        self.number += 1
        return self.number

    def count(self, what: str) -> int:
        """Return how often *what* has been called, this time included."""
        self.calls[what] = self.calls.get(what, 0) + 1
        return self.calls[what]

    def next_queued(self) -> Queued | None:
        """Use the first queued scenario once."""
        if not self.queued and not self.shared.waiting:
            return None
        with self.shared.queue_lock:
            for queue in (self.queued, self.shared.waiting):
                if queue:
                    first = queue[0]
                    first.used += 1
                    if first.used >= first.times:
                        queue.popleft()
                    return first
        return None

    def remembered(self, key: str) -> Remembered | None:
        """Return what a key stands for. All keys live equally long, so the oldest stand first."""
        now = self.clock.now()
        while self.idempotency:
            first, oldest = next(iter(self.idempotency.items()))
            if oldest.expires_at > now:
                break
            del self.idempotency[first]
        return self.idempotency.get(key)

    def remember(self, key: str, what: Remembered) -> None:
        """Let a key stand for a task; it is the youngest now."""
        self.idempotency.pop(key, None)
        self.idempotency[key] = what

    def task(self, task_id: str) -> Task | None:
        """Return the task of this id."""
        return self.tasks.get(task_id)

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return the delivery of this id."""
        return self.deliveries.get(delivery_id)

    def add_task(self, task: Task) -> None:
        """Keep a new task."""
        self.tasks[task.id] = task
        if task.callback_url is not None:
            self.calls_back = True

    def add_delivery(self, delivery: Delivery) -> None:
        """Keep a new delivery."""
        self.deliveries[delivery.id] = delivery
        self.of_task.setdefault(delivery.task_id, []).append(delivery)

    def save(self, what: Task | Delivery) -> None:
        """Wake those who wait for a change; what was handed out is what is kept."""
        del what
        self.touch()

    def forget(self, task: Task) -> None:
        """Drop a task and its deliveries."""
        del self.tasks[task.id]
        for delivery in self.of_task.pop(task.id, ()):
            self.deliveries.pop(delivery.id, None)
        self.touch()

    def forget_beyond(self, most: int) -> None:
        """Drop the oldest tasks that have ended, a good many at a time: each time the whole agenda is gone through."""
        last = self.number - most
        if last <= 0 or self.number % max(1, most // SHARE):
            return
        old = takewhile(lambda task: task.number <= last, self.tasks.values())
        ended = [task for task in old if task.settled]
        for task in ended:
            self.forget(task)
        if ended:
            self.agenda.keep(lambda due: _task_id(due[1]) in self.tasks)

    def schedule(self, at: float, what: Task | Delivery) -> None:
        """Put something on the agenda."""
        self.agenda.push((at, what))

    def pop_due(self, now: float, *, sending: bool = True) -> Due | None:
        """Take the next thing off the agenda, if it is due at *now*. There is no other process that could send."""
        del sending
        agenda = self.agenda
        due = agenda.first
        return agenda.pop() if due is not None and due <= now else None

    def start_attempt(self, delivery: Delivery, due: float, patience: float, *, extra: bool = False) -> None:
        """Record nothing: what this process has begun is lost with it."""

    def end_attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Record how an attempt ended."""
        delivery.attempts.append(attempt)
        self.touch()

    def files(self) -> list[StoredFile]:
        """Return the account's files, oldest first."""
        return list(self.uploads.values())

    def add_file(self, stored: StoredFile) -> None:
        """Keep an uploaded file."""
        self.uploads[stored.id] = stored

    def drop_file(self, file_id: str) -> None:
        """Forget an uploaded file."""
        self.uploads.pop(file_id, None)

    def forget_all(self, *, clock: Clock, credits: float) -> None:
        """Go back to how it was first seen; relays, names and the key stay."""
        with self.lock:
            facts = (self.tasks, self.deliveries, self.of_task, self.agenda, self.queued, self.calls, self.requests)
            for kept in (*facts, self.uploads, self.idempotency):
                kept.clear()
            self.clock, self.credits, self.used, self.number = clock, credits, 0.0, 0
            self.models, self.rate_limit = None, None
            self.calls_back = False
            self.alarm = inf
            self.touch()


def _task_id(what: Task | Delivery) -> str:
    return what.id if isinstance(what, Task) else what.task_id
