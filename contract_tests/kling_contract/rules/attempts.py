"""Attempts of callbacks as judges of times see them: how long they took, when they ended for the sender, and what followed.

An attempt's end is when the receiver had answered, but never later than the timeout allows: a sender that has given up
knows nothing of what the receiver does afterwards.
"""

from collections.abc import Iterator
from itertools import pairwise

from kling_contract.history.labels import Receiver, Topic
from kling_contract.reading.view import Attempt, TaskRecord, View, once


@once
def called(view: View) -> Iterator[tuple[TaskRecord, Attempt]]:
    """Every attempt and its task."""
    return ((task, attempt) for task in view.tasks.values() for attempt in task.attempts)


@once
def following(view: View) -> Iterator[tuple[TaskRecord, Attempt, list[Attempt]]]:
    """Each attempt of a task for which the kit asked for no repeat, and those after it."""
    for task in view.tasks.values():
        if task.noted(Topic.RESENT) is None:
            for index, attempt in enumerate(task.attempts):
                yield task, attempt, task.attempts[index + 1 :]


def took(attempt: Attempt) -> float:
    """Wall seconds from the attempt's arrival to its answer."""
    return attempt.event.ended_mono - attempt.event.mono


def timeout(view: View, task: TaskRecord, attempt: Attempt) -> float:
    """Wall seconds that the sender waits: a scaled clock shrinks them."""
    return view.contract.timeout / view.rate(attempt.event.seq, task.who)


def timed_out(view: View, task: TaskRecord, attempt: Attempt) -> bool:
    """Whether the receiver took longer than the sender waits."""
    return took(attempt) > timeout(view, task, attempt)


def ended(view: View, attempt: Attempt) -> float:
    """The last moment (account's clock) at which the attempt may have ended for its sender."""
    return min(attempt.event.ended_at, attempt.event.at + view.contract.timeout)


def ended_earliest(view: View, attempt: Attempt) -> float:
    """The first moment (account's clock) at which the attempt may have ended for its sender.

    One that left may have left at once; so may one without an answer in another program's recording, which does not say who ended it.
    """
    if attempt.event.ended == "gone" or (attempt.event.ended == "cut" and not attempt.event.case):
        return attempt.earliest
    return min(attempt.event.ended_earliest, attempt.earliest + view.contract.timeout)


def succeeded(view: View, task: TaskRecord, attempt: Attempt) -> bool:
    """Whether the sender must have seen a 2xx."""
    return attempt.delivered and not timed_out(view, task, attempt)


def doubtful(view: View, task: TaskRecord, attempt: Attempt) -> bool:
    """Whether the answer came so near the timeout that either outcome is right."""
    slack = max(view.noise(attempt.event.seq, task.who) / view.rate(attempt.event.seq, task.who), 0.1)
    return abs(took(attempt) - timeout(view, task, attempt)) <= slack


@once
def owed(view: View) -> Iterator[TaskRecord]:
    """Tasks with a callback that the kit watched until everything owed had had time to come."""
    for task in view.tasks.values():
        if task.callback_url and task.settled and task.probe.receiver is not Receiver.REBINDS:
            yield task


@once
def gaps(view: View) -> Iterator[tuple[TaskRecord, Attempt, Attempt, float]]:
    """Each failed attempt, the next one, and the documented wait between them (seconds)."""
    for task in view.tasks.values():
        counted = task.probe.receiver is not Receiver.REFUSED_FIRST and task.noted(Topic.RESENT) is None
        pairs = zip(pairwise(task.attempts), view.contract.retry_delays, strict=False)
        for (earlier, later), delay in pairs if counted else ():
            if not succeeded(view, task, earlier):
                yield task, earlier, later, delay
