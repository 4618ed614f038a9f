"""Facts as rows, and rows as facts. What a task or delivery consists of stands in its class and nowhere here."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from math import inf
from typing import Any

import msgspec
from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import RowMapping

from kling_mock.clock import Clock
from kling_mock.core.deliveries import Attempt, Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.interface import Names
from kling_mock.store.sql.statements import Row

_LOCK = threading.Lock()
_INFINITE = "Infinity"

_TASK = msgspec.json.Decoder(Task)
_write = msgspec.json.Encoder().encode
_DELIVERY = TypeAdapter(Delivery).validator
_ATTEMPT = TypeAdapter(Attempt).validator
# Some numbers are infinite, which a dataclass by itself would write as null; a tuple may be written as we like.
_WRITTEN = ConfigDict(ser_json_inf_nan="constants")
_DELIVERIES = TypeAdapter(tuple[Delivery], config=_WRITTEN).serializer
_ATTEMPTS = TypeAdapter(tuple[Attempt], config=_WRITTEN).serializer


@dataclass(slots=True, eq=False)
class SqlAccount:
    """An account as it stood when its row was read. Not frozen: each call makes some, and that would cost three times as much."""

    id: int
    key: str
    name: str
    clock: Clock
    clock_id: int
    credits: float
    used: float
    models: frozenset[str] | None
    rate_limit: int | None
    relays: Mapping[str, str]
    names: Names
    changes: int
    due: float | None

    def next_due(self) -> float | None:
        """Return when the next thing on the agenda falls due."""
        return self.due


class SqlClock(Clock):
    """A clock that knows its row. Each call makes some and few are ever set, so one lock does for all."""

    def __init__(self, row: Row | RowMapping, ahead: float) -> None:
        self._lock = _LOCK
        self.mode, self._steady = row["mode"], True
        self.id: int = row["clock_id"]
        self._run = (row["base"], row["began"] - ahead, row["rate"])


def account_of(row: Row | RowMapping, ahead: float, clock: Clock | None = None) -> SqlAccount:
    """Return the account in a row of accounts joined with its *clock*; *ahead* is how far the database's clock is ahead."""
    return SqlAccount(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        clock=clock or SqlClock(row, ahead),
        clock_id=row["clock_id"],
        credits=number(row["credits"]),
        used=number(row["used"]),
        models=None if row["models"] is None else frozenset(json.loads(row["models"])),
        rate_limit=row["rate_limit"],
        relays=_relays(row["relays"]),
        names=names_of(row["names"]),
        changes=row["changes"],
        due=row["due"],
    )


def number(value: float) -> float:
    """Return a sum of credits as the rest of the fake keeps it: an int where it is whole."""
    return int(value) if value == int(value) else value


@lru_cache(maxsize=256)
def _relays(text: str) -> Mapping[str, str]:
    """Return where callbacks really go, from its JSON; nothing writes to it."""
    found: Mapping[str, str] = json.loads(text)
    return found


@lru_cache(maxsize=256)
def names_of(text: str) -> Names:
    """Return names and addresses from their JSON; nothing writes to them."""
    return {name: tuple(map(ip_address, found)) for name, found in json.loads(text).items()}


def names_json(names: Names) -> str:
    """Return names and addresses as JSON."""
    return json.dumps({name: [str(ip) for ip in found] for name, found in names.items()})


def task_values(task: Task) -> dict[str, Any]:
    """Return the columns of a task that its own transaction writes; `reads` and `due` are written where they change."""
    return {"created_at": task.created_at, "settled": task.settled, "facts": _task_json(task)}


def task_of(row: Row | RowMapping) -> Task:
    """Return the task in a row."""
    facts = row["facts"]
    task: Task = msgspec.convert(json.loads(facts), Task) if _INFINITE in facts else _TASK.decode(facts)
    task.reads = row["reads"]
    task.reserved, task.charged, task.seconds = number(task.reserved), number(task.charged), number(task.seconds)
    return task


def _task_json(task: Task) -> str:
    """Return a task's facts as JSON. A plan that never ends has infinite numbers, which msgspec would write as null."""
    plan = task.plan
    if inf in (plan.queued_for, plan.runs_for, *(plan.polls or ())):
        return json.dumps(msgspec.to_builtins(task))
    return _write(task).decode()


def delivery_json(delivery: Delivery) -> str:
    """Return a delivery with its attempts as JSON."""
    return _one(_DELIVERIES.to_json((delivery,)))


def delivery_of(row: Row | RowMapping) -> Delivery:
    """Return the delivery in a row."""
    delivery: Delivery = _DELIVERY.validate_json(row["facts"])
    return delivery


def attempt_json(attempt: Attempt) -> str:
    """Return an attempt as JSON."""
    return _one(_ATTEMPTS.to_json((attempt,)))


def attempt_of(text: str) -> Attempt:
    """Return an attempt from its JSON."""
    attempt: Attempt = _ATTEMPT.validate_json(text)
    return attempt


def _one(written: bytes) -> str:
    """Return the only member of a JSON array."""
    return written[1:-1].decode()
