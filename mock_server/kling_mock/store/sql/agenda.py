"""When an account has something due: `due` by its own clock, `wake` in real time by the database's."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from kling_mock.clock import Clock
from kling_mock.store.sql.statements import Among, Row, Statement
from kling_mock.store.sql.tables import accounts, deliveries, tasks

_OWED = deliveries.c.account_id == accounts.c.id
_NEXT = Statement(
    select(
        accounts.c.id,
        select(func.min(tasks.c.due)).where(tasks.c.account_id == accounts.c.id).scalar_subquery().label("task"),
        select(func.min(deliveries.c.due)).where(_OWED, deliveries.c.lease.is_(None)).scalar_subquery().label("owed"),
        select(func.min(deliveries.c.lease)).where(_OWED).scalar_subquery().label("lease"),
    ).where(Among(accounts.c.id, "ids"))
)


def real(clock: Clock, moment: float, ahead: float) -> float | None:
    """Return when *clock* shows *moment*, in real time by the database's clock; None where it never will by itself."""
    base, began, rate = clock.run
    return None if rate == 0.0 else began + ahead + max(0.0, moment - base) / rate


def next_of(connection: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """Return what each of these accounts has next: of its tasks, of what it owes, and of what a process has in hand."""
    return {row["id"]: row for row in _NEXT.rows(connection, ids=orjson.dumps(ids).decode())}


def wake_values(found: Row, clock: Clock, ahead: float) -> dict[str, Any]:
    """Return `due` and `wake` of an account by what it has next: what no process has in hand, and what may be lost."""
    due = earlier(found["task"], found["owed"])
    by_clock = None if due is None else real(clock, due, ahead)
    return {"due": due, "wake": by_clock if clock.mode == "manual" else earlier(by_clock, found["lease"])}


def earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two moments, where there is one."""
    return other if one is None else one if other is None else min(one, other)
