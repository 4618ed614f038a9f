"""A transaction on one account: its row is locked, what it reads is kept, and what changed is written when the block ends."""

import heapq
import json
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from kling_mock.clock import Clock
from kling_mock.core.deliveries import UNKNOWN, Attempt, Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.interface import Due, Queued, Remembered, StoredFile
from kling_mock.store.records import SHARE
from kling_mock.store.sql import hot
from kling_mock.store.sql.agenda import earlier, next_of, real, wake_values
from kling_mock.store.sql.blobs import file_of, file_values
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.rows import (
    SqlAccount,
    SqlClock,
    account_of,
    attempt_json,
    attempt_of,
    delivery_json,
    delivery_of,
    number,
    task_of,
    task_values,
)
from kling_mock.store.sql.statements import Row
from kling_mock.store.sql.tables import blobs, deliveries, files, queue, tasks
from kling_mock.store.sql.writes import Writes

MARGIN = 5.0
"""Real seconds beyond an attempt's own time after which it counts as lost with its process."""

_UNTRIED: Row = {"lease": None, "started": None}


class SqlTransaction:
    """See `Transaction`. Rows are read when they are first asked for; the account's own is read, and locked, before.

    With *writes* it is one of several that are written together.
    """

    def __init__(self, database: Database, connection: Connection, account: Row, writes: Writes | None = None) -> None:
        self._writes = hot.pending() if writes is None else writes
        self._bounded = False
        self._started: dict[str, dict[str, Any]] = {}
        self._database, self._connection, self._row = database, connection, account
        self.id: int = account["id"]
        self._clock: Clock = SqlClock(self._row, database.ahead)
        self.credits, self.used = number(self._row["credits"]), number(self._row["used"])
        self._number: int = self._row["number"]
        self._counts: dict[str, int] | None = None
        self._tasks: dict[str, Task | None] = {}
        self._deliveries: dict[str, Delivery | None] = {}
        self._in_hand: dict[str, Row] = {}
        self._new: dict[str, Task | Delivery] = {}
        self._saved: dict[str, Task | Delivery] = {}
        self._due: dict[str, tuple[Task | Delivery, float | None]] = {}
        self._heap: list[Due] = []
        self._loaded: float | None = None
        self._horizon = 0.0
        self.agenda_changed = False
        self._touched = False
        self._soonest: float | None = None

    # The account

    @property
    def account(self) -> SqlAccount:
        """The account as it was when its row was locked."""
        return account_of(self._row, self._database.ahead, self._clock)

    def now(self) -> float:
        """Return what the account's clock shows."""
        return self._clock.now()

    def next_number(self) -> int:
        """Return the number of a new task."""
        self._number += 1
        return self._number

    def count(self, what: str) -> int:
        """Return how often *what* has been called, this time included."""
        if self._counts is None:
            self._counts = orjson.loads(self._row["counts"])
        nth = self._counts[what] = self._counts.get(what, 0) + 1
        return nth

    def next_queued(self) -> Queued | None:
        """Use the first queued scenario once; the account's own come before the server's."""
        row = hot.QUEUED.first(self._connection, account=self.id) if self._row.get("queued", True) else None
        if row is None:
            return None
        used = row["used"] + 1
        mine = queue.c.id == row["id"]
        self._connection.execute(
            delete(queue).where(mine) if used >= row["times"] else update(queue).where(mine).values(used=used)
        )
        return Queued(row["name"], json.loads(row["params"]), row["times"], used)

    def remembered(self, key: str) -> Remembered | None:
        """Return what a key stands for."""
        row = hot.KEY.first(self._connection, account=self.id, own=key)
        if row is None or row["expires_at"] <= self.now():
            return None
        return Remembered(row["body"], row["expires_at"], row["task_id"])

    def remember(self, key: str, what: Remembered) -> None:
        """Let a key stand for a task; those whose time is over are dropped."""
        hot.FORGET_KEYS.run(self._connection, account=self.id, own=key, now=self.now())
        values = {"body": what.body, "expires_at": what.expires_at, "task_id": what.task_id}
        hot.REMEMBER.run(self._connection, account_id=self.id, key=key, **values)

    # Tasks and deliveries

    def task(self, task_id: str) -> Task | None:
        """Return the task of this id."""
        if task_id not in self._tasks:
            row = hot.TASK.named(self._connection, task_id, account=self.id)
            self._tasks[task_id] = None if row is None else task_of(row)
        return self._tasks[task_id]

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return the delivery of this id."""
        if delivery_id not in self._deliveries:
            row = hot.DELIVERY.named(self._connection, delivery_id, account=self.id)
            self._deliveries[delivery_id] = None if row is None else self._delivery_in(row)
        return self._deliveries[delivery_id]

    def _delivery_in(self, row: Row) -> Delivery:
        self._in_hand[row["id"]] = row
        return delivery_of(row)

    def add_task(self, task: Task) -> None:
        """Keep a new task."""
        self._tasks[task.id] = task
        self._new[task.id] = task

    def add_delivery(self, delivery: Delivery) -> None:
        """Keep a new delivery."""
        self._deliveries[delivery.id] = delivery
        self._new[delivery.id] = delivery

    def save(self, what: Task | Delivery) -> None:
        """Keep what has changed."""
        self._saved[what.id] = what
        self._touched = True

    def forget(self, task: Task) -> None:
        """Drop a task and its deliveries."""
        self.flush()
        self._tasks[task.id] = None
        mine = deliveries.c.account_id == self.id
        self._connection.execute(delete(deliveries).where(mine, deliveries.c.task_id == task.id))
        self._connection.execute(delete(tasks).where(tasks.c.account_id == self.id, tasks.c.id == task.id))
        for name, delivery in self._deliveries.items():
            if delivery is not None and delivery.task_id == task.id:
                self._deliveries[name] = None
        self._due.pop(task.id, None)
        self._touched = self.agenda_changed = True

    def forget_beyond(self, most: int) -> None:
        """Drop the oldest tasks that have ended, a good many at a time."""
        last = self._number - most
        if last <= 0 or self._number % max(1, most // SHARE):
            return
        self.flush()  # some may have ended in this transaction
        ended = (tasks.c.account_id == self.id, tasks.c.number <= last, tasks.c.settled)
        gone = deliveries.c.number.in_(select(tasks.c.number).where(*ended))
        self._connection.execute(delete(deliveries).where(deliveries.c.account_id == self.id, gone))
        self._connection.execute(delete(tasks).where(*ended))
        self.agenda_changed = True

    # The agenda

    def schedule(self, at: float, what: Task | Delivery) -> None:
        """Put something on the agenda."""
        self._due[what.id] = (what, at)
        if self._loaded is not None and at <= self._loaded:
            heapq.heappush(self._heap, (at, what))

    def pop_due(self, now: float, *, sending: bool = True) -> Due | None:
        """Take the next thing off the agenda, if it is due at *now*; of deliveries only those that no process has in hand."""
        while True:
            if self._loaded is None:
                if not self._due and not self._is_due(now):
                    return None
                self._load(now, sending)
            if self._heap and self._heap[0][0] <= self._horizon:
                at, what = heapq.heappop(self._heap)
                if isinstance(what, Delivery) and not sending:
                    continue
                self._due[what.id] = (what, None)
                return at, what
            if self._bounded or self._horizon >= now:
                return None
            self.flush()
            self._loaded = None

    def _is_due(self, now: float) -> bool:
        """Return whether the account's row says so, as of when the transaction began."""
        due = self._row["due"]
        return self.agenda_changed or (due is not None and due <= now)

    def _load(self, now: float, sending: bool) -> None:
        """Read what is due at *now*, at most so much of each kind; `_horizon` is up to when that is all."""
        due = hot.DUE_TASKS.rows(self._connection, account=self.id, now=now)
        owed = []
        if sending:
            owed = hot.DUE_DELIVERIES.rows(self._connection, account=self.id, now=now, real_now=self._database.now())
        full = [rows[-1]["due"] for rows in (due, owed) if len(rows) == hot.CHUNK]
        self._take(due, owed, now, min(full, default=now))

    def take_due(
        self, due: Sequence[Row], owed: Sequence[Row], named: Sequence[Row], now: float, horizon: float
    ) -> None:
        """Take what was read for several transactions: this account's tasks and deliveries due at *now*, and the tasks of these.

        More is not read. What falls due after *horizon* may be missing. Where nothing is due, the account's row said so wrongly.
        """
        self._bounded, self.agenda_changed = True, not (due or owed)
        for row in named:
            self._tasks[row["id"]] = task_of(row)
        self._take(due, owed, now, horizon)

    def take_deliveries(self, rows: Sequence[Row]) -> None:
        """Take deliveries that were read for several transactions."""
        for row in rows:
            self._deliveries[row["id"]] = self._delivery_in(row)

    def _take(self, due: Sequence[Row], owed: Sequence[Row], now: float, horizon: float) -> None:
        self._heap, self._loaded, self._horizon = [], now, horizon
        for row in due:
            self._heap.append((row["due"], _known(self._tasks, row, task_of)))
        for row in owed:
            self._heap.append((row["due"], _known(self._deliveries, row, self._delivery_in)))
        heapq.heapify(self._heap)

    def start_attempt(self, delivery: Delivery, due: float, patience: float, *, extra: bool = False) -> Attempt | None:
        """Record that an attempt is about to be made, before it is."""
        real_now, now = self._database.now(), self.now()
        is_new = delivery.id in self._new
        row = _UNTRIED if is_new else self._in_hand.get(delivery.id)
        if row is None:  # the delivery was made in this transaction, and has been written
            (row,) = hot.DELIVERY.rows(self._connection, account=self.id, own=delivery.id)
        if (
            row["lease"] is not None and row["lease"] > real_now
        ):  # the scheduled one is under way, this is asked for by hand
            return None
        lost = self._lost(delivery, row["started"])
        attempt = Attempt(
            due, now, now, UNKNOWN, detail="sent, outcome unknown: the process that sent it ended", extra=extra
        )
        lease = real_now + self._clock.real_seconds(patience) + MARGIN
        values = {"started": attempt_json(attempt), "lease": lease}
        if is_new:
            self._started[delivery.id] = values | {"due": due}
        else:
            self._write_attempt(delivery, due, extra, changed=lost is not None, **values)
        self._due.pop(delivery.id, None)
        self.agenda_changed = True
        return lost

    def _lost(self, delivery: Delivery, started: str | None) -> Attempt | None:
        if started is None:
            return None
        lost = attempt_of(started)
        delivery.attempts.append(lost)
        return lost

    def end_attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Record how an attempt ended.

        What was in hand is not on the agenda, so this leaves it as it is, save where the attempt was asked for by hand.
        """
        delivery.attempts.append(attempt)
        self._write_attempt(delivery, None, attempt.extra, changed=True, started=None, lease=None)
        self._touched = True
        self.agenda_changed = self.agenda_changed or attempt.extra

    def _write_attempt(
        self, delivery: Delivery, due: float | None, extra: bool, *, changed: bool, **values: Any
    ) -> None:
        """Write an attempt; one that was asked for by hand leaves the agenda as it is."""
        self._in_hand[delivery.id] = values
        written = values | self._of(delivery)
        if changed or extra:
            written["facts"] = delivery_json(delivery)
        if extra:
            self._writes.add(hot.ATTEMPTED_BY_HAND, written)
        else:
            self._writes.add(hot.ATTEMPTED if changed else hot.STARTED, written | {"due": due})

    # Files

    def files(self) -> list[StoredFile]:
        """Return the account's files, oldest first."""
        rows = self._connection.execute(select(files).where(files.c.account_id == self.id).order_by(files.c.seq))
        return [file_of(self._database, row) for row in rows.mappings()]

    def add_file(self, stored: StoredFile) -> None:
        """Keep an uploaded file."""
        self._connection.execute(insert(files).values(account_id=self.id, **file_values(stored)))

    def drop_file(self, file_id: str) -> None:
        """Forget an uploaded file and its bytes."""
        mine = (files.c.account_id == self.id, files.c.id == file_id)
        kept = select(files.c.blob_id).where(*mine)
        self._connection.execute(delete(blobs).where(blobs.c.id.in_(kept)))
        self._connection.execute(delete(files).where(*mine))

    # Writing

    def flush(self) -> None:
        """Write what has changed in tasks and deliveries."""
        self.collect()
        self._writes.run(self._connection)

    def collect(self) -> None:
        """Add to what is to be written what has changed in tasks and deliveries."""
        self._touched = self._touched or bool(self._new)
        for what in self._new.values():
            self._insert(what)
        self._new, write = {}, self._writes.add
        for name, saved in self._saved.items():
            if not isinstance(saved, Task):
                write(hot.SAVE_DELIVERY, self._of(saved) | {"facts": delivery_json(saved)})
            elif name in self._due:
                _, due = self._due.pop(name)
                write(hot.SAVE_TASK_DUE, self._of(saved) | task_values(saved) | {"due": due})
                self.agenda_changed = True
            else:
                write(hot.SAVE_TASK, self._of(saved) | task_values(saved))
        for what, due in self._due.values():
            write(hot.TASK_DUE if isinstance(what, Task) else hot.DELIVERY_DUE, self._of(what) | {"due": due})
        self.agenda_changed = self.agenda_changed or bool(self._due)
        self._saved, self._due = {}, {}

    def _of(self, what: Task | Delivery) -> dict[str, Any]:
        return {"account": self.id, "own": what.id}

    def _insert(self, what: Task | Delivery) -> None:
        self._saved.pop(what.id, None)
        _, due = self._due.pop(what.id, (what, None))
        common = {"account_id": self.id, "id": what.id, "due": due}
        if isinstance(what, Task):
            self._writes.add(hot.ADD_TASK, common | task_values(what) | {"number": what.number, "reads": what.reads})
        else:
            first, nth = what.order
            own = {"task_id": what.task_id, "number": first, "nth": nth, "facts": delivery_json(what)}
            started = self._started.pop(what.id, _UNTRIED)
            self._writes.add(hot.ADD_DELIVERY, {**common, **own, **started})
        if due is not None and not self.agenda_changed:
            known = self._row["due"] if self._soonest is None else self._soonest
            self._soonest = due if known is None else min(known, due)

    def finish(self) -> None:
        """Write everything, and into the account's row what it has due next."""
        finish(self._connection, self._writes, [self])

    def close(self, found: Row | None) -> None:
        """Add the account's row to what is to be written, where it has changed; *found* is what it has next, where that was looked up."""
        row = self._row
        values: dict[str, Any] = {"credits": self.credits, "used": self.used, "number": self._number}
        values |= {name: row[name] for name in ("counts", "due", "wake")}
        if self._counts is not None:
            values["counts"] = orjson.dumps(self._counts).decode()
        if found is not None:
            values |= wake_values(found, self._clock, self._database.ahead)
        elif self._soonest is not None:
            wake = real(self._clock, self._soonest, self._database.ahead)
            values |= {"due": self._soonest, "wake": earlier(row["wake"], wake)}
        if self._touched or self.agenda_changed or any(values[name] != row[name] for name in values):
            self._writes.add(hot.SAVE, {"account": self.id, **values, "changes": row["changes"] + 1})


def _known(known: dict[str, Any], row: Row, read: Callable[[Row], Any]) -> Any:
    """Return what stands in *row*: what this transaction has already read, where it has."""
    if known.get(row["id"]) is None:
        known[row["id"]] = read(row)
    return known[row["id"]]


def finish(connection: Connection, writes: Writes, several: Sequence[SqlTransaction]) -> None:
    """Write everything that these transactions have changed, and into the accounts' rows what they have due next."""
    for one in several:
        one.collect()
    writes.run(connection)
    moved = [one.id for one in several if one.agenda_changed]
    found = next_of(connection, moved) if moved else {}
    for one in several:
        one.close(found.get(one.id))
    writes.run(connection)
