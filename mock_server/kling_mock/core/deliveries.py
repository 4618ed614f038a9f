"""A delivery: one callback that is owed, its attempts as facts, and when the next one is due.

Times are Unix seconds of the account's clock.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kling_mock.core.moments import after
from kling_mock.core.tasks import Ordered


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a callback is tried (document.txt, sentences 42, 43 and 45).

    `timeout` is one attempt's seconds, from connecting to the last byte; `delays` are the seconds from the end of a failed attempt
    to the next one.
    """

    timeout: float
    delays: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST of a delivery. `outcome` is one of 2xx, status, timeout, refused, dns, blocked, unknown."""

    due: float
    sent: float
    ended: float
    outcome: str
    status: int | None = None
    detail: str = ""
    extra: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.outcome == DELIVERED


DELIVERED = "2xx"
"""Outcome of an attempt that the receiver took."""
UNKNOWN = "unknown"
"""Outcome of an attempt that was begun and whose end was never recorded: the process that made it ended."""


class State(StrEnum):
    """What has become of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GAVE_UP = "gave_up"


@dataclass(slots=True)
class Delivery:
    """One callback owed: where to, since when, and the attempts so far. `order` is the task's number and which of its callbacks."""

    id: str
    task_id: str
    url: str
    due: float
    order: tuple[int, int] = (0, 0)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether the receiver took one of the attempts."""
        return DELIVERED in [attempt.outcome for attempt in self.attempts]

    def __lt__(self, other: Ordered) -> bool:
        return self.order < other.order


def attempt_facts(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as journal and control protocol show it, without its number."""
    facts: dict[str, Any] = {
        "due": attempt.due,
        "sent": attempt.sent,
        "ended": attempt.ended,
        "outcome": attempt.outcome,
        "status": attempt.status,
    }
    return {**facts, "detail": attempt.detail} if attempt.detail else facts


def attempts_left(delivery: Delivery, policy: RetryPolicy) -> int:
    """Return how many more attempts *policy* could make of it."""
    return 0 if next_due(delivery, policy) is None else len(policy.delays) + 1 - len(scheduled(delivery))


def scheduled(delivery: Delivery) -> list[Attempt]:
    """Return the attempts that the policy counts: not those asked for by hand, nor those whose outcome is unknown."""
    return [attempt for attempt in delivery.attempts if not attempt.extra and attempt.outcome != UNKNOWN]


def next_due(delivery: Delivery, policy: RetryPolicy) -> float | None:
    """When the next attempt falls due; None once it was delivered or given up."""
    if delivery.delivered:
        return None
    made = scheduled(delivery)
    if not made:
        return delivery.due
    if len(made) > len(policy.delays):
        return None
    return after(made[-1].ended, policy.delays[len(made) - 1])


def state(delivery: Delivery, policy: RetryPolicy) -> State:
    """What has become of *delivery*."""
    if delivery.delivered:
        return State.DELIVERED
    return State.WAITING if next_due(delivery, policy) is not None else State.GAVE_UP
