"""A task: the facts that are stored, and what a caller who reads it sees at a moment.

Nothing here moves by itself. Time is an argument in Unix seconds of the account's clock, durations are seconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, inf
from typing import NamedTuple, Protocol

from msgspec import Struct

from kling_mock.core.moments import after, reached


class Status(StrEnum):
    """What a task can say of itself (document.txt, sentence 61)."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether the task will not change again."""
        return self in (Status.COMPLETED, Status.FAILED)


class Plan(Struct, gc=False):
    """What a task will go through, fixed when it is created; not frozen, since that would take a create three times as long.

    A time-paced plan has `queued_for` and `runs_for` in seconds, infinite for a task that never gets on. A poll-paced one has the
    number of reads that show it pending and processing, infinite likewise.
    """

    outcome: Status
    queued_for: float = 0.0
    runs_for: float = 0.0
    polls: tuple[float, float] | None = None
    code: str | None = None
    stops_at: int = 100
    seed: int = 0

    @property
    def estimate(self) -> int:
        """Seconds the service would name beforehand; 0 where it cannot know."""
        total = self.queued_for + self.runs_for
        return 0 if self.polls or total == inf else ceil(total)


@dataclass(frozen=True, slots=True)
class Frame:
    """A first frame: pixels as a viewer sees it, and where fetched bytes are kept the name they are kept under."""

    width: int
    height: int
    digest: str | None = None


class Ordered(Protocol):
    """Whatever can stand on an agenda."""

    @property
    def order(self) -> tuple[int, int]:
        """Its place among things that fall due at one moment: the task's number, then the delivery's."""
        ...


class Task(Struct, gc=False):
    """The facts of one task. `origin` is that of its links, where it has one of its own.

    `ended_at` is a fact only where no plan foretells it: cancelled, or paced by polls. `image` is what its first frame is made from, the
    URL of a picture or a word, `frame` the shape of its video and where the picture is kept, `short_side` the video's shorter side in
    pixels. `charged` is what it costs when it completes.
    """

    id: str
    number: int
    created_at: float
    model: str
    image: str
    frame: Frame
    short_side: int
    seconds: float
    callback_url: str | None
    reserved: float
    charged: float
    scenario: str
    plan: Plan
    origin: str = ""
    reads: int = 0
    cancelled_at: float | None = None
    cancelled_reads: int = 0
    ended_at: float | None = None
    settled: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """Its place among things that fall due at one moment."""
        return (self.number, 0)

    def __lt__(self, other: Ordered) -> bool:
        return self.order < other.order


class Stage(NamedTuple):
    """Where a task is: `since` is when it got there, `code` why it failed."""

    status: Status
    progress: int
    since: float
    code: str | None = None


CANCELLED = "request_cancelled"
"""The code of a cancelled task, which shows as failed (wire-facts, S)."""


def stage(task: Task, now: float) -> Stage:
    """Where *task* is at *now*."""
    if task.cancelled_at is not None:
        running = _running(task, task.cancelled_at, task.cancelled_reads)
        return Stage(Status.FAILED, running.progress, task.cancelled_at, CANCELLED)
    if has_ended(task, now):
        plan = task.plan
        return Stage(plan.outcome, 100 if plan.outcome is Status.COMPLETED else plan.stops_at, ends_at(task), plan.code)
    return _running(task, now, task.reads)


def ends_at(task: Task) -> float:
    """When the task becomes terminal by its plan, in Unix seconds; infinite where the plan does not tell."""
    if task.plan.polls:
        return inf if task.ended_at is None else task.ended_at
    return after(task.created_at, task.plan.queued_for + task.plan.runs_for)


def has_ended(task: Task, now: float) -> bool:
    """Whether the task is terminal by its plan at *now*."""
    plan = task.plan
    if plan.polls:
        return task.ended_at is not None and now >= task.ended_at
    return reached(now, task.created_at, plan.queued_for + plan.runs_for)


def starts_at(task: Task) -> float:
    """When the task leaves the queue; infinite where the plan does not tell."""
    return inf if task.plan.polls else after(task.created_at, task.plan.queued_for)


def read(task: Task, now: float) -> bool:
    """Count one read; True when it is the one that ends a poll-paced task."""
    task.reads += 1
    polls = task.plan.polls
    if polls and task.ended_at is None and task.cancelled_at is None and task.reads > sum(polls):
        task.ended_at = now
        return True
    return False


def cancel(task: Task, now: float) -> bool:
    """End *task* as cancelled, at the progress it has; False when it has ended already."""
    if stage(task, now).status.terminal:
        return False
    task.cancelled_at, task.cancelled_reads = now, task.reads
    return True


def _running(task: Task, now: float, reads: int) -> Stage:
    plan = task.plan
    if plan.polls:
        pending, processing = plan.polls
        read = reads - pending
        if read <= 0:
            return Stage(Status.PENDING, 0, task.created_at)
        done = read / (processing + 1) if processing < inf else _crawl(read * _READ)
        return Stage(Status.PROCESSING, progress(plan, done), task.created_at)
    if not reached(now, task.created_at, plan.queued_for):
        return Stage(Status.PENDING, 0, task.created_at)
    start = starts_at(task)
    done = (now - start) / plan.runs_for if 0 < plan.runs_for < inf else _crawl(now - start)
    return Stage(Status.PROCESSING, progress(plan, min(done, 1.0)), start)


def steady_until(task: Task, stage: Stage, now: float) -> float:
    """Return a moment before which *task* surely stays as it is at *now*, in *stage*, unless it is cancelled; *now* where none is known."""
    plan = task.plan
    if stage.status.terminal:
        return inf
    if plan.polls:
        return now
    if stage.status is Status.PENDING:
        return task.created_at + plan.queued_for - _MARGIN
    if not 0 < plan.runs_for < inf:
        return now
    step = _step(plan, min((now - stage.since) / plan.runs_for, 1.0)) + 1
    share = (step + _jitter(plan.seed, step)) / _steps(plan) / (plan.stops_at / 100) if plan.stops_at else 1.0
    return stage.since + min(share, 1.0) * plan.runs_for - _MARGIN


_MARGIN = 1e-3
"""Seconds: far more than a moment's rounding, far less than anybody's pause between two looks."""
_READ = 10.0
"""Seconds that a read of a task without end counts for."""


def _crawl(seconds: float) -> float:
    """How far a task seems that will never end: ever slower, never there."""
    return seconds / (seconds + 120.0)


def progress(plan: Plan, done: float) -> int:
    """Percent shown when the share *done* (0 to 1) of the run is over.

    The steps are uneven, in size and in time, as those of a real renderer are; they differ from task to task, never go back, and
    stay below 100 and below where a failing task will stop.
    """
    step = _step(plan, done)
    percent = int((step + 0.5 + _jitter(plan.seed + 1, step)) / _steps(plan) * 100)
    return max(0, min(percent, 99, plan.stops_at))


def _steps(plan: Plan) -> int:
    return 8 + plan.seed % 7


def _step(plan: Plan, done: float) -> int:
    """Return the number of the step that a run is in; -1 before the first."""
    steps = _steps(plan)
    passed = done * (plan.stops_at / 100) * steps
    step = min(int(passed), steps - 1)
    if passed < step + _jitter(plan.seed, step):
        return step - 1
    return step + 1 if passed >= step + 1 + _jitter(plan.seed, step + 1) else step


def _jitter(seed: int, step: int) -> float:
    """A fixed number between -0.35 and 0.35 for each step of each task; small enough to keep the steps in order."""
    mixed = (seed * 0x9E3779B1 + step * 0x85EBCA6B) & 0xFFFFFFFF
    return ((mixed >> 8) & 0xFFFF) / 0xFFFF * 0.7 - 0.35
