"""What time brings about in an account: tasks start and end, charges are settled, callbacks fall due, facts are forgotten."""

from math import inf
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

    def next_event(self, facts: Transaction, now: float, *, sending: bool = True) -> Event | None:
        """Let the next thing that is due at *now* happen; None when nothing is.

        An attempt that is handed out has been recorded as started; the caller sends it. Without *sending* attempts stay on the agenda.
        """
        while (due := facts.pop_due(now, sending=sending)) is not None:
            event = self._happen(facts, *due)
            if event is not None:
                return event
        return None

    def _happen(self, facts: Transaction, at: float, what: Task | Delivery) -> Event | None:
        if isinstance(what, Delivery):
            return self._attempt(facts, at, what)
        if facts.task(what.id) is None:
            return None
        if not what.settled and (what.cancelled_at is not None or tasks.has_ended(what, at)):
            return self._end(facts, what, at)
        if self.is_forgotten(what, at):
            facts.forget(what)
            return Event(at, "retention", what.id)
        if what.settled:  # what was planned before it was cancelled
            return None
        end = tasks.ends_at(what)
        facts.schedule(end if end < inf else self.forgotten_at(what), what)
        return Event(at, "status", what.id, Status.PROCESSING)

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
