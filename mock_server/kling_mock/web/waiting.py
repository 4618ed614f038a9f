"""Waiting for a condition: a task has ended, its callback is delivered, or a number of attempts were made."""

from kling_mock import clock as clocks
from kling_mock.core import tasks
from kling_mock.core.deliveries import State, state
from kling_mock.core.tasks import Task
from kling_mock.service.courier import Courier, attempts_left
from kling_mock.service.world import World
from kling_mock.store.memory import Account

_LONG = 60.0
_A_LITTLE_LATER = 0.001


class Waiting:
    """Waits on an account's condition variable, and checks again when its clock may have met the condition."""

    def __init__(self, world: World, courier: Courier) -> None:
        self.world, self.courier = world, courier

    def wait(self, account: Account, task: Task, until: str, timeout: float) -> tuple[bool | None, str]:
        """Return whether *until* is met, and the state that was waited for.

        False as soon as it can never be met; None when *timeout* real seconds have passed first.
        """
        deadline = clocks.monotonic() + timeout
        while True:
            self.courier.settle(account)
            with account.lock:
                met, seen = self._met(account, task, until)
                left = deadline - clocks.monotonic()
                if met is not None or left <= 0:
                    return met, seen
                account.changed.wait(min(left, self._next_look(account)))

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
        owed = account.of_task.get(task.id, [])
        if not owed:
            return (False if task.settled or task.callback_url is None else None), stage.status.value
        states = [state(one, self.world.contract.delivery) for one in owed]
        if until == "delivered":
            if State.DELIVERED in states:
                return True, State.DELIVERED.value
            return (False if all(one is State.GAVE_UP for one in states) else None), states[0].value
        wanted = int(until.partition(":")[2])
        made = sum(len(one.attempts) for one in owed)
        possible = made + sum(attempts_left(one, self.world) for one in owed)
        return (True if made >= wanted else False if possible < wanted else None), states[0].value
