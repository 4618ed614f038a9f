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


class Waiting:
    """Waits for an account's facts to change, and checks again when its clock may have met the condition."""

    def __init__(self, world: World, courier: Courier) -> None:
        self.world, self.courier = world, courier

    def wait(self, account: Account, task_id: str, until: str, timeout: float) -> tuple[bool | None, str]:
        """Return whether *until* is met, and the state that was waited for.

        False as soon as it can never be met; None when *timeout* real seconds have passed first.
        """
        store, deadline = self.world.store, clocks.monotonic() + timeout
        seen = "forgotten"
        while True:
            account = store.refresh(account)
            changes = store.changes(account)
            self.courier.settle(account)
            task = store.task(account, task_id)
            met, seen = (False, seen) if task is None else self._met(account, task, until)
            left = deadline - clocks.monotonic()
            if met is not None or left <= 0:
                return met, seen
            store.wait(account, changes, min(left, self._next_look(account)))

    def _next_look(self, account: Account) -> float:
        """Return the real seconds until the account's clock itself may meet the condition."""
        due = account.next_due()
        left = account.clock.real_wait(due) if due is not None else None
        return _LONG if left is None else left + _A_LITTLE_LATER

    def _met(self, account: Account, task: Task, until: str) -> tuple[bool | None, str]:
        """Return whether it is met; None while it may still be."""
        stage = tasks.stage(task, account.clock.now())
        if until == "terminal":
            return (True if stage.status.terminal and task.settled else None), stage.status.value
        owed, policy = self.world.store.deliveries(account, task.id), self.world.contract.delivery
        if not owed:
            return (False if task.settled or task.callback_url is None else None), stage.status.value
        states = [state(one, policy) for one in owed]
        if until == "delivered":
            if State.DELIVERED in states:
                return True, State.DELIVERED.value
            return (False if all(one is State.GAVE_UP for one in states) else None), states[0].value
        wanted = int(until.partition(":")[2])
        made = sum(len(one.attempts) for one in owed)
        possible = made + sum(attempts_left(one, policy) for one in owed)
        return (True if made >= wanted else False if possible < wanted else None), states[0].value
