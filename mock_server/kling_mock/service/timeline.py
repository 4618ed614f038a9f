"""What time brings about in an account: tasks start and end, charges are settled, callbacks fall due, facts are forgotten."""

from dataclasses import dataclass
from math import inf

from kling_mock.core import tasks
from kling_mock.core.deliveries import Delivery
from kling_mock.core.prices import whole
from kling_mock.core.tasks import Status, Task
from kling_mock.service.catalogue import Catalogue
from kling_mock.store.memory import Account


@dataclass(frozen=True, slots=True)
class Fired:
    """Something that time brought about. For an attempt, `delivery` is what is to be sent."""

    at: float
    kind: str
    task_id: str
    status: str | None = None
    delivery: Delivery | None = None


class Timeline:
    """Puts what will happen on an account's agenda, and lets it happen. Callers of `pop` send the attempts it hands out."""

    def __init__(self, catalogue: Catalogue, retention_seconds: float) -> None:
        self._catalogue = catalogue
        self._retention = retention_seconds

    def schedule(self, account: Account, task: Task) -> None:
        """Put the task's next change on the agenda; each change brings the one after it, so a task stands there once."""
        start, end = tasks.starts_at(task), tasks.ends_at(task)
        if task.created_at < start < inf:
            account.schedule(start, task)
        else:
            account.schedule(end if end < inf else self.forgotten_at(task), task)

    def forgotten_at(self, task: Task) -> float:
        """When the task can no longer be read."""
        return task.created_at + self._retention

    def pop(self, account: Account, now: float) -> Fired | None:
        """Let the next thing that is due at *now* happen; None when nothing is. An attempt is handed out to be sent."""
        with account.lock:
            while (due := account.pop_due(now)) is not None:
                fired = self._happen(account, *due)
                if fired is not None:
                    account.changed.notify_all()
                    return fired
        return None

    def _happen(self, account: Account, at: float, what: Task | Delivery) -> Fired | None:
        if isinstance(what, Delivery):
            owed = what.id in account.deliveries and not what.delivered  # a resend may have got there before the retry
            return Fired(at, "attempt", what.task_id, delivery=what) if owed else None
        if what.id not in account.tasks:
            return None
        end = tasks.ends_at(what)
        if not what.settled and (what.cancelled_at is not None or at >= end):
            return self._end(account, what, at)
        if at >= self.forgotten_at(what):
            self._forget(account, what)
            return Fired(at, "retention", what.id)
        if what.settled:  # what was planned before it was cancelled
            return None
        account.schedule(end if end < inf else self.forgotten_at(what), what)
        return Fired(at, "status", what.id, Status.PROCESSING)

    def _end(self, account: Account, task: Task, at: float) -> Fired:
        """Settle the charge, then owe the callback (document.txt, sentence 38)."""
        stage = tasks.stage(task, at)
        task.settled = True
        if stage.status is Status.COMPLETED:
            account.used = whole(account.used + task.reserved)
        else:
            account.credits = whole(account.credits + task.reserved)
        self._owe(account, task, at)
        account.schedule(max(self.forgotten_at(task), at), task)
        return Fired(at, "status", task.id, stage.status)

    def _owe(self, account: Account, task: Task, at: float) -> None:
        if task.callback_url is None:
            return
        owed = account.of_task.setdefault(task.id, [])
        for nth, callback in enumerate(self._catalogue.story(task.scenario).callbacks, 1):
            name = f"dlv-{task.id.rsplit('-', 1)[1]}-{nth}"
            delivery = Delivery(name, task.id, task.callback_url, at + callback.after, (task.number, nth))
            owed.append(delivery)
            account.deliveries[delivery.id] = delivery
            account.schedule(delivery.due, delivery)

    def _forget(self, account: Account, task: Task) -> None:
        del account.tasks[task.id]
        for delivery in account.of_task.pop(task.id, ()):
            account.deliveries.pop(delivery.id, None)

    def cancel(self, account: Account, task: Task) -> bool:
        """End *task* as cancelled; False when it has ended already."""
        with account.lock:
            now = account.clock.now()
            if task.settled or not tasks.cancel(task, now):
                return False
            account.schedule(now, task)
            return True
