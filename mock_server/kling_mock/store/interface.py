"""What a store offers. The rest of the fake knows these names and no implementation.

An `Account` is a key's account as it stood when the store handed it out: to see later news, ask the store again. Facts change only
inside a `Transaction`, which has the account for itself until its block ends, and by the single operations of `Store`, each of which
is a transaction of its own. Tasks, deliveries and files that a store hands out are to be read; `Transaction` writes them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf
from typing import IO, Any, Protocol

from kling_mock.clock import Clock, Mode
from kling_mock.core.deliveries import Attempt, Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.journal import Journal
from kling_mock.store.records import (
    Account,
    Blob,
    Names,
    NoRoom,
    Queued,
    Remembered,
    StoredFile,
    StoreDown,
    StoreUnusable,
)

__all__ = [
    "Account",
    "Blob",
    "Due",
    "Names",
    "NoRoom",
    "Queued",
    "Remembered",
    "Store",
    "StoreDown",
    "StoreUnusable",
    "StoredFile",
    "Transaction",
]

Due = tuple[float, Task | Delivery]
"""What will change and when. Where times are equal, tasks go in order of their numbers, each before its deliveries."""


class Transaction(Protocol):
    """An account's facts, exclusively the caller's until its block ends. Nothing is sent meanwhile."""

    credits: float
    used: float

    @property
    def account(self) -> Account:
        """The account as it stood when the transaction began."""
        ...

    def now(self) -> float:
        """Return what the account's clock shows."""
        ...

    def next_number(self) -> int:
        """Return the number of a new task, counted from 1."""
        ...

    def count(self, what: str) -> int:
        """Return how often *what* has been called, this time included."""
        ...

    def next_queued(self) -> Queued | None:
        """Use the first scenario queued for the account, else for the server, once; `used` counts this create."""
        ...

    def remembered(self, key: str) -> Remembered | None:
        """Return what an Idempotency-Key stands for; those whose time is over are forgotten."""
        ...

    def remember(self, key: str, what: Remembered) -> None:
        """Let an Idempotency-Key stand for a task."""
        ...

    def task(self, task_id: str) -> Task | None:
        """Return the task of this id."""
        ...

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return the delivery of this id."""
        ...

    def add_task(self, task: Task) -> None:
        """Keep a new task."""
        ...

    def add_delivery(self, delivery: Delivery) -> None:
        """Keep a new delivery."""
        ...

    def save(self, what: Task | Delivery) -> None:
        """Keep what has changed in a task or delivery of this transaction."""
        ...

    def forget(self, task: Task) -> None:
        """Drop a task and its deliveries."""
        ...

    def forget_beyond(self, most: int) -> None:
        """Drop the oldest tasks that have ended, with their deliveries, now and then, so that about *most* are kept."""
        ...

    def schedule(self, at: float, what: Task | Delivery) -> None:
        """Put something on the agenda: a task's next change or a delivery's next attempt. It stands there once."""
        ...

    def pop_due(self, now: float, *, sending: bool = True) -> Due | None:
        """Take the next thing off the agenda, if it is due at *now*; deliveries only where the caller is *sending* them."""
        ...

    def start_attempt(self, delivery: Delivery, due: float, patience: float, *, extra: bool = False) -> Attempt | None:
        """Record that an attempt is about to be made that takes at most *patience* seconds of the account's clock.

        Where its end is not recorded in that time, the delivery falls due again. Return the attempt before this one, where that
        was begun and never ended; it has been recorded as such.
        """
        ...

    def end_attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Record how an attempt ended, among the delivery's attempts."""
        ...

    def files(self) -> list[StoredFile]:
        """Return the account's files, oldest first."""
        ...

    def add_file(self, stored: StoredFile) -> None:
        """Keep an uploaded file."""
        ...

    def drop_file(self, file_id: str) -> None:
        """Forget an uploaded file."""
        ...


class Store(Protocol):
    """All accounts, the journal and what is the server's own."""

    @property
    def journal(self) -> Journal:
        """What happened, in order."""
        ...

    def check(self) -> None:
        """Do nothing where the store works.

        Raises:
            StoreDown: it does not.
        """
        ...

    @property
    def blocking(self) -> bool:
        """Whether operations wait for a disk or a network, so that an event loop must not call them."""
        ...

    @property
    def calls_at_once(self) -> tuple[int, int]:
        """How many calls a process had best serve at a time where operations block, and how many where calls have to wait long."""
        ...

    def held(self) -> AbstractContextManager[Callable[[], None]]:
        """Return a block in which operations of this thread that follow one another may share what each would take by itself.

        The function that the block is given gives that back until the next operation; call it before waiting for something else.
        """
        ...

    @property
    def clock(self) -> Clock:
        """The server's clock, which accounts share until one is given its own; to be read."""
        ...

    # Accounts

    def seen(self, key: str) -> Account:
        """Return the account of *key*, made on first sight."""
        ...

    def refresh(self, account: Account) -> Account:
        """Return the account as it stands now."""
        ...

    def named(self, name: str) -> Account | None:
        """Return the account with this public name."""
        ...

    def accounts(self) -> Sequence[Account]:
        """Return every account, in order of first sight."""
        ...

    def owner(self, task_id: str) -> Account | None:
        """Return the account that has this task."""
        ...

    def begin(self, account: Account) -> AbstractContextManager[Transaction]:
        """Return a transaction on the account's facts."""
        ...

    def begin_all(
        self, several: Sequence[Account], deliveries: Sequence[str] = ()
    ) -> AbstractContextManager[Sequence[Transaction]]:
        """Return transactions on the facts of several accounts, each once, that are one: all are kept or none is.

        *deliveries* are the ids of those that will be asked for.
        """
        ...

    def count_request(self, account: Account, window: float) -> float | None:
        """Count a request against the account's rate limit.

        Return None where it is within the limit, else the seconds until the next one is; a refused request is not counted.
        """
        ...

    def configure(self, account: Account | None, values: Mapping[str, Any]) -> None:
        """Set credits, models or rate limit of one account, or of all, those to come included."""
        ...

    def set_relays(self, account: Account | None, relays: Mapping[str, str]) -> None:
        """Set where callbacks of one account, or of all and those to come, really go."""
        ...

    def set_names(self, account: Account | None, names: Names) -> None:
        """Set what names resolve to for one account, or for all that are there."""
        ...

    def queue(self, account: Account | None, scenario: Queued) -> None:
        """Queue a scenario for one account, or for the next create of any."""
        ...

    def queued(self, account: Account | None) -> Sequence[Queued]:
        """Return the scenarios queued for one account, or for the next create of any."""
        ...

    def reset(self, account: Account | None) -> None:
        """Forget the doings of one account, or of all with the server's own clock, queue and defaults."""
        ...

    # Reading

    def task(self, account: Account, task_id: str) -> Task | None:
        """Return a task of the account."""
        ...

    def tasks(self, account: Account, newest: int | None = None) -> Sequence[Task]:
        """Return the account's tasks, or so many of the newest, oldest first."""
        ...

    def count_tasks(self, account: Account, since: float = -inf) -> int:
        """Return how many tasks the account has that were created after *since*."""
        ...

    def delivery(self, account: Account, delivery_id: str) -> Delivery | None:
        """Return a delivery of the account."""
        ...

    def deliveries(self, account: Account, task_id: str | None = None) -> Sequence[Delivery]:
        """Return the account's deliveries, or those of one task, oldest first."""
        ...

    def is_remembered(self, account: Account, key: str) -> bool:
        """Return whether an Idempotency-Key may stand for a task, seen from outside a transaction; its time may be over."""
        ...

    def read(self, account: Account, task_id: str, retention: float) -> tuple[Task, float] | None:
        """Count one read by a caller of a task that is younger than *retention* seconds; a read may end the task.

        Return the task, and the moment of the read.
        """
        ...

    # Time

    def clocks(self, account: Account | None) -> Sequence[Clock]:
        """Return the account's clock, cut loose from the server's; or the server's and every one cut loose from it."""
        ...

    def set_clock(self, account: Account | None, mode: Mode, rate: float) -> None:
        """Let one clock, or all, go on from where they are in another mode."""
        ...

    def move_clock(self, clock: Clock, moment: float) -> None:
        """Set a manual clock forward.

        Raises:
            NotManual: it runs by itself.
        """
        ...

    def advancing(self, account: Account | None) -> AbstractContextManager[None]:
        """Return a block in which no other caller advances the account's clock, or any where it is None."""
        ...

    def earliest(self, account: Account | None, targets: Sequence[tuple[Clock, float]]) -> tuple[float, Account] | None:
        """Return the next thing due in the account, or in any, by the time the clocks reach *targets*, and whose it is."""
        ...

    def due(self, timeout: float, most: int) -> AbstractContextManager[Sequence[Transaction]]:
        """Wait until accounts have something due by a clock that runs, and return transactions on them for one caller, who settles them.

        They are one, as those of `begin_all` are, and need not have more at hand than *most* things due. There is none when *timeout*
        real seconds have passed, or `wake` was called.
        """
        ...

    def wake(self) -> None:
        """Let whoever waits in `due` return."""
        ...

    def changes(self, account: Account) -> int:
        """Return a number that is another one after the account's facts have changed."""
        ...

    def wait(self, account: Account, seen: int, timeout: float) -> None:
        """Return when `changes` is no longer *seen*, or after *timeout* real seconds at the latest."""
        ...

    # Bytes and secrets

    def keep(self, source: IO[bytes]) -> Blob:
        """Return a kept copy of *source*, from its beginning.

        Raises:
            NoRoom: it would pass the limit, or there is no place for it.
        """
        ...

    def keep_picture(self, digest: str, data: bytes) -> None:
        """Keep a first frame for the other processes on this store, the newest up to a limit; nothing where there are none."""
        ...

    def picture(self, digest: str) -> bytes | None:
        """Return a first frame that a process on this store has kept and that is still there."""
        ...

    def secret(self, name: str, draw: Callable[[], bytes]) -> bytes:
        """Return the secret of this name, drawn when it is first asked for and the same from then on."""
        ...

    def close(self) -> None:
        """Give back what the store holds open."""
        ...
