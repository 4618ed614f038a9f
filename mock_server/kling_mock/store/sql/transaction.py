"""A transaction on one account: its row is locked, what it reads is kept, and what changed is written when the block ends."""

import heapq
import json
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from kling_mock.clock import Clock
from kling_mock.core.deliveries import UNKNOWN, Attempt, Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.interface import Due, Queued, Remembered, StoredFile
from kling_mock.store.records import SHARE
from kling_mock.store.sql.blobs import file_of, file_values
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.rows import (
    SqlClock,
    attempt_json,
    attempt_of,
    delivery_json,
    delivery_of,
    number,
    task_of,
    task_values,
)
from kling_mock.store.sql.tables import accounts, blobs, clocks, deliveries, files, idempotency, queue, tasks

_CHUNK = 64
MARGIN = 5.0
"""Real seconds beyond an attempt's own time after which it counts as lost with its process."""


class SqlTransaction:
    """See `Transaction`. Rows are read when they are first asked for."""

    def __init__(self, database: Database, connection: Connection, account_id: int) -> None:
        self._database, self._connection, self._id = database, connection, account_id
        join = accounts.join(clocks, accounts.c.clock_id == clocks.c.id)
        columns = (accounts, clocks.c.mode, clocks.c.base, clocks.c.began, clocks.c.rate)
        found = select(*columns).select_from(join).where(accounts.c.id == account_id).with_for_update(of=accounts)
        self._row: RowMapping = connection.execute(found).mappings().one()
        self._clock: Clock = SqlClock(self._row, database.ahead)
        self.credits, self.used = number(self._row["credits"]), number(self._row["used"])
        self._number: int = self._row["number"]
        self._counts: dict[str, int] | None = None
        self._tasks: dict[str, Task | None] = {}
        self._deliveries: dict[str, Delivery | None] = {}
        self._new: list[Task | Delivery] = []
        self._saved: dict[str, Task | Delivery] = {}
        self._due: dict[str, tuple[Task | Delivery, float | None]] = {}
        self._heap: list[Due] = []
        self._loaded: float | None = None
        self._horizon = 0.0
        self._agenda_changed = False
        self._touched = False
        self._soonest: float | None = None

    # The account

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
            self._counts = json.loads(self._row["counts"])
        self._counts[what] = self._counts.get(what, 0) + 1
        return self._counts[what]

    def next_queued(self) -> Queued | None:
        """Use the first queued scenario once; the account's own come before the server's."""
        waiting = (queue.c.account_id == self._id) | queue.c.account_id.is_(None)
        order = (queue.c.account_id.is_(None), queue.c.id)
        row = self._connection.execute(
            select(queue).where(waiting).order_by(*order).limit(1).with_for_update()
        ).mappings().first()  # fmt: skip
        if row is None:
            return None
        used = row["used"] + 1
        mine = queue.c.id == row["id"]
        self._connection.execute(
            delete(queue).where(mine) if used >= row["times"] else update(queue).where(mine).values(used=used)
        )
        return Queued(row["name"], json.loads(row["params"]), row["times"], used)

    def remembered(self, key: str) -> Remembered | None:
        """Return what a key stands for; the keys whose time is over are dropped."""
        mine = idempotency.c.account_id == self._id
        self._connection.execute(delete(idempotency).where(mine, idempotency.c.expires_at <= self.now()))
        row = self._connection.execute(select(idempotency).where(mine, idempotency.c.key == key)).mappings().first()
        return None if row is None else Remembered(row["body"], row["expires_at"], row["task_id"])

    def remember(self, key: str, what: Remembered) -> None:
        """Let a key stand for a task."""
        mine = {"account_id": self._id, "key": key}
        self._connection.execute(
            delete(idempotency).where(*(idempotency.c[name] == value for name, value in mine.items()))
        )
        values = {"body": what.body, "expires_at": what.expires_at, "task_id": what.task_id}
        self._connection.execute(insert(idempotency).values(**mine, **values))

    # Tasks and deliveries

    def task(self, task_id: str) -> Task | None:
        """Return the task of this id."""
        if task_id not in self._tasks:
            mine = (tasks.c.account_id == self._id, tasks.c.id == task_id)
            row = self._connection.execute(select(tasks).where(*mine)).mappings().first()
            self._tasks[task_id] = None if row is None else task_of(row)
        return self._tasks[task_id]

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return the delivery of this id."""
        if delivery_id not in self._deliveries:
            mine = (deliveries.c.account_id == self._id, deliveries.c.id == delivery_id)
            row = self._connection.execute(select(deliveries).where(*mine)).mappings().first()
            self._deliveries[delivery_id] = None if row is None else delivery_of(row)
        return self._deliveries[delivery_id]

    def add_task(self, task: Task) -> None:
        """Keep a new task."""
        self._tasks[task.id] = task
        self._new.append(task)

    def add_delivery(self, delivery: Delivery) -> None:
        """Keep a new delivery."""
        self._deliveries[delivery.id] = delivery
        self._new.append(delivery)

    def save(self, what: Task | Delivery) -> None:
        """Keep what has changed."""
        self._saved[what.id] = what
        self._touched = True

    def forget(self, task: Task) -> None:
        """Drop a task and its deliveries."""
        self.flush()
        self._tasks[task.id] = None
        mine = deliveries.c.account_id == self._id
        self._connection.execute(delete(deliveries).where(mine, deliveries.c.task_id == task.id))
        self._connection.execute(delete(tasks).where(tasks.c.account_id == self._id, tasks.c.id == task.id))
        for name, delivery in self._deliveries.items():
            if delivery is not None and delivery.task_id == task.id:
                self._deliveries[name] = None
        self._due.pop(task.id, None)
        self._touched = self._agenda_changed = True

    def forget_beyond(self, most: int) -> None:
        """Drop the oldest tasks that have ended, a good many at a time."""
        last = self._number - most
        if last <= 0 or self._number % max(1, most // SHARE):
            return
        ended = (tasks.c.account_id == self._id, tasks.c.number <= last, tasks.c.settled)
        gone = deliveries.c.number.in_(select(tasks.c.number).where(*ended))
        self._connection.execute(delete(deliveries).where(deliveries.c.account_id == self._id, gone))
        self._connection.execute(delete(tasks).where(*ended))
        self._agenda_changed = True

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
                self._load(now, sending)
            if self._heap and self._heap[0][0] <= self._horizon:
                at, what = heapq.heappop(self._heap)
                if isinstance(what, Delivery) and not sending:
                    continue
                self._due[what.id] = (what, None)
                return at, what
            if self._horizon >= now:
                return None
            self.flush()
            self._loaded = None

    def _load(self, now: float, sending: bool) -> None:
        """Read what is due at *now*, at most so much of each kind; `_horizon` is up to when that is all."""
        self._heap, self._horizon, self._loaded = [], now, now
        mine = (tasks.c.account_id == self._id, tasks.c.due <= now)
        rows = self._connection.execute(select(tasks).where(*mine).order_by(tasks.c.due, tasks.c.number).limit(_CHUNK))
        self._take(rows.mappings().all(), self._tasks, task_of)
        if sending:
            free = (deliveries.c.lease.is_(None)) | (deliveries.c.lease <= self._database.now())
            owed = select(deliveries).where(deliveries.c.account_id == self._id, deliveries.c.due <= now, free)
            rows = self._connection.execute(
                owed.order_by(deliveries.c.due, deliveries.c.number, deliveries.c.nth).limit(_CHUNK)
            )
            self._take(rows.mappings().all(), self._deliveries, delivery_of)
        heapq.heapify(self._heap)

    def _take(self, rows: Any, known: dict[str, Any], read: Any) -> None:
        for row in rows:
            if known.get(row["id"]) is None:
                known[row["id"]] = read(row)
            self._heap.append((row["due"], known[row["id"]]))
        if len(rows) == _CHUNK:
            self._horizon = min(self._horizon, rows[-1]["due"])

    def start_attempt(self, delivery: Delivery, due: float, patience: float, *, extra: bool = False) -> Attempt | None:
        """Record that an attempt is about to be made, before it is."""
        self.flush()
        mine = (deliveries.c.account_id == self._id, deliveries.c.id == delivery.id)
        started, lease = self._connection.execute(select(deliveries.c.started, deliveries.c.lease).where(*mine)).one()
        real_now, now = self._database.now(), self.now()
        if lease is not None and lease > real_now:  # the scheduled attempt is under way while one is asked for by hand
            return None
        lost = self._lost(delivery, started)
        attempt = Attempt(
            due, now, now, UNKNOWN, detail="sent, outcome unknown: the process that sent it ended", extra=extra
        )
        lease = real_now + self._clock.real_seconds(patience) + MARGIN
        values = {"started": attempt_json(attempt), "facts": delivery_json(delivery), "lease": lease}
        values |= {} if extra else {"due": due}
        self._connection.execute(update(deliveries).where(*mine).values(values))
        self._due.pop(delivery.id, None)
        self._agenda_changed = True
        return lost

    def _lost(self, delivery: Delivery, started: str | None) -> Attempt | None:
        if started is None:
            return None
        lost = attempt_of(started)
        delivery.attempts.append(lost)
        return lost

    def end_attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Record how an attempt ended."""
        delivery.attempts.append(attempt)
        mine = (deliveries.c.account_id == self._id, deliveries.c.id == delivery.id)
        values: dict[str, Any] = {"started": None, "facts": delivery_json(delivery), "lease": None}
        values |= {} if attempt.extra else {"due": None}
        self._connection.execute(update(deliveries).where(*mine).values(values))
        self._touched = self._agenda_changed = True

    # Files

    def files(self) -> list[StoredFile]:
        """Return the account's files, oldest first."""
        rows = self._connection.execute(select(files).where(files.c.account_id == self._id).order_by(files.c.seq))
        return [file_of(self._database, row) for row in rows.mappings()]

    def add_file(self, stored: StoredFile) -> None:
        """Keep an uploaded file."""
        self._connection.execute(insert(files).values(account_id=self._id, **file_values(stored)))

    def drop_file(self, file_id: str) -> None:
        """Forget an uploaded file and its bytes."""
        mine = (files.c.account_id == self._id, files.c.id == file_id)
        kept = select(files.c.blob_id).where(*mine)
        self._connection.execute(delete(blobs).where(blobs.c.id.in_(kept)))
        self._connection.execute(delete(files).where(*mine))

    # Writing

    def flush(self) -> None:
        """Write what has changed in tasks and deliveries."""
        for what in self._new:
            self._insert(what)
        for what in self._saved.values():
            self._update(what)
        for what, due in self._due.values():
            table = tasks if isinstance(what, Task) else deliveries
            self._connection.execute(
                update(table).where(table.c.account_id == self._id, table.c.id == what.id).values(due=due)
            )
            self._agenda_changed = True
        self._new, self._saved, self._due = [], {}, {}

    def _insert(self, what: Task | Delivery) -> None:
        self._saved.pop(what.id, None)
        _, due = self._due.pop(what.id, (what, None))
        common = {"account_id": self._id, "due": due}
        if isinstance(what, Task):
            values = {**task_values(what), "number": what.number, "reads": what.reads}
            self._connection.execute(insert(tasks).values(**common, **values))
        else:
            number_, nth = what.order
            values = {
                "id": what.id,
                "task_id": what.task_id,
                "number": number_,
                "nth": nth,
                "facts": delivery_json(what),
            }
            self._connection.execute(insert(deliveries).values(**common, **values))
        if due is not None and not self._agenda_changed:
            known = self._row["due"] if self._soonest is None else self._soonest
            self._soonest = due if known is None else min(known, due)

    def _update(self, what: Task | Delivery) -> None:
        if isinstance(what, Task):
            mine = (tasks.c.account_id == self._id, tasks.c.id == what.id)
            self._connection.execute(update(tasks).where(*mine).values(task_values(what)))
        else:
            mine = (deliveries.c.account_id == self._id, deliveries.c.id == what.id)
            self._connection.execute(update(deliveries).where(*mine).values(facts=delivery_json(what)))

    def finish(self) -> None:
        """Write everything, and into the account's row what it has due next."""
        made = bool(self._new)
        self.flush()
        values: dict[str, Any] = {}
        if (self.credits, self.used, self._number) != tuple(self._row[name] for name in ("credits", "used", "number")):
            values |= {"credits": self.credits, "used": self.used, "number": self._number}
        if self._counts is not None:
            values["counts"] = json.dumps(self._counts)
        if self._agenda_changed:
            values |= wake_values(self._connection, self._id, self._clock, self._database.ahead)
        elif self._soonest is not None:
            values |= {
                "due": self._soonest,
                "wake": _earlier(self._row["wake"], real(self._clock, self._soonest, self._database.ahead)),
            }
        if values or self._touched or made:
            values["changes"] = self._row["changes"] + 1
            self._connection.execute(update(accounts).where(accounts.c.id == self._id).values(values))


def real(clock: Clock, moment: float, ahead: float) -> float | None:
    """Return when *clock* shows *moment*, in real time by the database's clock; None where it never will by itself."""
    base, began, rate = clock.run
    return None if rate == 0.0 else began + ahead + max(0.0, moment - base) / rate


def wake_values(connection: Connection, account_id: int, clock: Clock, ahead: float) -> dict[str, Any]:
    """Return `due` and `wake` of an account as its rows have them: what no process has in hand, and what may be lost."""
    first_task = select(func.min(tasks.c.due)).where(tasks.c.account_id == account_id).scalar_subquery()
    mine = deliveries.c.account_id == account_id
    first_owed = select(func.min(deliveries.c.due)).where(mine, deliveries.c.lease.is_(None)).scalar_subquery()
    first_lease = select(func.min(deliveries.c.lease)).where(mine).scalar_subquery()
    task_due, owed_due, lease = connection.execute(select(first_task, first_owed, first_lease)).one()
    due = _earlier(task_due, owed_due)
    by_clock = None if due is None else real(clock, due, ahead)
    return {"due": due, "wake": by_clock if clock.mode == "manual" else _earlier(by_clock, lease)}


def _earlier(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
