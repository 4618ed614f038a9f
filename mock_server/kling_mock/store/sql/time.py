"""Clocks in the database, and what is due by them, handed to couriers: each account to one at a time."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Connection, delete, insert, select, update

from kling_mock import clock as clocks_of_here
from kling_mock.clock import Clock, Mode, NotManual
from kling_mock.core.moments import after
from kling_mock.store.interface import Account, StoreDown
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.rows import SqlAccount, SqlClock, account_of
from kling_mock.store.sql.tables import accounts, clocks, deliveries, locks, meta
from kling_mock.store.sql.transaction import real, wake_values

SERVER_CLOCK = 1
"""The first row of the clocks."""
_STARTED = "started_as"
_ALL = "advance"
_HELD = 60.0
_POLL = 0.02
_HOLD = 2.0

_JOINED = accounts.join(clocks, accounts.c.clock_id == clocks.c.id)
_ACCOUNT = select(accounts, clocks.c.mode, clocks.c.base, clocks.c.began, clocks.c.rate).select_from(_JOINED)
_CLOCK = select(clocks.c.id.label("clock_id"), clocks.c.mode, clocks.c.base, clocks.c.began, clocks.c.rate)


class Time:
    """The part of the SQL store that is about time."""

    def __init__(self, database: Database, start_clock: Callable[[], Clock]) -> None:
        self.database, self._start_clock = database, start_clock
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
        row = connection.execute(_CLOCK.where(clocks.c.id == clock_id)).mappings().one()
        return SqlClock(row, self.database.ahead)

    def _values(self, clock: Clock) -> dict[str, Any]:
        base, began, rate = clock.run
        return {"mode": clock.mode, "base": base, "began": began + self.database.ahead, "rate": rate}

    def _begin_clock(self, connection: Connection, started_as: str) -> None:
        """Make the server's clock; one that is there goes on, in another mode where it is started with other options."""
        connection.execute(select(meta.c.name).where(meta.c.name == "version").with_for_update())  # one at a time
        known = connection.execute(select(meta.c.value).where(meta.c.name == _STARTED)).scalar_one_or_none()
        start = self._start_clock()
        if known is None:
            connection.execute(insert(clocks).values(self._values(start)))
            connection.execute(insert(meta).values(name=_STARTED, value=started_as))
        elif known != started_as:
            connection.execute(update(meta).where(meta.c.name == _STARTED).values(value=started_as))
            self._set(connection, self._clock(connection, SERVER_CLOCK), start.mode, start.run[2] or 1.0)

    def _restart_clock(self, connection: Connection, account: Account | None) -> int:
        """Set the account's own clock, or the server's, to how it was started; return its id."""
        values = self._values(self._start_clock())
        if account is None:
            connection.execute(update(clocks).where(clocks.c.id == SERVER_CLOCK).values(values))
            return SERVER_CLOCK
        found = select(accounts.c.clock_id).where(accounts.c.id == cast("SqlAccount", account).id)
        own = int(connection.execute(found).scalar_one())
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
            own = cast("SqlAccount", account).id
            found = select(accounts.c.clock_id).where(accounts.c.id == own).with_for_update()
            clock_id = int(connection.execute(found).scalar_one())
            clock = self._clock(connection, clock_id)
            if clock_id != SERVER_CLOCK:
                return [clock]
            clock_id = self._new_clock(connection, self._values(clock.fork()))
            connection.execute(update(accounts).where(accounts.c.id == own).values(clock_id=clock_id))
            return [self._clock(connection, clock_id)]

    def set_clock(self, account: Account | None, mode: Mode, rate: float) -> None:
        """Let clocks go on from where they are in another mode."""
        for clock in self.clocks(account):
            with self.database.writing() as connection:
                connection.execute(select(clocks.c.id).where(clocks.c.id == clock.id).with_for_update())
                self._set(connection, self._clock(connection, clock.id), mode, rate)
        self.wake()

    def _set(self, connection: Connection, clock: SqlClock, mode: Mode, rate: float) -> None:
        clock.set(mode, rate)
        connection.execute(update(clocks).where(clocks.c.id == clock.id).values(self._values(clock)))
        ours = connection.execute(select(accounts.c.id, accounts.c.due).where(accounts.c.clock_id == clock.id)).all()
        for account_id, due in ours:
            at = None if due is None else real(clock, due, self.database.ahead)
            connection.execute(update(accounts).where(accounts.c.id == account_id).values(wake=at))

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
                due = _ACCOUNT.where(*mine).order_by(accounts.c.due, accounts.c.id).limit(1)
                if account is not None:
                    due = due.where(accounts.c.id == cast("SqlAccount", account).id)
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

    def _look(self, connection: Connection, account_id: int) -> SqlAccount:
        """Take the account's row, give up leases whose time is over, and write anew what it has due."""
        row = (
            connection.execute(_ACCOUNT.where(accounts.c.id == account_id).with_for_update(of=accounts))
            .mappings()
            .one()
        )
        over = (deliveries.c.account_id == account_id, deliveries.c.lease <= self.database.now())
        connection.execute(update(deliveries).where(*over).values(lease=None))
        values = wake_values(connection, account_id, SqlClock(row, self.database.ahead), self.database.ahead)
        connection.execute(update(accounts).where(accounts.c.id == account_id).values(values))
        return account_of({**row, **values}, self.database.ahead)  # type: ignore[arg-type]

    def next_account(self, timeout: float) -> SqlAccount | None:
        """Look every few milliseconds for an account with something due, and keep it from other couriers for a moment."""
        until = clocks_of_here.monotonic() + timeout
        while clocks_of_here.monotonic() < until:
            account = self._claim()
            if account is not None:
                return account
            if self._woken.wait(_POLL):
                self._woken.clear()
                return None
        return None

    def _claim(self) -> SqlAccount | None:
        now = self.database.now()
        due = select(accounts.c.id).where(accounts.c.wake <= now).order_by(accounts.c.wake).limit(1)
        with self.database.reading() as connection:
            if connection.execute(due).first() is None:
                return None
        with self.database.writing() as connection:
            account_id = connection.execute(due.with_for_update(skip_locked=True)).scalar_one_or_none()
            if account_id is None:
                return None
            account = self._look(connection, account_id)
            if account.due is None or account.due > account.clock.now():
                return None
            connection.execute(update(accounts).where(accounts.c.id == account_id).values(wake=now + _HOLD))
            return account

    def wake(self) -> None:
        """Let whoever waits in `next_account` return."""
        self._woken.set()

    def changes(self, account: Account) -> int:
        """Return the number of changes so far."""
        found = select(accounts.c.changes).where(accounts.c.id == cast("SqlAccount", account).id)
        with self.database.reading() as connection:
            return int(connection.execute(found).scalar_one())

    def wait(self, account: Account, seen: int, timeout: float) -> None:
        """Look again and again whether there was another change."""
        until = clocks_of_here.monotonic() + timeout
        while (left := until - clocks_of_here.monotonic()) > 0 and self.changes(account) == seen:
            clocks_of_here.pause(min(_POLL, left))
