"""Facts as rows, and rows as facts. What a task or delivery consists of stands in its dataclass and nowhere here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from kling_mock.clock import Clock
from kling_mock.core.deliveries import Attempt, Delivery
from kling_mock.core.tasks import Task
from kling_mock.store.interface import Names

_TASK = TypeAdapter(Task)
_DELIVERY = TypeAdapter(Delivery)
_ATTEMPT = TypeAdapter(Attempt)


@dataclass(frozen=True, slots=True)
class SqlAccount:
    """An account as it stood when its row was read."""

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
    """A clock that knows its row."""

    def __init__(self, row: RowMapping, ahead: float) -> None:
        super().__init__(row["mode"], row["rate"] or 1.0, row["base"])
        self.id: int = row["clock_id"]
        self._run = (row["base"], row["began"] - ahead, row["rate"])


def account_of(row: RowMapping, ahead: float) -> SqlAccount:
    """Return the account in a row of accounts joined with its clock; *ahead* is how far the database's clock is ahead."""
    return SqlAccount(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        clock=SqlClock(row, ahead),
        clock_id=row["clock_id"],
        credits=number(row["credits"]),
        used=number(row["used"]),
        models=None if row["models"] is None else frozenset(json.loads(row["models"])),
        rate_limit=row["rate_limit"],
        relays=json.loads(row["relays"]),
        names=names_of(row["names"]),
        changes=row["changes"],
        due=row["due"],
    )


def number(value: float) -> float:
    """Return a sum of credits as the rest of the fake keeps it: an int where it is whole."""
    return int(value) if value == int(value) else value


def names_of(text: str) -> Names:
    """Return names and addresses from their JSON."""
    return {name: tuple(map(ip_address, found)) for name, found in json.loads(text).items()}


def names_json(names: Names) -> str:
    """Return names and addresses as JSON."""
    return json.dumps({name: [str(ip) for ip in found] for name, found in names.items()})


def task_values(task: Task) -> dict[str, Any]:
    """Return the columns of a task that its own transaction writes; `reads` and `due` are written where they change."""
    return {"id": task.id, "created_at": task.created_at, "settled": task.settled, "facts": json.dumps(asdict(task))}


def task_of(row: RowMapping) -> Task:
    """Return the task in a row."""
    task = _TASK.validate_json(row["facts"])
    task.reads = row["reads"]
    task.reserved, task.charged, task.seconds = number(task.reserved), number(task.charged), number(task.seconds)
    return task


def delivery_json(delivery: Delivery) -> str:
    """Return a delivery with its attempts as JSON."""
    return json.dumps(asdict(delivery))


def delivery_of(row: RowMapping) -> Delivery:
    """Return the delivery in a row."""
    return _DELIVERY.validate_json(row["facts"])


def attempt_json(attempt: Attempt) -> str:
    """Return an attempt as JSON."""
    return json.dumps(asdict(attempt))


def attempt_of(text: str) -> Attempt:
    """Return an attempt from its JSON."""
    return _ATTEMPT.validate_json(text)
