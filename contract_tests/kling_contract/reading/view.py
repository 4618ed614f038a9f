"""A history as judges look at it: calls with their JSON, and each task's record from create to last link.

Everything is derived, nothing is judged, and all orders are those of the history.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from operator import attrgetter
from typing import Any, TypeVar

from kling_common.masking import header
from kling_contract.history.events import AnyEvent, Callback, ClockMove, Download, Exchange, Note
from kling_contract.history.labels import Receiver, Topic
from kling_contract.reading.addresses import is_loopback, parts_of, split
from kling_contract.reading.contract import Contract
from kling_contract.reading.documented import Flaw
from kling_contract.reading.records import (
    MISSING,
    Attempt,
    Call,
    Sighting,
    Source,
    TaskRecord,
    is_task,
    links_of,
    parsed,
)

__all__ = [
    "INCONCLUSIVE",
    "MISSING",
    "Attempt",
    "Call",
    "Sighting",
    "TaskRecord",
    "View",
    "is_task",
    "links_of",
    "parsed",
]

T = TypeVar("T", bound=AnyEvent)
F = TypeVar("F")
DEFAULT_NOISE = 0.25
"""Wall seconds that a busy machine may be late when the run measured nothing: seen on two loaded CPUs."""
INCONCLUSIVE = frozenset({0, 401, 402, 403, 429})
"""Answers that say nothing about a body: it was not looked at. 0 is a lost answer."""


_SEQ = attrgetter("seq")


class View:
    """A history, parsed once. Tasks are in the order in which they were first seen."""

    def __init__(self, events: Iterable[AnyEvent], contract: Contract) -> None:
        self.contract = contract
        self.events: tuple[AnyEvent, ...] = tuple(sorted(events, key=lambda event: event.seq))
        self.calls = [self._call(event) for event in sorted(self._of(Exchange), key=_began)]
        self.callbacks = [
            Attempt(event, parsed(event.request.body)) for event in sorted(self._of(Callback), key=_began)
        ]
        self.downloads = sorted(self._of(Download), key=_began)
        self.notes = self._of(Note)
        self.creates = [call for call in self.calls if call.name == "createVideo" and not self.elses(call)]
        self.whos = tuple(dict.fromkeys(event.who for event in self.events if event.who))
        self._by_who: dict[str, list[Call]] = {}
        for call in self.calls:
            self._by_who.setdefault(call.event.who, []).append(call)
        self.tasks: dict[str, TaskRecord] = {}
        self.strays: list[Attempt] = []
        """Attempts that belong to no task of this history."""
        self.followed: list[Attempt] = []
        """What arrived where a redirect of the receiver pointed, and no task had registered: not an attempt."""
        self._gather()
        self._clocks = self._of(ClockMove)
        self._clocks_of: dict[str, list[ClockMove]] = {}
        noted = [float(note.data.get("seconds", 0)) for note in self.notes if note.topic == Topic.NOISE]
        self._noise = max(noted, default=DEFAULT_NOISE)
        self.kept: dict[Any, Any] = {}
        """What `once` has worked out."""

    def elses(self, call: Call) -> bool:
        """Whether a recorded call is a create of another model, of which this contract says nothing."""
        model = call.asked("model")
        return not call.by_kit and isinstance(model, str) and not self.contract.knows(model)

    def _of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    def _call(self, event: Exchange) -> Call:
        path = parts_of(event.url).path
        operation = self.contract.operation(event.method, path)
        sent = parsed(event.request.body)
        got = parsed(event.answer.body) if event.answer else MISSING
        creating = operation is not None and operation.id == "createVideo" and sent is not MISSING
        flaws = self.contract.create_flaws(sent) if creating else ()
        if not event.case and event.answer is not None and event.answer.status == 200:
            # A fake that was told to call this machine takes such a URL, and whoever recorded that meant it.
            flaws = tuple(flaw for flaw in flaws if not _calls_home(flaw, sent))
        return Call(event, path, operation, self.contract.routes(path), sent, got, flaws)

    def _gather(self) -> None:
        """Hand every sighting, attempt, download and note to the task that it is about."""
        for call in self.calls:
            self._take_call(call)
        for call in self.calls:
            task = self.tasks.get(call.path.rpartition("/")[2]) if call.name == "getTask" else None
            if task is not None and call.event.who == task.who:
                task.queries.append(call)
        registered = {_target(task.callback_url): task for task in self.tasks.values() if task.callback_url}
        self._set_apart(registered)
        self.callbacks = [attempt for attempt in self.callbacks if self._take(attempt, registered)]
        for task in self.tasks.values():
            task.sightings.sort(key=lambda sighting: _began(sighting.event))
        self._give()

    def _set_apart(self, registered: Mapping[str, TaskRecord]) -> None:
        """Take what followed a redirect out of the callbacks."""
        answers = [attempt.event.answer for attempt in self.callbacks if attempt.event.answer]
        places = {_target(header(answer.headers, "location") or "") for answer in answers} - {*registered, "/"}
        self.followed = [attempt for attempt in self.callbacks if _target(attempt.event.url) in places]
        self.callbacks = [attempt for attempt in self.callbacks if attempt not in self.followed]

    def _give(self) -> None:
        """Hand downloads and notes to the tasks that they are about."""
        owners = {link: task for task in self.tasks.values() for link in task.links}
        # A fake behind another name: path and query, which a signature makes unlike any other, are enough.
        paths = {_target(link): task for link, task in owners.items()}
        for download in self.downloads:
            owner = owners.get(download.url) or paths.get(_target(download.url))
            if owner is not None:
                owner.downloads.append(download)
        for note in self.notes:
            if note.data.get("task_id") in self.tasks:
                self.tasks[note.data["task_id"]].notes.append(note)

    def made_by(self, create: Call) -> TaskRecord | None:
        """The task that a create made."""
        return next((task for task in self.tasks.values() if task.create is create), None)

    def calls_of(self, who: str) -> list[Call]:
        """The calls of one account, in order."""
        return self._by_who.get(who, [])

    def _take_call(self, call: Call) -> None:
        for body, source in _shown(call):
            known = self.tasks.get(body["id"])
            again = call.header("idempotency-replayed") is not None or (known is not None and known.create is not None)
            if self.elses(call) or self._is_other(call, body):
                continue
            if source == "create" and again:
                continue  # a replay shows the task as it was at its create, whenever it is sent
            task = self._see(call.event, body, source)
            if source == "create":
                task.create = call

    def is_other(self, call: Call) -> bool:
        """Whether a recorded call is about a task of another model or medium alone, which this contract says nothing of."""
        if self.elses(call):
            return True
        return call.name == "getTask" and is_task(call.got) and self._is_other(call, call.got)

    def _is_other(self, call: Call, body: dict[str, Any]) -> bool:
        """Whether a recorded answer shows a task of another model or another medium that was not created here."""
        known = self.tasks.get(body["id"])
        if call.by_kit or call.name == "createVideo" or (known is not None and known.create is not None):
            return False
        model, kind = body.get("model"), body.get("type")
        other = isinstance(model, str) and not self.contract.knows(model)
        return other or (kind in self.contract.output_types and bool(self.contract.member_flaws("type", kind)))

    def _take(self, attempt: Attempt, registered: Mapping[str, TaskRecord]) -> bool:
        """Hand an attempt to its task; False where it is no callback but evidence that a rebound name was followed."""
        known = self.tasks.get(attempt.body["id"]) if is_task(attempt.body) else None
        task = known or registered.get(_target(attempt.event.url))
        if task is not None and task.probe.receiver is Receiver.REBINDS:
            task.uncalled_for.append(attempt)
            return False
        (self.strays if task is None else task.attempts).append(attempt)
        if known is not None:
            self._see(attempt.event, attempt.body, "callback")
        return True

    def _see(self, event: Exchange | Callback, body: dict[str, Any], source: Source) -> TaskRecord:
        task = self.tasks.setdefault(body["id"], TaskRecord(body["id"]))
        status = body.get("status")
        task.sightings.append(
            Sighting(event, body, source, self.contract.stage(status), status in self.contract.terminal)
        )
        return task

    @property
    def sightings(self) -> Iterator[tuple[TaskRecord, Sighting]]:
        """Every sighting of every task."""
        return ((task, sighting) for task in self.tasks.values() for sighting in task.sightings)

    def _clock(self, seq: int, who: str) -> ClockMove | None:
        mine = self._clocks_of.get(who)
        if mine is None:
            mine = self._clocks_of[who] = [move for move in self._clocks if move.who in ("", who)]
        before = bisect_left(mine, seq, key=_SEQ)
        return mine[before - 1] if before else None

    def exact(self, seq: int, who: str = "") -> bool:
        """Whether the account's clock stood still, except when moved, at event *seq*."""
        clock = self._clock(seq, who)
        return clock is not None and clock.mode == "manual"

    def rate(self, seq: int, who: str = "") -> float:
        """Seconds of the account's clock in a wall second at event *seq*; 1 for a manual clock, where waits are real."""
        clock = self._clock(seq, who)
        return clock.rate if clock is not None and clock.mode == "scaled" else 1.0

    def noise(self, seq: int, who: str = "") -> float:
        """How late (account seconds) a correct server may seem at event *seq*: nothing on a manual clock."""
        return 0.0 if self.exact(seq, who) else self._noise * self.rate(seq, who)


def once(function: Callable[[View], Iterable[F]]) -> Callable[[View], tuple[F, ...]]:
    """Work out what *function* finds in a view once for each view, and keep it as long as that: several judges ask for it."""

    @wraps(function)
    def found(view: View) -> tuple[F, ...]:
        kept: tuple[F, ...] | None = view.kept.get(function)
        if kept is None:
            kept = view.kept[function] = tuple(function(view))
        return kept

    return found


def _calls_home(flaw: Flaw, sent: Any) -> bool:
    """Whether a body has nothing wrong but a callback URL of this machine."""
    url = sent.get("callback_url") if isinstance(sent, dict) else None
    parts = split(url) if isinstance(url, str) else None
    return flaw.keyword in ("scheme", "internal") and parts is not None and is_loopback(parts.hostname or "")


def _began(event: AnyEvent) -> tuple[float, int]:
    return event.mono, event.seq


def _target(url: str) -> str:
    """Path and query of *url*, which a relay keeps while it changes the origin."""
    parts = split(url)
    if parts is None:
        return url
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


_SOURCES: Mapping[str, Source] = {
    "createVideo": "create",
    "getTask": "read",
    "batchTasks": "batch",
    "listTasks": "list",
}


def _shown(call: Call) -> Iterator[tuple[dict[str, Any], Source]]:
    """The tasks in the answer of *call*."""
    if not call.accepted:
        return
    source = _SOURCES.get(call.name)
    if source in ("batch", "list"):
        yield from ((row, source) for row in call.rows)
    elif source is not None and is_task(call.got):
        yield call.got, source
