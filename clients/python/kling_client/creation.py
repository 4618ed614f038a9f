"""Sending a create: once, and again only where that cannot cost twice."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from kling_client.errors import ApiError, CreateOutcomeUnknown, KlingError, NetworkError, RateLimited, ServerError
from kling_client.polling import PollPolicy
from kling_client.tasks import Task
from kling_client.timing import Clock, Sleep


@dataclass(slots=True)
class Creation:
    """One create on its way: what has been tried, and what may still be.

    Args:
        post: sends the create once, in at most so many seconds; always with the same body and Idempotency-Key.
        idempotency_key: that key.
        policy: its floor paces repetitions, its deadline ends them.
        clock, sleep, dice: monotonic seconds, waiting, jitter.
        repeats: how often it may be sent again after its outcome was lost.
        attempts: how often it may be sent at all.
        lost: why its outcome is not known, where it is not.
    """

    post: Callable[[float], Task]
    idempotency_key: str
    policy: PollPolicy
    clock: Clock
    sleep: Sleep
    dice: Random
    repeats: int
    attempts: int
    lost: KlingError | None = None

    def send(self, started: float) -> Task:
        """Send until it is accepted, refused or lost for good.

        Args:
            started: when the deadline began to run, on the clock.

        Raises:
            ApiError: refused; nothing was created.
            NetworkError: nothing was sent.
            CreateOutcomeUnknown: it may have been accepted.
        """
        while True:
            left = started + self.policy.deadline - self.clock()
            try:
                return self.post(left)
            except (ApiError, NetworkError) as error:
                self.sleep(self._wait_after(error, started))

    def _wait_after(self, error: ApiError | NetworkError, started: float) -> float:
        """Seconds until the create may be sent again; raises when it may not."""
        self.attempts -= 1
        asked = error.retry_after if isinstance(error, ApiError) else None
        wait = (self.policy.min_poll if asked is None else asked) + self.dice.random() * self.policy.min_poll
        left = started + self.policy.deadline - self.clock()
        if self._may_repeat(error) and self.attempts > 0 and wait < left:
            return wait
        if self.lost is None:
            raise error
        raise CreateOutcomeUnknown(
            f"the create was sent, but its outcome is not known ({self.lost}); it may have been accepted and charged. "
            f"Its Idempotency-Key is {self.idempotency_key}",
            idempotency_key=self.idempotency_key,
            cause=self.lost,
        ) from error

    def _may_repeat(self, error: ApiError | NetworkError) -> bool:
        """Whether *error* leaves room for the same create with the same key."""
        if isinstance(error, RateLimited):
            return True
        if isinstance(error, NetworkError) and not error.sent:
            return False
        if not isinstance(error, NetworkError | ServerError):
            return False
        self.lost = error
        self.repeats -= 1
        return self.repeats >= 0
