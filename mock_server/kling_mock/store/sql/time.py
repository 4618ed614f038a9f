"""Clocks in the database, and what is due by them, handed to couriers: each account to one at a time."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from kling_mock import clock as clocks_of_here
from kling_mock.clock import Clock, Mode, NotManual
from kling_mock.core.moments import after
from kling_mock.store.interface import Account, StoreDown
from kling_mock.store.sql.accounts import Accounts
from kling_mock.store.sql.agenda import next_of, real, wake_values
from kling_mock.store.sql.begun import BegunTogether, read_due
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.rows import SqlAccount, SqlClock, account_of
from kling_mock.store.sql.statements import Row, Statement
from kling_mock.store.sql.tables import ACCOUNT, SERVER_CLOCK, accounts, clocks, deliveries, locks, meta
from kling_mock.store.sql.transaction import SqlTransaction

_STARTED = "started_as"
_ALL = "advance"
_HELD = 60.0
_POLL = 0.02
_ACCOUNTS = 16

_CLOCK = select(clocks.c.id.label("clock_id"), clocks.c.mode, clocks.c.base, clocks.c.began, clocks.c.rate)
_CLOCK_OF = Statement(_CLOCK.where(clocks.c.id == bindparam("own")))

_MINE = accounts.c.id == bindparam("account")
_LOCK = Statement(ACCOUNT.where(_MINE).with_for_update(of=accounts))
_AGENDA = Statement(update(accounts).where(_MINE), "due", "wake")
_WAKE = Statement(update(accounts).where(_MINE), "wake")
_CHANGES = Statement(select(accounts.c.changes).where(accounts.c.key == bindparam("key")))
_ANYTHING_DUE = accounts.c.due.is_not(None) | accounts.c.wake.is_not(None)
_IS_DUE = accounts.c.wake <= bindparam("now")
_FIRST_DUE = select(accounts.c.clock_id).where(_IS_DUE).order_by(accounts.c.wake).limit(1)
_DUE = Statement(_FIRST_DUE)
_LEASE = select(func.min(deliveries.c.lease)).where(deliveries.c.account_id == accounts.c.id)
_CLAIM = Statement(
    ACCOUNT.add_columns(_LEASE.scalar_subquery().label("lease"))
    .where(_IS_DUE, accounts.c.clock_id + 0 == _FIRST_DUE.scalar_subquery())
    .order_by(accounts.c.wake)
    .limit(_ACCOUNTS)
    .with_for_update(of=accounts, skip_locked=True)
)
"""Accounts of one clock that have something due, locked; those that another courier has locked are its own.

`+ 0`: SQLite would go through all accounts of the clock, by the index of it, instead of the few that have something due.
"""
_FREE_AGAIN = Statement(
    update(deliveries)
    .where(deliveries.c.account_id == bindparam("account"), deliveries.c.lease <= bindparam("now"))
    .values(lease=None)
)


class Time:
    """The part of the SQL store that is about time."""

    def __init__(self, database: Database, rows: Accounts, start_clock: Callable[[], Clock]) -> None:
        self.database, self._rows, self._start_clock = database, rows, start_clock
        self._woken = threading.Event()
        self._advancing: set[str] = set()
        self._last: SqlClock | None = None

    @property
    def clock(self) -> Clock:
        """The server's clock as it stands now, or stood when the database was last there."""
        try:
            with self.database.reading() as connection:
                self._last = self._clock(connection, SERVER_CLOCK)
        except StoreDown:
            if self._last is None:
                raise
        return self._last

    def _clock(self, connection: Connection, clock_id: int) -> SqlClock:
        (row,) = _CLOCK_OF.rows(connection, own=clock_id)
        return SqlClock(row, self.database.ahead)

    def _values(self, clock: Clock) -> dict[str, Any]:
        base, began, rate = clock.run
        return {"mode": clock.mode, "base": base, "began": began + self.database.ahead, "rate": rate}

    def _begin_clock(self, connection: Connection, started_as: str) -> bool:
        """Make the server's clock; one that is there goes on, in another mode where it is started with other options.

        Return whether it was set to another mode.
        """
        connection.execute(select(meta.c.name).where(meta.c.name == "version").with_for_update())  # one at a time
        known = connection.execute(select(meta.c.value).where(meta.c.name == _STARTED)).scalar_one_or_none()
        start = self._start_clock()
        if known is None:
            connection.execute(insert(clocks).values(self._values(start)))
            connection.execute(insert(meta).values(name=_STARTED, value=started_as))
        elif known != started_as:
            connection.execute(update(meta).where(meta.c.name == _STARTED).values(value=started_as))
            self._set(connection, self._clock(connection, SERVER_CLOCK), start.mode, start.run[2] or 1.0)
        return known not in (None, started_as)

    def _restart_clock(self, connection: Connection, own: int | None) -> int:
        """Set an account's clock of this id, or the server's, to how it was started; return the id of the account's own."""
        values = self._values(self._start_clock())
        if own is None:
            connection.execute(update(clocks).where(clocks.c.id == SERVER_CLOCK).values(values))
            return SERVER_CLOCK
        if own == SERVER_CLOCK:
            return self._new_clock(connection, values)
        connection.execute(update(clocks).where(clocks.c.id == own).values(values))
        return own

    def _new_clock(self, connection: Connection, values: dict[str, Any]) -> int:
        return int(connection.execute(insert(clocks).values(values).returning(clocks.c.id)).scalar_one())

    # Clocks

    def clocks(self, account: Account | None) -> Sequence[SqlClock]:
        """Return the clocks that a call about *account* moves."""
        with self.database.writing() as connection:
            if account is None:
                rows = connection.execute(_CLOCK.order_by(clocks.c.id)).mappings().all()
                return [SqlClock(row, self.database.ahead) for row in rows]
            row = self._rows.locked(connection, cast("SqlAccount", account))
            clock = self._clock(connection, row["clock_id"])
            if clock.id != SERVER_CLOCK:
                return [clock]
            clock_id = self._new_clock(connection, self._values(clock.fork()))
            connection.execute(update(accounts).where(accounts.c.id == row["id"]).values(clock_id=clock_id))
            return [self._clock(connection, clock_id)]

    def set_clock(self, account: Account | None, mode: Mode, rate: float) -> None:
        """Let clocks go on from where they are in another mode."""
        for clock in self.clocks(account):
            with self.database.writing() as connection:
                mine = select(clocks.c.id).where(clocks.c.id == clock.id).with_for_update()
                if connection.execute(mine).first() is not None:  # else a reset came meanwhile
                    self._set(connection, self._clock(connection, clock.id), mode, rate)
            self._wake_anew(clock.id)
        self.wake()

    def _set(self, connection: Connection, clock: SqlClock, mode: Mode, rate: float) -> None:
        clock.set(mode, rate)
        connection.execute(update(clocks).where(clocks.c.id == clock.id).values(self._values(clock)))

    def _wake_anew(self, clock_id: int) -> None:
        """Write when accounts wake by a clock that was set.

        Done once the clock is there for everybody: a transaction that began before may still go by how it was, and has ended here.
        """
        with self.database.writing() as connection:
            mine = select(accounts.c.id, accounts.c.due).where(accounts.c.clock_id == clock_id, _ANYTHING_DUE)
            found = connection.execute(mine.order_by(accounts.c.id).with_for_update()).all()
            if not found:  # a reset may have taken the clock away, with whatever went by it
                return
            clock = self._clock(connection, clock_id)
            for account_id, due in found:
                at = None if due is None else real(clock, due, self.database.ahead)
                _WAKE.run(connection, account=account_id, wake=at)

    def move_clock(self, clock: Clock, moment: float) -> None:
        """Set a manual clock forward."""
        own = cast("SqlClock", clock).id
        manual = (clocks.c.id == own, clocks.c.mode == "manual")
        with self.database.writing() as connection:
            row = connection.execute(select(clocks.c.base).where(*manual).with_for_update()).first()
            if row is None:
                raise NotManual("the clock runs by itself; only a manual clock can be advanced")
            connection.execute(update(clocks).where(*manual).values(base=max(row[0], after(moment, 0))))
            if self._advancing:
                mine = locks.c.name.in_(self._advancing)
                connection.execute(update(locks).where(mine).values(until=self.database.now() + _HELD))

    @contextmanager
    def advancing(self, account: Account | None) -> Iterator[None]:
        """Hold a row that says so. It is renewed with each move of the clock, and void a minute after its holder ended."""
        name = _ALL if account is None else f"{_ALL} {account.name}"
        while not self._hold(name):
            clocks_of_here.pause(_POLL)
        self._advancing.add(name)
        try:
            self._recover(account)
            yield
        finally:
            self._advancing.discard(name)
            with self.database.writing() as connection:
                connection.execute(delete(locks).where(locks.c.name == name))

    def _hold(self, name: str) -> bool:
        with self.database.writing() as connection:
            now = self.database.now()
            connection.execute(select(meta.c.name).where(meta.c.name == "version").with_for_update())  # one at a time
            connection.execute(delete(locks).where(locks.c.until <= now))
            held = set(connection.execute(select(locks.c.name)).scalars())
            if held & {_ALL, name} or (name == _ALL and held):
                return False
            connection.execute(insert(locks).values(name=name, until=now + _HELD))
            return True

    # What falls due

    def earliest(self, account: Account | None, targets: Sequence[tuple[Clock, float]]) -> tuple[float, Account] | None:
        """Return the next thing due on the way, and whose it is."""
        found: tuple[float, int, SqlAccount] | None = None
        with self.database.reading() as connection:
            for clock, moment in targets:
                mine = (accounts.c.clock_id == cast("SqlClock", clock).id, accounts.c.due <= moment)
                due = ACCOUNT.where(*mine).order_by(accounts.c.due, accounts.c.id).limit(1)
                if account is not None:
                    due = due.where(accounts.c.key == account.key)
                row = connection.execute(due).mappings().first()
                if row is not None and (found is None or (row["due"], row["id"]) < found[:2]):
                    found = (row["due"], row["id"], account_of(row, self.database.ahead))
        return None if found is None else (found[0], found[2])

    def _recover(self, account: Account | None) -> None:
        """Let what a process had in hand when it ended fall due again."""
        expired = select(deliveries.c.account_id).where(deliveries.c.lease <= self.database.now()).distinct()
        with self.database.reading() as connection:
            lost = connection.execute(expired).scalars().all()
        for account_id in lost:
            if account is None or account_id == cast("SqlAccount", account).id:
                with self.database.writing() as connection:
                    self._look(connection, account_id)

    def _look(self, connection: Connection, account_id: int) -> None:
        """Take the account's row, give up leases whose time is over, and write anew what it has due."""
        (row,) = _LOCK.rows(connection, account=account_id)
        ahead = self.database.ahead
        _FREE_AGAIN.run(connection, account=account_id, now=self.database.now())
        values = wake_values(next_of(connection, [account_id])[account_id], SqlClock(row, ahead), ahead)
        _AGENDA.run(connection, account=account_id, **values)

    @contextmanager
    def due(self, timeout: float, most: int) -> Iterator[Sequence[SqlTransaction]]:
        """Look every few milliseconds for accounts with something due, and keep them from other couriers for the block."""
        until = clocks_of_here.monotonic() + timeout
        while clocks_of_here.monotonic() < until:
            if self._is_anything_due():
                with BegunTogether(self.database, self._claimed, partial(read_due, self.database, most)) as several:
                    if several:
                        yield several
                        return
            if self._woken.wait(_POLL):
                self._woken.clear()
                break
        yield []

    def _is_anything_due(self) -> bool:
        with self.database.reading() as connection:
            return _DUE.first(connection, now=self.database.now()) is not None

    def _claimed(self, connection: Connection) -> list[Row]:
        """Lock accounts with something due, where no other courier has; give up leases whose time is over."""
        now = self.database.now()
        rows = _CLAIM.rows(connection, now=now)
        expired = [row["id"] for row in rows if row["lease"] is not None and row["lease"] <= now]
        _FREE_AGAIN.each(connection, [{"account": own, "now": now} for own in expired])
        return rows

    def wake(self) -> None:
        """Let whoever waits in `due` return."""
        self._woken.set()

    def changes(self, account: Account) -> int:
        """Return the number of changes so far."""
        with self.database.reading() as connection:
            found = _CHANGES.first(connection, key=account.key)
        return 0 if found is None else int(found["changes"])

    def wait(self, account: Account, seen: int, timeout: float) -> None:
        """Look again and again whether there was another change."""
        until = clocks_of_here.monotonic() + timeout
        while (left := until - clocks_of_here.monotonic()) > 0 and self.changes(account) == seen:
            clocks_of_here.pause(min(_POLL, left))
