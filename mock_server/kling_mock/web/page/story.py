"""The story of one task as a list of moments: its stages, how it was read, each attempt of its callbacks, the life of its link."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import inf

import orjson

from kling_mock.core import tasks
from kling_mock.core.deliveries import Delivery, RetryPolicy, next_due
from kling_mock.core.links import Link
from kling_mock.core.tasks import Status, Task
from kling_mock.store.journal import Entry


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the story. *tone* is good, bad, or neutral; *to_come* marks what has not happened yet; *until* ends a span."""

    at: float
    what: str
    note: str = ""
    tone: str = ""
    to_come: bool = False
    until: float | None = None


def moments(
    task: Task,
    now: float,
    link: Link | None,
    deliveries: Iterable[Delivery],
    entries: Iterable[Entry],
    policy: RetryPolicy,
) -> list[Moment]:
    """The task's story in order of time, what is still to come last."""
    told = [*_stages(task, now), *_reads(entries), *_downloads(entries), *_link(link, now)]
    for delivery in deliveries:
        told += _attempts(delivery, policy, now)
    return sorted(told, key=lambda moment: (moment.at, moment.to_come))


def _stages(task: Task, now: float) -> Iterator[Moment]:
    yield Moment(task.created_at, "created", f"pending; {task.reserved:g} credits reserved")
    start, stage = tasks.starts_at(task), tasks.stage(task, now)
    if task.created_at < start < inf and (task.cancelled_at is None or start <= task.cancelled_at):
        yield Moment(start, "processing", to_come=start > now)
    if stage.status.terminal:
        done = stage.status is Status.COMPLETED
        note = f"{task.reserved:g} credits used" if done else f"{stage.code or 'unknown_error'} at {stage.progress} %"
        yield Moment(stage.since, stage.status.value, note, "good" if done else "bad")
    elif tasks.ends_at(task) < inf:
        yield Moment(tasks.ends_at(task), task.plan.outcome.value, "planned", to_come=True)


def _reads(entries: Iterable[Entry]) -> Iterator[Moment]:
    """Reads, those in a row that saw the same together."""
    reads = [entry for entry in entries if entry.kind == "exchange" and entry.method == "GET"]
    for seen, group in groupby(reads, key=_seen):
        same = list(group)
        last = same[-1].at if len(same) > 1 else None
        yield Moment(same[0].at, "read" if last is None else f"{len(same)} reads", seen, until=last)


def _seen(entry: Entry) -> str:
    """What a read saw, in a few words."""
    try:
        body = orjson.loads(entry.body)
        return f"{body['status']} {body['progress']} %"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"status {entry.status}" + (f", {entry.fault}" if entry.fault else "")


def _downloads(entries: Iterable[Entry]) -> Iterator[Moment]:
    for entry in entries:
        if entry.kind == "download":
            good = entry.status in (200, 206)
            yield Moment(entry.at, "download", f"status {entry.status}", "good" if good else "bad")


def _link(link: Link | None, now: float) -> Iterator[Moment]:
    if link is not None:
        yield Moment(link.expires_at, "link expires", to_come=link.expires_at > now)


def _attempts(delivery: Delivery, policy: RetryPolicy, now: float) -> Iterator[Moment]:
    for number, attempt in enumerate(list(delivery.attempts), 1):
        said = attempt.outcome if attempt.status is None else f"{attempt.outcome} {attempt.status}"
        note = f"{said}{f': {attempt.detail}' if attempt.detail else ''}"
        name = f"callback attempt {number}{' (resent)' if attempt.extra else ''}"
        yield Moment(attempt.sent, name, note, "good" if attempt.delivered else "bad", until=attempt.ended)
    due = next_due(delivery, policy)
    if due is not None:
        yield Moment(due, f"callback attempt {len(delivery.attempts) + 1}", "due", to_come=due > now)
