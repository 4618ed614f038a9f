"""When an account has something due: `due` by its own clock, `wake` in real time by the database's."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from kling_mock.clock import Clock
from kling_mock.store.sql.statements import Statement
from kling_mock.store.sql.tables import deliveries, tasks

_OWED = deliveries.c.account_id == bindparam("account")
_NEXT = Statement(
    select(
        select(func.min(tasks.c.due)).where(tasks.c.account_id == bindparam("account")).scalar_subquery().label("task"),
        select(func.min(deliveries.c.due)).where(_OWED, deliveries.c.lease.is_(None)).scalar_subquery().label("owed"),
        select(func.min(deliveries.c.lease)).where(_OWED).scalar_subquery().label("lease"),
    )
)


def real(clock: Clock, moment: float, ahead: float) -> float | None:
    """Return when *clock* shows *moment*, in real time by the database's clock; None where it never will by itself."""
    base, began, rate = clock.run
    return None if rate == 0.0 else began + ahead + max(0.0, moment - base) / rate


def wake_values(connection: Connection, account_id: int, clock: Clock, ahead: float) -> dict[str, Any]:
    """Return `due` and `wake` of an account as its rows have them: what no process has in hand, and what may be lost."""
    (found,) = _NEXT.rows(connection, account=account_id)
    due = earlier(found["task"], found["owed"])
    by_clock = None if due is None else real(clock, due, ahead)
    return {"due": due, "wake": by_clock if clock.mode == "manual" else earlier(by_clock, found["lease"])}


def earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two moments, where there is one."""
    return other if one is None else one if other is None else min(one, other)
