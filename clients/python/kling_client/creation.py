"""Sending a create: once, and again only where that cannot cost twice."""

from collections.abc import Callable
from random import Random

from kling_client.errors import ApiError, CreateOutcomeUnknown, KlingError, NetworkError, RateLimited, ServerError
from kling_client.polling import PollPolicy
from kling_client.tasks import Task
from kling_client.timing import Clock, Sleep


class Creation:
    """One create on its way: what has been tried, and what may still be.

    Args:
        post: sends the create once, in at most so many seconds; always with the same body and Idempotency-Key.
        idempotency_key: that key.
        policy: its floor paces repetitions, its deadline ends them.
        clock, sleep, dice: monotonic seconds, waiting, jitter.
        repeats: how often it may be sent again after its outcome was lost.
        attempts: how often it may be sent at all.
    """

    def __init__(
        self,
        post: Callable[[float], Task],
        idempotency_key: str,
        policy: PollPolicy,
        *,
        clock: Clock,
        sleep: Sleep,
        dice: Random,
        repeats: int,
        attempts: int,
    ) -> None:
        self._post = post
        self._key = idempotency_key
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._dice = dice
        self._repeats = repeats
        self._attempts = attempts
        self._lost: KlingError | None = None

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
            left = started + self._policy.deadline - self._clock()
            try:
                return self._post(left)
            except (ApiError, NetworkError) as error:
                self._sleep(self._wait_after(error, started))

    def _wait_after(self, error: ApiError | NetworkError, started: float) -> float:
        """Seconds until the create may be sent again; raises when it may not."""
        self._attempts -= 1
        asked = error.retry_after if isinstance(error, ApiError) else None
        wait = (self._policy.min_poll if asked is None else asked) + self._dice.random() * self._policy.min_poll
        left = started + self._policy.deadline - self._clock()
        if self._may_repeat(error) and self._attempts > 0 and wait < left:
            return wait
        if self._lost is None:
            raise error
        raise CreateOutcomeUnknown(
            f"the create was sent, but its outcome is not known ({self._lost}); it may have been accepted and charged. "
            f"Its Idempotency-Key is {self._key}",
            idempotency_key=self._key,
            cause=self._lost,
        ) from error

    def _may_repeat(self, error: ApiError | NetworkError) -> bool:
        """Whether *error* leaves room for the same create with the same key."""
        if isinstance(error, RateLimited):
            return True
        if isinstance(error, NetworkError) and not error.sent:
            return False
        if not isinstance(error, NetworkError | ServerError):
            return False
        self._lost = error
        self._repeats -= 1
        return self._repeats >= 0
