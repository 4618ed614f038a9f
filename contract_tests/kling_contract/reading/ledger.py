"""What an account's credits did between two readings, and what happened in between."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from kling_common.members import number_in, object_in
from kling_contract.history.events import Balance
from kling_contract.history.labels import When
from kling_contract.reading.view import Attempt, Call, TaskRecord, View, once


@dataclass(frozen=True, slots=True)
class Reading:
    """The credits of one account at one moment; `began` and `ended` in wall seconds of the run."""

    who: str
    remaining: float
    began: float
    ended: float
    seq: int
    when: When = When.AROUND
    task_id: str = ""


@dataclass(frozen=True, eq=False)
class Window:
    """Two readings of one account and what happened between them."""

    view: View
    before: Reading
    after: Reading

    @property
    def spent(self) -> float:
        """Credits that went, to a millionth: sums of decimal prices are not exact in binary."""
        return round(self.before.remaining - self.after.remaining, 6)

    @cached_property
    def calls(self) -> list[Call]:
        """The account's calls wholly inside the window, readings of the balance left out."""
        return [
            call
            for call in self.view.calls_of(self.before.who)
            if call.name != "getCredits"
            and call.event.mono >= self.before.ended
            and call.event.ended_mono <= self.after.began
        ]

    @cached_property
    def clean(self) -> bool:
        """Whether no create of the account crosses an edge of the window, was lost, or came from another place."""
        inside = {call.event.seq for call in self.calls}
        return not any(
            call.name == "createVideo"
            and call.event.mono < self.after.ended
            and call.event.ended_mono > self.before.began
            and (call.event.seq not in inside or call.status == 0)
            for call in self.view.calls_of(self.before.who)
        )

    @cached_property
    def made(self) -> list[TaskRecord]:
        """The tasks that were created inside it."""
        seqs = {call.event.seq for call in self.calls}
        return [task for task in self.view.tasks.values() if task.create and task.create.event.seq in seqs]

    @cached_property
    def open(self) -> list[TaskRecord]:
        """The account's older tasks that were not seen to be over before it began, so that they may settle inside."""
        return [
            task
            for task in self.view.tasks.values()
            if task.who == self.before.who
            and task not in self.made
            and task.create is not None
            and task.create.event.mono < self.after.ended
            and (task.end is None or task.end.event.ended_mono > self.before.began)
        ]

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Callback attempts for the account's tasks inside it."""
        return [
            attempt
            for task in self.view.tasks.values()
            if task.who == self.before.who
            for attempt in task.attempts
            if self.before.ended <= attempt.event.mono and attempt.event.ended_mono <= self.after.began
        ]

    @cached_property
    def quiet(self) -> bool:
        """Whether nothing that may rightly move credits happened: no task was made and none was under way."""
        return self.clean and not self.made and not self.open


@once
def readings(view: View) -> tuple[Reading, ...]:
    """Every reading of credits: the kit's own notes of it and the answers of the credits call, as they ended."""
    found = [
        Reading(event.who, event.remaining, event.mono, event.mono, event.seq, event.when, event.task_id)
        for event in view.events
        if isinstance(event, Balance)
    ]
    for call in view.calls:
        left = balance_of(call.got) if call.name == "getCredits" and call.accepted else None
        if left is not None:
            found.append(Reading(call.event.who, left, call.event.mono, call.event.ended_mono, call.event.seq))
    return tuple(sorted(found, key=lambda reading: (reading.ended, reading.seq)))


def balance_of(answer: Any) -> float | None:
    """The balance in an answer of the credits call; None when it has none or is without a limit."""
    token = object_in(answer, "data", "token")
    return None if token.get("unlimited_credits") else number_in(token, "remaining_credits")


@once
def windows(view: View) -> Iterator[Window]:
    """Each pair of readings of one account that follow each other."""
    for who in view.whos:
        mine = [reading for reading in readings(view) if reading.who == who and reading.when is When.AROUND]
        for before, after in pairwise(mine):
            if before.ended <= after.began:
                yield Window(view, before, after)


def life(view: View, task: TaskRecord) -> Window | None:
    """From the last reading before *task*'s create to the first after its end, when no other task can have moved it."""
    if task.create is None or task.end is None:
        return None
    mine = [reading for reading in readings(view) if reading.who == task.who and reading.when is When.AROUND]
    before = [reading for reading in mine if reading.ended <= task.create.event.mono]
    after = [reading for reading in mine if reading.began >= task.end.event.ended_mono]
    if not before or not after:
        return None
    window = Window(view, before[-1], after[0])
    return window if window.clean and window.made == [task] and not window.open else None


def reserved(task: TaskRecord) -> float | None:
    """The credits that the create answer says it reserved; None when it does not say."""
    return reserved_by(task.create.got) if task.create else None


def reserved_by(answer: Any) -> float | None:
    """The credits that a create's answer says it reserved; None when it does not say."""
    return number_in(answer, "usage", "credits_reserved")
