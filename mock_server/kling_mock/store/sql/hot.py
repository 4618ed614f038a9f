"""The statements of a transaction on an account."""

from sqlalchemy import bindparam, delete, insert, select, update

from kling_mock.store.sql.statements import Statement
from kling_mock.store.sql.tables import accounts, deliveries, idempotency, queue, tasks
from kling_mock.store.sql.writes import Writes

CHUNK = 64
"""Tasks, and deliveries, that are read at a time for one account."""

_OF_TASK = (tasks.c.account_id == bindparam("account"), tasks.c.id == bindparam("own"))
_OF_DELIVERY = (deliveries.c.account_id == bindparam("account"), deliveries.c.id == bindparam("own"))
_REMEMBERED = idempotency.c.account_id == bindparam("account")
_QUEUED_FIRST = (queue.c.account_id.is_(None), queue.c.id)

SAVE = Statement(
    update(accounts).where(accounts.c.id == bindparam("account")),
    *("credits", "used", "number", "counts", "due", "wake", "changes"),
)
QUEUED = Statement(
    select(queue)
    .where((queue.c.account_id == bindparam("account")) | queue.c.account_id.is_(None))
    .order_by(*_QUEUED_FIRST)
    .limit(1)
    .with_for_update()
)
FORGET_KEYS = Statement(
    delete(idempotency).where(
        _REMEMBERED, (idempotency.c.expires_at <= bindparam("now")) | (idempotency.c.key == bindparam("own"))
    )
)
KEY = Statement(select(idempotency).where(_REMEMBERED, idempotency.c.key == bindparam("own")))
REMEMBER = Statement(insert(idempotency), "account_id", "key", "body", "expires_at", "task_id")

TASK = Statement(select(tasks).where(*_OF_TASK))
DELIVERY = Statement(select(deliveries).where(*_OF_DELIVERY))
ADD_TASK = Statement(insert(tasks).inline(), *tasks.c.keys())
ADD_DELIVERY = Statement(insert(deliveries).inline(), *deliveries.c.keys())
SAVE_TASK = Statement(update(tasks).where(*_OF_TASK), "created_at", "settled", "facts")
SAVE_TASK_DUE = Statement(update(tasks).where(*_OF_TASK), "created_at", "settled", "facts", "due")
SAVE_DELIVERY = Statement(update(deliveries).where(*_OF_DELIVERY), "facts")
TASK_DUE = Statement(update(tasks).where(*_OF_TASK), "due")
DELIVERY_DUE = Statement(update(deliveries).where(*_OF_DELIVERY), "due")
STARTED = Statement(update(deliveries).where(*_OF_DELIVERY), "started", "lease", "due")
ATTEMPTED = Statement(update(deliveries).where(*_OF_DELIVERY), "started", "facts", "lease", "due")
ATTEMPTED_BY_HAND = Statement(update(deliveries).where(*_OF_DELIVERY), "started", "facts", "lease")
_WRITES = (
    *(ADD_TASK, ADD_DELIVERY, SAVE_TASK_DUE, SAVE_TASK, TASK_DUE),
    *(STARTED, ATTEMPTED, ATTEMPTED_BY_HAND, SAVE_DELIVERY, DELIVERY_DUE, SAVE),
)
"""In the order in which they run: what is new is there before it changes, an attempt has ended before the next one is due."""

DUE_TASKS = Statement(
    select(tasks)
    .where(tasks.c.account_id == bindparam("account"), tasks.c.due <= bindparam("now"))
    .order_by(tasks.c.due, tasks.c.number)
    .limit(CHUNK)
)
FREE = deliveries.c.lease.is_(None) | (deliveries.c.lease <= bindparam("real_now"))
"""What no process has in hand, or has had for too long."""
DUE_DELIVERIES = Statement(
    select(deliveries)
    .where(deliveries.c.account_id == bindparam("account"), deliveries.c.due <= bindparam("now"), FREE)
    .order_by(deliveries.c.due, deliveries.c.number, deliveries.c.nth)
    .limit(CHUNK)
)


def pending() -> Writes:
    """Return what transactions are about to write: nothing yet."""
    return Writes(_WRITES)
