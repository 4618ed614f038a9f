"""A transaction on an account for a block: its row is locked where the block begins, what has changed is written where it ends.

On several accounts, too, as one: each statement runs once with the values of all of them.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, select

from kling_mock.store.sql.accounts import Accounts
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.hot import FREE, pending
from kling_mock.store.sql.rows import SqlAccount
from kling_mock.store.sql.statements import Among, Row, Statement
from kling_mock.store.sql.tables import deliveries, tasks
from kling_mock.store.sql.transaction import SqlTransaction, finish


class Begun:
    """The block. A class rather than a generator, as `Taken` is."""

    __slots__ = ("_account", "_database", "_facts", "_rows", "_taken")

    def __init__(self, database: Database, rows: Accounts, account: SqlAccount) -> None:
        self._database, self._rows, self._account = database, rows, account
        self._taken = database.writing()

    def __enter__(self) -> SqlTransaction:
        """Lock the account's row."""
        connection = self._taken.__enter__()
        try:
            row = self._rows.locked(connection, self._account)
            self._facts = SqlTransaction(self._database, connection, row)
        except BaseException as error:
            self._taken.__exit__(type(error), error, None)
            raise
        return self._facts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Write what has changed; nothing where the block failed."""
        if error is None:
            try:
                self._facts.finish()
            except BaseException as found:
                self._taken.__exit__(type(found), found, None)
                raise
        self._taken.__exit__(kind, error, where)


_THEIRS = Among(tasks.c.account_id, "ids")
_OWED = Among(deliveries.c.account_id, "ids")
_DUE_TASKS = Statement(
    select(tasks)
    .where(_THEIRS, tasks.c.due <= bindparam("now"))
    .order_by(tasks.c.due, tasks.c.number)
    .limit(bindparam("most"))
)
_DUE_DELIVERIES = Statement(
    select(deliveries)
    .where(_OWED, deliveries.c.due <= bindparam("now"), FREE)
    .order_by(deliveries.c.due, deliveries.c.number, deliveries.c.nth)
    .limit(bindparam("most"))
)
_NAMED_TASKS = Statement(select(tasks).where(_THEIRS, Among(tasks.c.id, "names")))
_NAMED_DELIVERIES = Statement(select(deliveries).where(_OWED, Among(deliveries.c.id, "names")))

Taking = Callable[[Connection], Sequence[Row]]
Reading = Callable[[Connection, Sequence[SqlTransaction]], None]


class BegunTogether:
    """Transactions on the accounts whose rows *taking* locks, as one; *reading* reads what will be asked of all of them."""

    __slots__ = ("_connection", "_database", "_reading", "_several", "_taken", "_taking", "_writes")

    def __init__(self, database: Database, taking: Taking, reading: Reading) -> None:
        self._database, self._taking, self._reading = database, taking, reading
        self._taken = database.writing()

    def __enter__(self) -> Sequence[SqlTransaction]:
        """Lock the accounts' rows."""
        self._connection = connection = self._taken.__enter__()
        try:
            self._writes = pending()
            rows = self._taking(connection)
            self._several = [SqlTransaction(self._database, connection, row, self._writes) for row in rows]
            if self._several:
                self._reading(connection, self._several)
        except BaseException as error:
            self._taken.__exit__(type(error), error, None)
            raise
        return self._several

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Write what has changed; nothing where the block failed."""
        if error is None:
            try:
                finish(self._connection, self._writes, self._several)
            except BaseException as found:
                self._taken.__exit__(type(found), found, None)
                raise
        self._taken.__exit__(kind, error, where)


def read_due(database: Database, most: int, connection: Connection, several: Sequence[SqlTransaction]) -> None:
    """Read what is due in all of these accounts, whose clock is the same one: *most* tasks and deliveries, those due first."""
    now, ids = several[0].now(), _json([one.id for one in several])
    due = _DUE_TASKS.rows(connection, ids=ids, now=now, most=most)
    owed = _DUE_DELIVERIES.rows(connection, ids=ids, now=now, real_now=database.now(), most=most)
    names = {row["task_id"] for row in owed} - {row["id"] for row in due}
    named = _NAMED_TASKS.rows(connection, ids=ids, names=_json([*names])) if names else []
    full = [rows[-1]["due"] for rows in (due, owed) if len(rows) == most]
    of_task, of_delivery, of_name = map(_by_account, (due, owed, named))
    for one in several:
        mine = (of_task.get(one.id, ()), of_delivery.get(one.id, ()), of_name.get(one.id, ()))
        one.take_due(*mine, now, min(full, default=now))


def read_deliveries(names: Sequence[str], connection: Connection, several: Sequence[SqlTransaction]) -> None:
    """Read the deliveries of these names."""
    found = _NAMED_DELIVERIES.rows(connection, ids=_json([one.id for one in several]), names=_json(names))
    of_account = _by_account(found)
    for one in several:
        one.take_deliveries(of_account.get(one.id, ()))


def _by_account(rows: Sequence[Row]) -> dict[int, list[Row]]:
    by: dict[int, list[Row]] = {}
    for row in rows:
        by.setdefault(row["account_id"], []).append(row)
    return by


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(values).decode()
