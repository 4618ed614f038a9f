"""The rows of accounts: made on first sight, and forgotten again when too many of them hold nothing.

A request may hold an account whose row is gone. Whatever writes takes the row first, with `Accounts.locked`, which makes it again
where it is not there; so the row is gone only as long as there is nothing to lose.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, select

from kling_mock.ids import fingerprint
from kling_mock.store.sql import meta
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.rows import SqlAccount
from kling_mock.store.sql.statements import Among, Row, Statement
from kling_mock.store.sql.tables import ACCOUNT, OF_ACCOUNT, SERVER_CLOCK, accounts, queue

_DEFAULTS, _RELAYS = "defaults", "relays"
_BLANK = {"used": 0.0, "number": 0, "counts": "{}", "requests": "[]", "names": "{}"}

_OF_KEY = ACCOUNT.where(accounts.c.key == bindparam("key"))
_BY_KEY = Statement(_OF_KEY)
_QUEUED = exists(select(1).where(queue.c.account_id == accounts.c.id)) | exists(
    select(1).where(queue.c.account_id.is_(None))
)
"""Whether a scenario is queued that a create of the account may use: most have none, and need not look for it."""
_LOCKED = ACCOUNT.add_columns(_QUEUED.label("queued")).with_for_update(of=accounts)
_LOCK_BY_KEY = Statement(_LOCKED.where(accounts.c.key == bindparam("key")))
_LOCK = Statement(_LOCKED.where(accounts.c.id == bindparam("account")))
_LOCK_ALL = Statement(_LOCKED.where(Among(accounts.c.id, "ids")).order_by(accounts.c.id))
_DEFAULT = ("clock_id", "credits", "models", "rate_limit", "relays")
_UNTOUCHED = and_(
    *(accounts.c[name] == value for name, value in _BLANK.items()),
    *(
        accounts.c[name].is_not_distinct_from(bindparam(f"new_{name}", type_=accounts.c[name].type))
        for name in _DEFAULT
    ),
    *(~exists(select(1).where(table.c.account_id == accounts.c.id)) for table in OF_ACCOUNT),
)
"""An account like a new one of the same key."""
_TOO_OLD = select(accounts.c.id).where(_UNTOUCHED).order_by(accounts.c.id.desc()).offset(bindparam("kept")).limit(1)
_OLD = Statement(
    select(accounts.c.id)
    .where(accounts.c.id <= bindparam("last"), _UNTOUCHED)
    .order_by(accounts.c.id)
    .with_for_update(skip_locked=True)
)
_FORGET = Statement(delete(accounts).where(accounts.c.id == bindparam("own"), _UNTOUCHED))
_NEWEST_OLD = Statement(_TOO_OLD)
_BEFORE = Statement(select(func.max(accounts.c.id).label("id")).where(accounts.c.id < bindparam("own")))


class Accounts:
    """Finds, makes and forgets them. *credits* is the balance of a new one."""

    def __init__(self, database: Database, credits: float, most_untouched: int) -> None:
        self._database, self.credits = database, credits
        self._kept = max(1, most_untouched // 2)

    def begin(self, connection: Connection, relays: Mapping[str, str]) -> None:
        """Write what new accounts have, where it is not there; *relays*, where there are any, in any case."""
        meta.set_value(connection, _RELAYS, json.dumps(dict(relays)), only_new=not relays)
        meta.set_value(connection, _DEFAULTS, "{}", only_new=True)

    def found(self, connection: Connection, key: str) -> Row | None:
        """Return the row of *key*, with its clock."""
        return _BY_KEY.first(connection, key=key)

    def made(self, connection: Connection, key: str) -> Row:
        """Return the row of *key*, made where there is none, and locked; its transaction is open."""
        row = _LOCK_BY_KEY.first(connection, key=key)
        while row is None:
            values = {**self._new(connection), **_BLANK, "key": key, "name": fingerprint(key), "changes": 0}
            connection.execute(self._database.insert_new(accounts).values(values))
            row = _LOCK_BY_KEY.first(connection, key=key)
            if row is not None:
                self._forget_now_and_then(connection, row["id"])
        return row

    def locked(self, connection: Connection, account: SqlAccount) -> Row:
        """Return the row of *account*, for this transaction alone; one that was forgotten is made again."""
        return _LOCK.first(connection, account=account.id) or self.made(connection, account.key)

    def all_locked(self, connection: Connection, several: Sequence[SqlAccount]) -> list[Row]:
        """Return the rows of several accounts, each once, for this transaction alone, always in one order."""
        ids = [one.id for one in several]
        found = {row["id"]: row for row in _LOCK_ALL.rows(connection, ids=json.dumps(ids))}
        return [found.get(one.id) or self.locked(connection, one) for one in several]

    def _new(self, connection: Connection) -> dict[str, Any]:
        """Return what a new account has."""
        defaults = json.loads(meta.value_of(connection, _DEFAULTS, "{}"))
        models = defaults.get("models")
        return {
            "clock_id": SERVER_CLOCK,
            "credits": defaults.get("credits", self.credits),
            "models": None if models is None else json.dumps(models),
            "rate_limit": defaults.get("rate_limit"),
            "relays": meta.value_of(connection, _RELAYS),
        }

    # What new accounts have

    def set_defaults(self, connection: Connection, given: Mapping[str, Any]) -> None:
        """Let new accounts have this."""
        known = json.loads(meta.value_of(connection, _DEFAULTS, "{}"))
        meta.set_value(connection, _DEFAULTS, json.dumps({**known, **given}))

    def clear_defaults(self, connection: Connection) -> None:
        """Let new accounts have what the fake was started with."""
        meta.set_value(connection, _DEFAULTS, "{}")

    def set_relays(self, connection: Connection, relays: str) -> None:
        """Let callbacks of new accounts really go there."""
        meta.set_value(connection, _RELAYS, relays)

    # Forgetting

    def _forget_now_and_then(self, connection: Connection, own: int) -> None:
        """Let go of the older accounts that hold nothing, each time that so many were made, by whichever process.

        The newest of them stay, the account *own* that was just made among them: so no number is given twice.
        """
        before = _BEFORE.first(connection, own=own)
        if before is None or (before["id"] or 0) // self._kept == own // self._kept:
            return
        new = {f"new_{name}": value for name, value in self._new(connection).items()}
        last = _NEWEST_OLD.first(connection, kept=self._kept, **new)
        if last is None:
            return
        # First those that no request has locked, then of these what has still nothing: one may just have been written to.
        old = _OLD.rows(connection, last=last["id"], **new)
        _FORGET.each(connection, [{"own": row["id"], **new} for row in old])
