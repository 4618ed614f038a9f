"""What time brings about in an account: tasks start and end, charges are settled, callbacks fall due, facts are forgotten."""

from math import inf
from sys import maxsize
from typing import Any, NamedTuple

from kling_mock.core import tasks
from kling_mock.core.deliveries import Attempt, Delivery
from kling_mock.core.moments import after, reached
from kling_mock.core.prices import whole
from kling_mock.core.tasks import Status, Task
from kling_mock.service.catalogue import Catalogue
from kling_mock.store.interface import Transaction


class Event(NamedTuple):
    """Something that happened because time moved.

    For an attempt, `delivery` is what is to be sent, about `task`, and `lost` an earlier attempt of it whose outcome was never recorded.
    """

    at: float
    kind: str
    task_id: str
    status: str | None = None
    delivery: Delivery | None = None
    lost: Attempt | None = None
    task: Task | None = None

    def as_json(self, **more: Any) -> dict[str, Any]:
        """Return the shape of `fired` in the control protocol."""
        status = {} if self.status is None else {"status": self.status}
        return {"at": self.at, "kind": self.kind, "task_id": self.task_id, **status, **more}


class Timeline:
    """Puts what will happen on an account's agenda, and lets it happen."""

    def __init__(self, catalogue: Catalogue, retention_seconds: float, attempt_seconds: float) -> None:
        self._catalogue = catalogue
        self._attempt_seconds = attempt_seconds
        self.retention = retention_seconds

    def schedule(self, facts: Transaction, task: Task) -> None:
        """Put the task's next change on the agenda; each change brings the one after it, so a task stands there once."""
        start = tasks.starts_at(task)
        if task.created_at < start < inf:
            facts.schedule(start, task)
        else:
            end = tasks.ends_at(task)
            facts.schedule(end if end < inf else self.forgotten_at(task), task)

    def forgotten_at(self, task: Task) -> float:
        """Return when the task can no longer be read."""
        return after(task.created_at, self.retention)

    def is_forgotten(self, task: Task, now: float) -> bool:
        """Return whether the task can no longer be read at *now*."""
        return reached(now, task.created_at, self.retention)

    def events(
        self, facts: Transaction, now: float, most: int, room: int = maxsize, *, sending: bool = True
    ) -> list[Event]:
        """Let what is due at *now* happen, *most* events of it, of which no more are attempts than there is *room* for.

        An attempt that is handed out has been recorded as started; the caller sends it. Without *sending* attempts stay on the agenda.
        """
        events: list[Event] = []
        while len(events) < most and room > 0 and (due := facts.pop_due(now, sending=sending)) is not None:
            at, what = due
            event = self._attempt(facts, at, what) if isinstance(what, Delivery) else self._change(facts, at, what)
            if event is not None:
                events.append(event)
                room -= event.delivery is not None
        return events

    def _change(self, facts: Transaction, at: float, task: Task) -> Event | None:
        """Let a task's next change happen."""
        if facts.task(task.id) is None:
            return None
        settled, end = task.settled, tasks.ends_at(task)
        if not settled and (at >= end or task.cancelled_at is not None):
            return self._end(facts, task, at)
        if self.is_forgotten(task, at):
            facts.forget(task)
            return Event(at, "retention", task.id)
        if settled:  # what was planned before it was cancelled
            return None
        facts.schedule(end if end < inf else self.forgotten_at(task), task)
        return Event(at, "status", task.id, Status.PROCESSING)

    def _attempt(self, facts: Transaction, at: float, delivery: Delivery) -> Event | None:
        task = facts.task(delivery.task_id)
        if task is None or facts.delivery(delivery.id) is None:
            return None
        if delivery.delivered:  # a resend may have got there before the retry
            return None
        lost = facts.start_attempt(delivery, at, self._attempt_seconds)
        return Event(at, "attempt", delivery.task_id, delivery=delivery, lost=lost, task=task)

    def _end(self, facts: Transaction, task: Task, at: float) -> Event:
        """Settle the charge, then owe the callback (document.txt, sentence 38)."""
        status = Status.FAILED if task.cancelled_at is not None else task.plan.outcome
        task.settled = True
        if status is Status.COMPLETED:
            facts.used = whole(facts.used + task.charged)
            facts.credits = whole(facts.credits + task.reserved - task.charged)
        else:
            facts.credits = whole(facts.credits + task.reserved)
        facts.save(task)
        self._owe(facts, task, at)
        facts.schedule(max(self.forgotten_at(task), at), task)
        return Event(at, "status", task.id, status)

    def _owe(self, facts: Transaction, task: Task, at: float) -> None:
        if task.callback_url is None:
            return
        for nth, callback in enumerate(self._catalogue.behaviour(task.scenario).callbacks, 1):
            name = f"dlv-{task.id.rsplit('-', 1)[1]}-{nth}"
            delivery = Delivery(name, task.id, task.callback_url, after(at, callback.after), (task.number, nth))
            facts.add_delivery(delivery)
            facts.schedule(delivery.due, delivery)

    def cancel(self, facts: Transaction, task_id: str) -> float | None:
        """End a task as cancelled and return when that was; None when it has ended already, or is gone."""
        task, now = facts.task(task_id), facts.now()
        if task is None or task.settled or not tasks.cancel(task, now):
            return None
        facts.save(task)
        facts.schedule(now, task)
        return now
