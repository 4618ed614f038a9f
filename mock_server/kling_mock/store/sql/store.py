"""The SQL store: see `Store`. One `Database`, and operations that are one statement or one transaction each."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from math import inf
from typing import IO, Any, cast

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from kling_mock.clock import Clock
from kling_mock.core.deliveries import Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.interface import Account, Blob, Names, NoRoom, Queued
from kling_mock.store.records import MOST_UNTOUCHED
from kling_mock.store.sql import meta
from kling_mock.store.sql.accounts import Accounts
from kling_mock.store.sql.begun import Begun, BegunTogether, read_deliveries
from kling_mock.store.sql.blobs import SqlBlob, keep_picture, picture
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.hot import DELIVERY, KEY, TASK
from kling_mock.store.sql.journal import SqlJournal
from kling_mock.store.sql.rows import SqlAccount, SqlClock, account_of, delivery_of, names_json, task_of
from kling_mock.store.sql.statements import Statement, can_be_text
from kling_mock.store.sql.tables import (
    ACCOUNT,
    OF_ACCOUNT,
    SERVER_CLOCK,
    accounts,
    blobs,
    clocks,
    deliveries,
    files,
    queue,
    secrets,
    tasks,
)
from kling_mock.store.sql.time import Time
from kling_mock.store.sql.transaction import SqlTransaction

_SETTINGS = "settings"
_OF_A_PROCESS = frozenset(
    {"host", "port", "public_url", "allowed_host", "trust_proxy", "tls", "proxy_port", "ca_out"}
    | {"clock", "start", "fetch_local", "callback_ca"}
)
"""Settings in which processes on one store may differ, or that facts win over."""

_log = logging.getLogger(__name__)

_IN_ORDER = select(accounts.c.id).order_by(accounts.c.id).with_for_update()
_AGAIN = Statement(ACCOUNT.where(accounts.c.id == bindparam("account")))
_READ = Statement(
    update(tasks)
    .where(
        tasks.c.account_id == bindparam("account"),
        tasks.c.id == bindparam("own"),
        tasks.c.created_at > bindparam("since"),
    )
    .values(reads=tasks.c.reads + 1)
    .returning(tasks)
)


class SqlStore(Time):
    """All accounts in one database, for any number of processes.

    Facts win over the options of a later start, save that another `--clock` or `--start` sets the server's clock, which
    goes on from where it is.
    """

    blocking = True

    def __init__(
        self,
        url: str,
        start_clock: Callable[[], Clock],
        credits: float,
        *,
        entries: int,
        relays: Mapping[str, str] | None = None,
        upload_bytes: int = 1 << 30,
        started_as: str = "",
        settings: str = "{}",
        most_untouched: int = MOST_UNTOUCHED,
    ) -> None:
        """Open the database. *settings* is left there for couriers.

        Raises:
            StoreUnusable: it cannot be used.
        """
        database = Database(url)
        # SQLite waits for nobody: threads side by side only take the interpreter from each other at each statement.
        # A server is waited for: of one that is near three calls make use, of one that is far many.
        self.calls_at_once = (1, 1) if database.sqlite else (3, 64)
        super().__init__(database, Accounts(database, credits, most_untouched), start_clock)
        self._upload_bytes = upload_bytes
        self.journal = SqlJournal(self.database, entries=entries)
        with ExitStack() as unless_all_is_well:
            unless_all_is_well.callback(self.close)
            self._start(started_as, settings, relays or {})
            unless_all_is_well.pop_all()

    def _start(self, started_as: str, settings: str, relays: Mapping[str, str]) -> None:
        with self.database.writing() as connection:
            was_set = self._begin_clock(connection, started_as)
            self._rows.begin(connection, relays)
            self._leave(connection, settings)
        if was_set:
            self._wake_anew(SERVER_CLOCK)
        _ = self.clock  # known from now on, also while the database is away

    def _leave(self, connection: Connection, settings: str) -> None:
        """Leave *settings* for couriers; say so where the last ones were others, whose fake may still be running."""
        before = json.loads(meta.value_of(connection, _SETTINGS, "{}"))
        now = json.loads(settings)
        other = sorted(name for name in {*before, *now} - _OF_A_PROCESS if before.get(name) != now.get(name))
        if before and other:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in other)
            _log.warning(
                "%s was served with another %s before; facts stay, couriers that start now go by these options",
                self.database.shown,
                options,
            )
        meta.set_value(connection, _SETTINGS, settings)

    def held(self) -> AbstractContextManager[Callable[[], None]]:
        """Let the operations of this thread share one connection."""
        return self.database.held()

    def check(self) -> None:
        """Ask the database for an answer."""
        self.database.check()

    # Accounts

    def seen(self, key: str) -> SqlAccount:
        """Return the account of *key*, made on first sight."""
        with self.database.reading() as connection:
            row = self._rows.found(connection, key)
        if row is None:
            with self.database.writing() as connection:
                row = self._rows.made(connection, key)
        return account_of(row, self.database.ahead)

    def refresh(self, account: Account) -> SqlAccount:
        """Return the account as it stands now."""
        own = cast("SqlAccount", account)
        with self.database.reading() as connection:
            row = _AGAIN.first(connection, account=own.id)
        return self.seen(own.key) if row is None else account_of(row, self.database.ahead)

    def named(self, name: str) -> SqlAccount | None:
        """Return the account with this public name."""
        return self._one(accounts.c.name == name)

    def accounts(self) -> list[SqlAccount]:
        """Return every account, in order of first sight."""
        with self.database.reading() as connection:
            rows = connection.execute(ACCOUNT.order_by(accounts.c.id)).mappings().all()
        return [account_of(row, self.database.ahead) for row in rows]

    def owner(self, task_id: str) -> SqlAccount | None:
        """Return the account that has this task."""
        if not can_be_text(task_id):
            return None
        whose = select(tasks.c.account_id).where(tasks.c.id == task_id).limit(1)
        return self._one(accounts.c.id == whose.scalar_subquery())

    def _one(self, condition: Any) -> SqlAccount | None:
        with self.database.reading() as connection:
            row = connection.execute(ACCOUNT.where(condition)).mappings().first()
        return None if row is None else account_of(row, self.database.ahead)

    def begin(self, account: Account) -> AbstractContextManager[SqlTransaction]:
        """Return a transaction on the account's facts; its row is locked until the block ends."""
        return Begun(self.database, self._rows, cast("SqlAccount", account))

    def begin_all(
        self, several: Sequence[Account], deliveries: Sequence[str] = ()
    ) -> AbstractContextManager[Sequence[SqlTransaction]]:
        """Return transactions on several accounts that are one; their rows are locked until the block ends."""
        own = cast("Sequence[SqlAccount]", several)
        taking = partial(self._rows.all_locked, several=own)
        return BegunTogether(self.database, taking, partial(read_deliveries, deliveries))

    def count_request(self, account: Account, window: float) -> float | None:
        """Count a request against the account's rate limit; return the seconds to wait where it is refused."""
        with self.database.writing() as connection:
            row = self._rows.locked(connection, cast("SqlAccount", account))
            now = SqlClock(row, self.database.ahead).now()
            calls = [at for at in json.loads(row["requests"]) if at > now - window]
            limit = row["rate_limit"]
            if limit is not None and len(calls) >= limit:
                return float(calls[0] + window - now)
            values = {"requests": json.dumps([*calls, now])}
            connection.execute(update(accounts).where(accounts.c.id == row["id"]).values(values))
        return None

    def configure(self, account: Account | None, values: Mapping[str, Any]) -> None:
        """Set credits, models or rate limit of one account, or of all, those to come included."""
        given = {name: values[name] for name in ("credits", "models", "rate_limit") if name in values}
        if given.get("models") is not None:
            given["models"] = sorted(given["models"])
        with self.database.writing() as connection:
            if account is None:
                self._rows.set_defaults(connection, given)
            if given.get("models") is not None:
                given["models"] = json.dumps(given["models"])
            if given:
                changed = self._changing(connection, account)
                connection.execute(changed.values(**given, changes=accounts.c.changes + 1))

    def set_relays(self, account: Account | None, relays: Mapping[str, str]) -> None:
        """Set where callbacks really go."""
        text = json.dumps(dict(relays))
        with self.database.writing() as connection:
            if account is None:
                self._rows.set_relays(connection, text)
            connection.execute(self._changing(connection, account).values(relays=text))

    def set_names(self, account: Account | None, names: Names) -> None:
        """Set what names resolve to."""
        with self.database.writing() as connection:
            changed = self._changing(connection, account)
            connection.execute(changed.values(names=names_json(names)))

    def queue(self, account: Account | None, scenario: Queued) -> None:
        """Queue a scenario for one account, or for the next create of any."""
        values = {"name": scenario.name, "params": json.dumps(scenario.params), "times": scenario.times}
        with self.database.writing() as connection:
            whose = self._own(connection, account)
            connection.execute(insert(queue).values(account_id=whose, used=scenario.used, **values))

    def queued(self, account: Account | None) -> list[Queued]:
        """Return the scenarios queued for one account, or for the next create of any."""
        whose = (
            queue.c.account_id.is_(None) if account is None else queue.c.account_id == cast("SqlAccount", account).id
        )
        with self.database.reading() as connection:
            rows = connection.execute(select(queue).where(whose).order_by(queue.c.id)).mappings().all()
        return [Queued(row["name"], json.loads(row["params"]), row["times"], row["used"]) for row in rows]

    def reset(self, account: Account | None) -> None:
        """Forget the doings of one account, or of all."""
        blank = {"credits": self._rows.credits, "used": 0.0, "number": 0, "counts": "{}", "requests": "[]"}
        blank |= {"models": None, "rate_limit": None, "due": None, "wake": None}
        with self.database.writing() as connection:
            own = clock = None
            if account is None:
                connection.execute(_IN_ORDER)
            else:
                row = self._rows.locked(connection, cast("SqlAccount", account))
                own, clock = row["id"], row["clock_id"]
            self._forget(connection, own)
            values = {**blank, "clock_id": self._restart_clock(connection, clock), "changes": accounts.c.changes + 1}
            connection.execute(self._of(update(accounts), own).values(values))
            if account is None:
                self._rows.clear_defaults(connection)
                connection.execute(delete(clocks).where(clocks.c.id != SERVER_CLOCK))

    def _forget(self, connection: Connection, own: int | None) -> None:
        if own is None:
            for table in (*OF_ACCOUNT, blobs):
                connection.execute(delete(table))
            return
        connection.execute(
            delete(blobs).where(blobs.c.id.in_(select(files.c.blob_id).where(files.c.account_id == own)))
        )
        for table in OF_ACCOUNT:
            connection.execute(delete(table).where(table.c.account_id == own))

    def _own(self, connection: Connection, account: Account | None) -> int | None:
        """Return the number of the account's row, which is locked; None where all are meant."""
        return None if account is None else int(self._rows.locked(connection, cast("SqlAccount", account))["id"])

    def _changing(self, connection: Connection, account: Account | None) -> Any:
        """Return an update of the account's row, or of all: these are locked first, in the order in which couriers lock several."""
        if account is None:
            connection.execute(_IN_ORDER)
        return self._of(update(accounts), self._own(connection, account))

    def _of(self, statement: Any, own: int | None) -> Any:
        return statement if own is None else statement.where(accounts.c.id == own)

    # Reading

    def task(self, account: Account, task_id: str) -> Task | None:
        """Return a task of the account."""
        with self.database.reading() as connection:
            row = TASK.named(connection, task_id, account=cast("SqlAccount", account).id)
        return None if row is None else task_of(row)

    def tasks(self, account: Account, newest: int | None = None) -> Sequence[Task]:
        """Return the account's tasks, or so many of the newest, oldest first."""
        found = (
            select(tasks).where(tasks.c.account_id == cast("SqlAccount", account).id).order_by(tasks.c.number.desc())
        )
        with self.database.reading() as connection:
            rows = connection.execute(found if newest is None else found.limit(newest)).mappings().all()
        return [task_of(row) for row in reversed(rows)]

    def count_tasks(self, account: Account, since: float = -inf) -> int:
        """Return how many tasks the account has that were created after *since*."""
        counted = select(func.count()).where(tasks.c.account_id == cast("SqlAccount", account).id)
        if since > -inf:
            counted = counted.where(tasks.c.created_at > since)
        with self.database.reading() as connection:
            return int(connection.execute(counted).scalar_one())

    def delivery(self, account: Account, delivery_id: str) -> Delivery | None:
        """Return a delivery of the account."""
        with self.database.reading() as connection:
            row = DELIVERY.named(connection, delivery_id, account=cast("SqlAccount", account).id)
        return None if row is None else delivery_of(row)

    def deliveries(self, account: Account, task_id: str | None = None) -> Sequence[Delivery]:
        """Return the account's deliveries, or those of one task, oldest first."""
        found = select(deliveries).where(deliveries.c.account_id == cast("SqlAccount", account).id)
        if task_id is not None:
            if not can_be_text(task_id):
                return []
            found = found.where(deliveries.c.task_id == task_id)
        with self.database.reading() as connection:
            rows = connection.execute(found.order_by(deliveries.c.number, deliveries.c.nth)).mappings().all()
        return [delivery_of(row) for row in rows]

    def is_remembered(self, account: Account, key: str) -> bool:
        """Return whether an Idempotency-Key may stand for a task."""
        with self.database.reading() as connection:
            return KEY.first(connection, account=cast("SqlAccount", account).id, own=key) is not None

    def read(self, account: Account, task_id: str, retention: float) -> tuple[Task, float] | None:
        """Count one read of a task."""
        now, own = account.clock.now(), cast("SqlAccount", account).id
        with self.database.changing() as connection:
            row = _READ.named(connection, task_id, account=own, since=now - retention)
        if row is None:
            return None
        task = task_of(row)
        return (self._end(account, task), now) if _ends(task) else (task, now)

    def _end(self, account: Account, task: Task) -> Task:
        """Let a poll-paced task end with the read that was just counted."""
        with self.begin(account) as facts:
            kept = facts.task(task.id)
            if kept is None or not _ends(kept):
                return kept or task
            kept.ended_at = facts.now()
            facts.save(kept)
            facts.schedule(kept.ended_at, kept)
            return kept

    # Bytes and secrets

    def keep(self, source: IO[bytes]) -> Blob:
        """Return a kept copy of *source*, in the database."""
        source.seek(0)
        data = source.read()
        with self.database.writing() as connection:
            held = int(connection.execute(select(func.sum(blobs.c.size))).scalar() or 0)
            if held + len(data) > self._upload_bytes:
                raise NoRoom(f"the fake keeps {self._upload_bytes} bytes of uploads in all, {held} of them are taken")
            values = {"size": len(data), "kept_at": self.database.now(), "data": data}
            made = connection.execute(insert(blobs).values(values).returning(blobs.c.id)).scalar_one()
        return SqlBlob(self.database, made, len(data))

    def keep_picture(self, digest: str, data: bytes) -> None:
        """Keep a first frame for the other processes."""
        keep_picture(self.database, digest, data)

    def picture(self, digest: str) -> bytes | None:
        """Return a first frame that any process has kept."""
        return picture(self.database, digest)

    def secret(self, name: str, draw: Callable[[], bytes]) -> bytes:
        """Return the secret of this name, one for all processes: that of the first to commit."""
        mine = select(secrets.c.value).where(secrets.c.name == name)
        with self.database.changing() as connection:
            found = connection.execute(mine).scalar_one_or_none()
            if found is None:
                connection.execute(self.database.insert_new(secrets).values(name=name, value=draw()))
                found = connection.execute(mine).scalar_one()
        return bytes(found)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()


def settings_of(database: Database) -> str | None:
    """Return the settings with which the fake on this database was started last; None before it ever was."""
    with database.reading() as connection:
        return meta.value_of(connection, _SETTINGS) or None


def _ends(task: Task) -> bool:
    polls = task.plan.polls
    return bool(polls) and task.ended_at is None and task.cancelled_at is None and task.reads > sum(polls or ())
