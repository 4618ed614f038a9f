"""What the page shows of a fake, as plain values: the clock, accounts, tasks, deliveries, the journal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kling_mock.clock import Clock
from kling_mock.core import tasks
from kling_mock.core.deliveries import State, state
from kling_mock.core.links import Link
from kling_mock.core.notation import parse_choice
from kling_mock.core.tasks import Stage, Status, Task
from kling_mock.store.interface import Account
from kling_mock.store.journal import Entry
from kling_mock.web.parts import Fake

TASKS_SHOWN = 50
"""Newest tasks that the page lists; the rest are counted, and `kling-mock tasks` lists them all."""

ENTRIES_SHOWN = 100
"""Journal entries on one page of the journal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One task in the list."""

    id: str
    account: str
    status: str
    progress: int
    created_at: float
    now: float
    scenario: str
    reads: int
    code: str | None
    callbacks: tuple[tuple[str, int], ...]
    link: Link | None

    @property
    def link_path(self) -> str:
        """The link without its origin: the page plays the video from its own host."""
        return "" if self.link is None else "/" + self.link.url.split("/", 3)[3]

    @property
    def link_left(self) -> float:
        """Seconds that the link still lives."""
        return 0.0 if self.link is None else max(0.0, self.link.expires_at - self.now)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which journal entries are wanted."""

    kind: str = ""
    status: str = ""
    task_id: str = ""
    account: str = ""
    text: str = ""
    before: int = 0

    def takes(self, entry: Entry) -> bool:
        """Whether *entry* is one of them."""
        if self.before and entry.seq >= self.before:
            return False
        if (self.kind and entry.kind != self.kind) or (self.account and entry.account != self.account):
            return False
        if self.status and not _of_class(entry.status, self.status):
            return False
        if self.task_id and self.task_id != entry.task_id and self.task_id not in entry.url:
            return False
        return not self.text or self.text.lower() in _searched(entry)


def _of_class(status: int | None, wanted: str) -> bool:
    """Whether *status* is *wanted*: `404`, or `4` for all of its hundred."""
    return str(status or "").startswith(wanted.rstrip("x"))


def _searched(entry: Entry) -> str:
    said = (entry.method, entry.url, entry.scenario or "", entry.fault or "", str(entry.status or ""))
    bodies = (entry.request_body + entry.body).decode("utf-8", "replace")
    return f"{' '.join(said)} {bodies}".lower()


class Facts:
    """Reads a fake for the page. Reading changes nothing: no task counts as read, no link as opened."""

    def __init__(self, fake: Fake) -> None:
        self.fake, self._world = fake, fake.world

    @property
    def server_clock(self) -> Clock:
        """The clock that accounts share until one is given its own."""
        return self._world.store.clock

    def accounts(self) -> Sequence[Account]:
        """Every account, in order of first sight."""
        return self._world.store.accounts()

    def count(self) -> int:
        """How many tasks there are."""
        return sum(self._world.store.count_tasks(account) for account in self.accounts())

    def rows(self, limit: int = TASKS_SHOWN) -> list[Row]:
        """The newest tasks of all accounts."""
        found = [
            (task.created_at, task.number, account, task)
            for account in self.accounts()
            for task in self._world.store.tasks(account, newest=limit)
        ]
        found.sort(key=lambda one: one[:2], reverse=True)
        return [self.row(account, task) for _, _, account, task in found[:limit]]

    def find(self, task_id: str) -> tuple[Account, Task] | None:
        """The task and whose it is; None once it is gone."""
        owner = self._world.store.owner(task_id)
        task = self._world.store.task(owner, task_id) if owner else None
        return None if owner is None or task is None else (owner, task)

    def row(self, account: Account, task: Task) -> Row:
        """One task as the list shows it."""
        now = account.clock.now()
        stage = tasks.stage(task, now)
        policy = self._world.contract.delivery
        owed = self._world.store.deliveries(account, task.id)
        return Row(
            id=task.id,
            account=account.name,
            status=stage.status.value,
            progress=stage.progress,
            created_at=task.created_at,
            now=now,
            scenario=written(task.scenario),
            reads=task.reads,
            code=stage.code,
            callbacks=tuple((state(one, policy).value, len(one.attempts)) for one in owed),
            link=self.link(account, task, stage),
        )

    def link(self, account: Account, task: Task, stage: Stage) -> Link | None:
        """The first link of a completed task."""
        found = self._world.views.links(account, task, stage) if stage.status is Status.COMPLETED else []
        return found[0] if found else None

    def entries(self, wanted: Filter, limit: int = ENTRIES_SHOWN) -> list[Entry]:
        """The newest journal entries that *wanted* takes, newest first."""
        return list(islice(self._backwards(wanted), limit))

    def _backwards(self, wanted: Filter) -> Iterator[Entry]:
        return (entry for entry in reversed(self._world.journal.entries()) if wanted.takes(entry))

    def entry(self, seq: int) -> Entry | None:
        """The journal entry of this number; None once it is gone."""
        return next(iter(self._world.journal.entries(None, seq, 1)), None)

    def of_task(self, task_id: str) -> list[Entry]:
        """What the journal has about one task, oldest first."""
        return [entry for entry in self._world.journal.entries() if entry.task_id == task_id]

    def queue(self) -> list[str]:
        """The scenarios that wait for the next creates, first come first."""
        store = self._world.store
        waiting = [*store.queued(None), *(one for account in self.accounts() for one in store.queued(account))]
        return [f"{one.name}{_params(one.params)} × {one.times - one.used}" for one in waiting]  # noqa: RUF001

    def stamp(self) -> str:
        """A value that changes with whatever the page shows, the running time alone left out."""
        clock = self._world.store.clock.reading()
        shown = [(row.id, row.status, row.progress, row.reads, row.callbacks, row.link_left > 0) for row in self.rows()]
        held = [(account.name, account.credits, account.clock.mode) for account in self.accounts()]
        return (
            f"{hash((clock.mode, clock.rate, self._world.journal.next_seq, tuple(shown), tuple(held), *self.queue()))}"
        )


def written(scenario: str) -> str:
    """A scenario as people write it: `failed code=service_error`."""
    name, params = parse_choice(scenario)
    return f"{name}{_params(params)}"


def _params(params: dict[str, Any]) -> str:
    return "".join(f" {name}={value}" for name, value in params.items())


def callback_state(row: Row) -> str:
    """What has become of a task's callbacks, in one word."""
    states = {one for one, _ in row.callbacks}
    for worst in (State.GAVE_UP, State.WAITING, State.DELIVERED):
        if worst.value in states:
            return worst.value
    return ""
