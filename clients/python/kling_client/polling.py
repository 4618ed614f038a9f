"""Reading a task until it is over: politely, patiently, and not for ever."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from kling_client.errors import (
    ApiError,
    BadSetting,
    GaveUp,
    KlingError,
    NetworkError,
    NotFound,
    RedirectRefused,
    ServerError,
)
from kling_client.settings import check_number, check_seconds, check_whole
from kling_client.tasks import Task
from kling_client.timing import Clock, Sleep

Read = Callable[[str, float], Task]
"""Reads a task once, in at most so many seconds."""
Pause = Callable[[float], bool]
"""Waits for so many seconds; True when news of the task came in before."""
# Told to try again by their very meaning, though they are no 5xx: Request Timeout and Too Early.
_PASSING = frozenset({408, 425, 429})
_LARGEST_FACTOR = 1e6


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How to poll. No document says; the defaults stay within what the vendor's own client does (C).

    min_poll: seconds, the floor of every wait.
    first: the first wait, in floors; the vendor's client waits 8 s where the floor is 5.
    growth: each wait is so many times the one before.
    ceiling: the longest ordinary wait, in floors.
    error_ceiling: the longest wait after an error, in floors, unless the service asks for more.
    spread: each task's waits are longer by a share drawn once up to this, so that many tasks do not poll in step.
    deadline: seconds until the client gives up.
    not_found_patience: how often a task that was just created may be unknown before that is believed.
    redirect_patience: how often in a row a query may be answered with a redirect before that is believed.
    """

    min_poll: float = 5.0
    first: float = 1.6
    growth: float = 1.15
    ceiling: float = 3.0
    error_ceiling: float = 12.0
    spread: float = 0.25
    deadline: float = 600.0
    not_found_patience: int = 3
    redirect_patience: int = 3

    def __post_init__(self) -> None:
        """Refuse what would poll without pause or never end.

        Raises:
            BadSetting: a number is out of its range.
        """
        check_seconds("min_poll", self.min_poll)
        check_seconds("deadline", self.deadline)
        for name in ("first", "growth", "ceiling", "error_ceiling"):
            check_number(name, getattr(self, name), 1, _LARGEST_FACTOR, f"must be 1 to {_LARGEST_FACTOR:g}")
        check_number("spread", self.spread, 0, _LARGEST_FACTOR, f"must be 0 to {_LARGEST_FACTOR:g}")
        check_whole("not_found_patience", self.not_found_patience, 0)
        check_whole("redirect_patience", self.redirect_patience, 0)
        if not self.first <= self.ceiling <= self.error_ceiling:
            raise BadSetting("waits must not shrink: first <= ceiling <= error_ceiling")

    def following(self, manners: Mapping[str, Any]) -> "PollPolicy":
        """This policy with the contract's numbers, where it names them: `min_poll_seconds`, `give_up_seconds`."""
        floor, limit = manners.get("min_poll_seconds"), manners.get("give_up_seconds")
        return replace(self, min_poll=floor or self.min_poll, deadline=limit or self.deadline)


class Pace:
    """The waits of one task. The ordinary wait only ever grows (CP-02); an error makes it grow faster (CP-05)."""

    def __init__(self, policy: PollPolicy, dice: Random) -> None:
        factor = 1 + policy.spread * dice.random()
        self._policy = policy
        self._dice = dice
        self._wait = policy.min_poll * policy.first * factor
        self._ceiling = policy.min_poll * policy.ceiling * factor
        self._error_ceiling = policy.min_poll * policy.error_ceiling * factor

    def ordinary(self) -> float:
        """Seconds to wait before the next read of a task that is under way."""
        wait = self._wait
        self._wait = min(wait * self._policy.growth, self._ceiling)
        return wait

    def after_error(self, in_a_row: int, asked: float | None) -> float:
        """Seconds to wait after an error.

        Args:
            in_a_row: how many there have been without a good answer between, 1 or more.
            asked: the answer's Retry-After in seconds; never undercut, and overshot a little, so that clients which
                were refused together do not return together.
        """
        wait = float(min(self._wait * 2 ** min(in_a_row, 32), self._error_ceiling))
        self._wait = min(max(self._wait, wait), self._ceiling)
        return wait if asked is None else max(self._wait, asked + self._dice.random() * self._policy.min_poll)


class Wait:
    """One wait for one task.

    Args:
        read: one read of a task.
        policy: how to poll.
        clock: monotonic seconds; the deadline is counted on it.
        sleep: how to wait.
        dice: the source of jitter.
        pause: waits like *sleep*, but ends early when a callback brings news.
        on_change: called with every good response.
        on_trouble: called with every error that is waited out, with the seconds to come.
    """

    def __init__(
        self,
        read: Read,
        policy: PollPolicy,
        *,
        clock: Clock,
        sleep: Sleep,
        dice: Random,
        pause: Pause | None = None,
        on_change: Callable[[Task], None] | None = None,
        on_trouble: Callable[[KlingError, float], None] | None = None,
    ) -> None:
        self._read = read
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._pace = Pace(policy, dice)
        self._pause = pause or self._plain_pause
        self._on_change = on_change or (lambda _task: None)
        self._on_trouble = on_trouble or (lambda _error, _seconds: None)
        self._failures = self._unknowns = self._redirects = 0
        self._last = "no answer yet"
        self._last_read: float | None = None

    def until_finished(self, task_id: str, *, started: float, fresh: bool, read_now: bool = False) -> Task:
        """Read *task_id* until it is finished.

        Args:
            task_id: the task.
            started: when the deadline began to run, on the clock.
            fresh: it was just created, so it exists even if the service does not know it yet (CP-16).
            read_now: do not wait before the first read.

        Raises:
            GaveUp: the deadline passed, or the service asks for a wait beyond it.
            ApiError: an error that waiting does not mend.
        """
        self._unknowns = self._policy.not_found_patience if fresh else 0
        self._redirects = self._policy.redirect_patience
        wait = 0.0 if read_now else self._pace.ordinary()
        while True:
            self._rest(task_id, wait, started)
            try:
                task = self._read(task_id, self._left(started))
            except (ApiError, NetworkError) as error:
                wait = self._survive(error)
                continue
            finally:
                self._last_read = self._clock()
            self._on_change(task)
            if task.finished:
                return task
            self._failures = self._unknowns = 0
            self._redirects = self._policy.redirect_patience
            self._last = f"{task.status or 'no status'}{f' {task.progress}%' if task.progress is not None else ''}"
            wait = self._pace.ordinary()

    def _left(self, started: float) -> float:
        """Seconds until the deadline."""
        return started + self._policy.deadline - self._clock()

    def _rest(self, task_id: str, wait: float, started: float) -> None:
        """Wait, unless the deadline comes first: a wait that cannot end in a read is of no use to anybody."""
        left = self._left(started)
        if wait >= left:
            raise GaveUp(task_id, self._clock() - started, self._last)
        if self._failures:
            # News is no reason to come back before the service asked for it, or to hurry one that is in trouble.
            self._plain_pause(wait)
        elif wait and self._pause(wait):
            self._keep_floor()

    def _keep_floor(self) -> None:
        """News came early: even so, two reads are never closer than the floor."""
        if self._last_read is not None:
            self._plain_pause(self._last_read + self._policy.min_poll - self._clock())

    def _plain_pause(self, seconds: float) -> bool:
        """Sleep, without news."""
        if seconds > 0:
            self._sleep(seconds)
        return False

    def _survive(self, error: ApiError | NetworkError) -> float:
        """Seconds to wait after *error*; it is raised again when waiting does not mend it."""
        if not self._is_passing(error):
            raise error
        self._failures += 1
        self._last = str(error)
        asked = error.retry_after if isinstance(error, ApiError) else None
        wait = self._pace.after_error(self._failures, asked)
        self._on_trouble(error, wait)
        return wait

    def _is_passing(self, error: ApiError | NetworkError) -> bool:
        """Whether the same read may succeed later."""
        if isinstance(error, NotFound):
            self._unknowns -= 1
            return self._unknowns >= 0
        if isinstance(error, RedirectRefused):
            self._redirects -= 1
            return self._redirects >= 0
        return isinstance(error, NetworkError | ServerError) or error.status in _PASSING
