"""The store that keeps everything in the memory of one process: fast, and gone when the process ends."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import islice, takewhile
from math import inf
from typing import IO, Any, cast
from weakref import WeakValueDictionary

from kling_mock import clock as clocks
from kling_mock.clock import Clock, Mode
from kling_mock.core import tasks
from kling_mock.core.deliveries import Delivery
from kling_mock.core.moments import reached
from kling_mock.core.tasks import Task
from kling_mock.ids import fingerprint
from kling_mock.store.alarms import Alarms
from kling_mock.store.disk import Disk
from kling_mock.store.interface import Account, Blob, Names, Queued
from kling_mock.store.journal import Journal
from kling_mock.store.memory_account import MemoryAccount
from kling_mock.store.records import MOST_UNTOUCHED

_SOON, _LATER = 1 / 128, 1 / 32
"""Seconds of an account's clock between two alarms, where callbacks may be due and where none can be.

Under load the courier's thread would wake for each task, and each time it takes the interpreter from the thread that serves.
"""


class MemoryStore:
    """All accounts of one process. The oldest that hold nothing are forgotten; seen again, they are as they were."""

    blocking = False
    calls_at_once = (1, 1)

    def __init__(
        self,
        start_clock: Callable[[], Clock],
        credits: float,
        journal: Journal,
        relays: Mapping[str, str] | None = None,
        upload_bytes: int = 1 << 30,
        most_untouched: int = MOST_UNTOUCHED,
    ) -> None:
        self._start_clock, self._credits = start_clock, credits
        self._most_untouched = self._sweep_at = most_untouched
        self._forgotten: WeakValueDictionary[str, MemoryAccount] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._accounts: dict[str, MemoryAccount] = {}
        self._names: dict[str, MemoryAccount] = {}
        self._relays: Mapping[str, str] = dict(relays or {})
        self._defaults: dict[str, Any] = {}
        self._secrets: dict[str, bytes] = {}
        self._disk = Disk(upload_bytes)
        self._alarms = Alarms()
        self.clock = start_clock()
        self.journal = journal
        self.waiting: deque[Queued] = deque()
        self.queue_lock = threading.Lock()

    def held(self) -> AbstractContextManager[Callable[[], None]]:
        """Return a block in which nothing is held."""
        return nullcontext(lambda: None)

    def check(self) -> None:
        """Do nothing: memory is always there."""

    # Accounts

    def seen(self, key: str) -> MemoryAccount:
        """Return the account of *key*, made on first sight."""
        account = self._accounts.get(key)
        if account is None:
            with self._lock:
                account = self._accounts.get(key)
                if account is None:
                    account = self._taken_back(key) or self._new(key)
        return account

    def refresh(self, account: Account) -> Account:
        """Return the account itself, which is always as it stands now."""
        return account

    def named(self, name: str) -> MemoryAccount | None:
        """Return the account with this public name."""
        return self._names.get(name)

    def accounts(self) -> list[MemoryAccount]:
        """Return every account, in order of first sight."""
        return list(self._accounts.values())

    def owner(self, task_id: str) -> MemoryAccount | None:
        """Return the account that has this task."""
        return next((account for account in self.accounts() if task_id in account.tasks), None)

    def begin(self, account: Account) -> MemoryAccount:
        """Return the account itself, which is its own transaction."""
        return cast("MemoryAccount", account)

    @contextmanager
    def begin_all(
        self, several: Sequence[Account], deliveries: Sequence[str] = ()
    ) -> Iterator[Sequence[MemoryAccount]]:
        """Hold the locks of several accounts, in one order for all callers."""
        del deliveries
        own = cast("Sequence[MemoryAccount]", several)
        with ExitStack() as held:
            for one in sorted(own, key=lambda one: one.name):
                held.enter_context(one)
            yield own

    def count_request(self, account: Account, window: float) -> float | None:
        """Count a request against the account's rate limit; return the seconds to wait where it is refused."""
        own = cast("MemoryAccount", account)
        limit = own.rate_limit
        if limit is None:
            return None
        with own.lock:
            now, calls = own.clock.now(), own.requests
            while calls and calls[0] <= now - window:
                calls.popleft()
            if len(calls) >= limit:
                return calls[0] + window - now
            calls.append(now)
        return None

    def configure(self, account: Account | None, values: Mapping[str, Any]) -> None:
        """Set credits, models or rate limit of one account, or of all, those to come included."""
        if account is None:
            self._defaults.update(values)
        for one in self._chosen(account):
            with one:
                for name in ("credits", "models", "rate_limit"):
                    if name in values:
                        setattr(one, name, values[name])

    def set_relays(self, account: Account | None, relays: Mapping[str, str]) -> None:
        """Set where callbacks really go."""
        if account is None:
            self._relays = dict(relays)
        for one in self._chosen(account):
            with one:
                one.relays = dict(relays)

    def set_names(self, account: Account | None, names: Names) -> None:
        """Set what names resolve to."""
        for one in self._chosen(account):
            with one:
                one.names = dict(names)

    def queue(self, account: Account | None, scenario: Queued) -> None:
        """Queue a scenario for one account, or for the next create of any."""
        if account is None:
            with self.queue_lock:
                self.waiting.append(scenario)
            return
        with (own := cast("MemoryAccount", account)), self.queue_lock:
            own.queued.append(scenario)

    def queued(self, account: Account | None) -> list[Queued]:
        """Return the scenarios queued for one account, or for the next create of any."""
        with self.queue_lock:
            return list(self.waiting if account is None else cast("MemoryAccount", account).queued)

    def reset(self, account: Account | None) -> None:
        """Forget the doings of one account, or of all."""
        if account is not None:
            with (own := cast("MemoryAccount", account)):
                own.forget_all(clock=self._start_clock(), credits=self._credits)
            return
        self.clock = self._start_clock()
        self.waiting.clear()
        self._defaults.clear()
        for one in self.accounts():
            one.forget_all(clock=self.clock, credits=self._credits)

    # Reading

    def task(self, account: Account, task_id: str) -> Task | None:
        """Return a task of the account."""
        return cast("MemoryAccount", account).tasks.get(task_id)

    def tasks(self, account: Account, newest: int | None = None) -> list[Task]:
        """Return the account's tasks, or so many of the newest, oldest first."""
        with (own := cast("MemoryAccount", account)).lock:
            if newest is None:
                return list(own.tasks.values())
            return list(islice(reversed(own.tasks.values()), newest))[::-1]

    def count_tasks(self, account: Account, since: float = -inf) -> int:
        """Return how many tasks the account has that were created after *since*."""
        own = cast("MemoryAccount", account)
        if since == -inf:
            return len(own.tasks)
        with own.lock:  # oldest first: an account's clock never goes back
            return len(own.tasks) - sum(1 for _ in takewhile(lambda it: it.created_at <= since, own.tasks.values()))

    def delivery(self, account: Account, delivery_id: str) -> Delivery | None:
        """Return a delivery of the account."""
        return cast("MemoryAccount", account).deliveries.get(delivery_id)

    def deliveries(self, account: Account, task_id: str | None = None) -> list[Delivery]:
        """Return the account's deliveries, or those of one task, oldest first."""
        with (own := cast("MemoryAccount", account)).lock:
            return list(own.deliveries.values() if task_id is None else own.of_task.get(task_id, ()))

    def is_remembered(self, account: Account, key: str) -> bool:
        """Return whether an Idempotency-Key may stand for a task."""
        return key in cast("MemoryAccount", account).idempotency

    def read(self, account: Account, task_id: str, retention: float) -> tuple[Task, float] | None:
        """Count one read of a task."""
        own = cast("MemoryAccount", account)
        with own.lock:
            task, now = own.tasks.get(task_id), own.clock.now()
            if task is None or reached(now, task.created_at, retention):
                return None
            if tasks.read(task, now):
                with own:
                    own.schedule(now, task)
            return task, now

    # Time

    def clocks(self, account: Account | None) -> list[Clock]:
        """Return the clocks that a call about *account* moves."""
        if account is None:
            return [self.clock, *(one.clock for one in self.accounts() if one.clock is not self.clock)]
        own = cast("MemoryAccount", account)
        with own:
            if own.clock is self.clock:
                own.clock = self.clock.fork()
        return [own.clock]

    def set_clock(self, account: Account | None, mode: Mode, rate: float) -> None:
        """Let clocks go on from where they are in another mode."""
        for clock in self.clocks(account):
            clock.set(mode, rate)
        for one in self._chosen(account):
            with one:
                one.alarm = inf

    def move_clock(self, clock: Clock, moment: float) -> None:
        """Set a manual clock forward."""
        clock.move_to(moment)

    @contextmanager
    def advancing(self, account: Account | None) -> Iterator[None]:
        """Hold the accounts' own locks for this, in one order for all callers."""
        with ExitStack() as held:
            for one in sorted(self._chosen(account), key=lambda one: one.name):
                held.enter_context(one.advancing)
            yield

    def earliest(self, account: Account | None, targets: Sequence[tuple[Clock, float]]) -> tuple[float, Account] | None:
        """Return the next thing due on the way, and whose it is."""
        until = {id(clock): moment for clock, moment in targets}
        found: tuple[float, Account] | None = None
        for one in self._chosen(account):
            due = one.next_due()
            if due is not None and due <= until.get(id(one.clock), -inf) and (found is None or due < found[0]):
                found = (due, one)
        return found

    def notice(self, account: MemoryAccount, due: float) -> None:
        """Set an alarm for what is *due* next in an account, whose lock is held; soon after the last one it waits for more to fall due."""
        left = account.clock.real_wait(due)
        if left is None:
            return
        account.alarm = due
        apart = _SOON if account.calls_back else _LATER
        at = clocks.monotonic() + left
        if left or account.clock.now() - due < apart:  # else there is more than was taken the last time
            at = max(at, account.rung + account.clock.real_seconds(apart))
        self._alarms.set(at, account.name)

    @contextmanager
    def due(self, timeout: float, most: int) -> Iterator[Sequence[MemoryAccount]]:
        """Sleep until an alarm goes off, and hold the account's lock whose it is."""
        del most
        account = self.next_account(timeout)
        if account is None:
            yield ()
            return
        with account:
            yield (account,)

    def next_account(self, timeout: float) -> MemoryAccount | None:
        """Sleep until an alarm goes off, and hand out whose it is."""
        name = self._alarms.next(timeout)
        account = None if name is None else self._names.get(name)
        if account is not None:
            account.alarm, account.rung = inf, clocks.monotonic()
        return account

    def wake(self) -> None:
        """Let whoever waits in `due` return."""
        self._alarms.wake()

    def changes(self, account: Account) -> int:
        """Return the number of changes so far."""
        return cast("MemoryAccount", account).changes

    def wait(self, account: Account, seen: int, timeout: float) -> None:
        """Return when there was another change, or after *timeout* real seconds."""
        own = cast("MemoryAccount", account)
        with own.lock:
            own.changed.wait_for(lambda: own.changes != seen, timeout)

    # Bytes and secrets

    def keep(self, source: IO[bytes]) -> Blob:
        """Return a kept copy of *source*, on disk."""
        return self._disk.keep(source)

    def keep_picture(self, digest: str, data: bytes) -> None:
        """Do nothing: there is no other process."""

    def picture(self, digest: str) -> bytes | None:
        """Return nothing."""

    def secret(self, name: str, draw: Callable[[], bytes]) -> bytes:
        """Return the secret of this name."""
        with self._lock:
            return self._secrets.setdefault(name, draw())

    def close(self) -> None:
        """Nothing is held open."""

    def _chosen(self, account: Account | None) -> list[MemoryAccount]:
        return self.accounts() if account is None else [cast("MemoryAccount", account)]

    def _new(self, key: str) -> MemoryAccount:
        if len(self._accounts) >= self._sweep_at:
            self._forget_untouched()
        account = MemoryAccount(key, fingerprint(key), self.clock, self._credits, self, relays=dict(self._relays))
        for name, value in self._defaults.items():
            setattr(account, name, value)
        return self._hold(account)

    def _hold(self, account: MemoryAccount) -> MemoryAccount:
        self._names[account.name] = account
        self._accounts[account.key] = account
        return account

    # Forgetting accounts that hold nothing

    def _forget_untouched(self) -> None:
        """Let go of the older half of the accounts that hold nothing; the store's lock is held.

        One that is in use is taken back as soon as something is written to it, or its key is seen.
        """
        untouched = [one for one in self._accounts.values() if self._is_untouched(one)]
        for one in untouched[: max(0, len(untouched) - self._most_untouched // 2)]:
            one.forgotten = True
            if self._is_untouched(one):  # and it stays so, or is taken back
                del self._accounts[one.key], self._names[one.name]
                self._forgotten[one.key] = one
            else:
                one.forgotten = False
        self._sweep_at = len(self._accounts) + self._most_untouched // 2

    def _is_untouched(self, account: MemoryAccount) -> bool:
        """Return whether a new account of the same key would be the same."""
        as_new = {
            "credits": self._credits,
            "models": None,
            "rate_limit": None,
            "relays": self._relays,
            **self._defaults,
        }
        return (
            account.clock is self.clock
            and not account.holds_anything
            and all(getattr(account, name) == value for name, value in as_new.items())
        )

    def take_back(self, account: MemoryAccount) -> None:
        """Hold an account again that was written to after it was forgotten."""
        with self._lock:
            self._taken_back(account.key)

    def _taken_back(self, key: str) -> MemoryAccount | None:
        account = self._forgotten.pop(key, None)
        if account is None:
            return None
        account.forgotten = False
        return self._hold(account)
