"""Waiting for a condition: a task has ended, its callback is delivered, or a number of attempts were made."""

from kling_mock import clock as clocks
from kling_mock.core import tasks
from kling_mock.core.deliveries import State, attempts_left, state
from kling_mock.core.tasks import Task
from kling_mock.service.courier import Courier
from kling_mock.service.world import World
from kling_mock.store.interface import Account

_LONG = 60.0
_A_LITTLE_LATER = 0.001


class Wait:
    """One call that waits: `look` until it returns something or `left` is 0, and again whenever `changed` or after `pause`.

    Nothing here blocks, so that an event loop can wait for any number of them; `block` waits in a thread.
    """

    def __init__(
        self, world: World, courier: Courier, account: Account, task_id: str, until: str, timeout: float
    ) -> None:
        self._world, self._courier, self._account = world, courier, account
        self.task_id, self.until, self.timeout = task_id, until, timeout
        self.state = "forgotten"
        self._deadline = clocks.monotonic() + timeout
        self._changes = -1

    def look(self) -> bool | None:
        """Return whether the condition is met; False as soon as it can never be, None while it still may."""
        store = self._world.store
        self._account = store.refresh(self._account)
        self._changes = store.changes(self._account)
        self._courier.settle(self._account)
        task = store.task(self._account, self.task_id)
        if task is None:
            return False
        met, self.state = self._met(task)
        return met

    def left(self) -> float:
        """Return the real seconds until it has waited for long enough."""
        return max(0.0, self._deadline - clocks.monotonic())

    def pause(self) -> float:
        """Return the real seconds until the account's clock itself may meet the condition, or the time is over."""
        due = self._account.next_due()
        ahead = self._account.clock.real_wait(due) if due is not None else None
        return min(self.left(), _LONG if ahead is None else ahead + _A_LITTLE_LATER)

    def changed(self) -> bool:
        """Return whether the account's facts have changed since the last look."""
        return self._world.store.changes(self._account) != self._changes

    def block(self) -> bool | None:
        """Return whether the condition is met; None when the time is over first."""
        while (met := self.look()) is None and self.left() > 0:
            self._world.store.wait(self._account, self._changes, self.pause())
        return met

    def _met(self, task: Task) -> tuple[bool | None, str]:
        """Return whether it is met, None while it may still be; and the state that is waited for."""
        stage = tasks.stage(task, self._account.clock.now())
        if self.until == "terminal":
            return (True if stage.status.terminal and task.settled else None), stage.status.value
        owed, policy = self._world.store.deliveries(self._account, task.id), self._world.contract.delivery
        if not owed:
            return (False if task.settled or task.callback_url is None else None), stage.status.value
        states = [state(one, policy) for one in owed]
        if self.until == "delivered":
            if State.DELIVERED in states:
                return True, State.DELIVERED.value
            return (False if all(one is State.GAVE_UP for one in states) else None), states[0].value
        wanted = int(self.until.partition(":")[2])
        made = sum(len(one.attempts) for one in owed)
        possible = made + sum(attempts_left(one, policy) for one in owed)
        return (True if made >= wanted else False if possible < wanted else None), states[0].value
