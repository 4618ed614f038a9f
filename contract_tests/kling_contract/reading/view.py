"""A history as judges look at it: calls with their JSON, and each task's task from create to last link.

Everything is derived, nothing is judged, and all orders are those of the history.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import orjson

from kling_contract.history.events import AnyEvent, Body, Callback, ClockMove, Download, Exchange, Note
from kling_contract.history.labels import Expect, Probe, Receiver, Topic
from kling_contract.history.masking import header
from kling_contract.reading.addresses import parts_of, split
from kling_contract.reading.contract import Contract, Flaw, Operation

T = TypeVar("T", bound=AnyEvent)
MISSING: Any = object()
"""Stands for "no JSON here": JSON itself has null."""
DEFAULT_NOISE = 0.25
"""Wall seconds that a busy machine may be late when the run measured nothing: seen on two loaded CPUs."""
INCONCLUSIVE = frozenset({0, 401, 402, 403, 429})
"""Answers that say nothing about a body: it was not looked at. 0 is a lost answer."""

Source = Literal["create", "read", "batch", "list", "callback"]


def parsed(body: Body) -> Any:
    """The JSON of *body*, or MISSING."""
    try:
        return orjson.loads(body.content)
    except orjson.JSONDecodeError:
        return MISSING


@dataclass(frozen=True, slots=True)
class Call:
    """An exchange with the service and what it means to the contract."""

    event: Exchange
    path: str
    operation: Operation | None
    routes: tuple[Operation, ...]
    sent: Any
    got: Any
    flaws: tuple[Flaw, ...] = ()
    """What is wrong with the body of a create."""

    @property
    def name(self) -> str:
        """The operationId; empty for what the contract does not know."""
        return self.operation.id if self.operation else ""

    @property
    def core(self) -> bool:
        """Whether its path is one of the endpoints that the document promises."""
        return any(operation.core for operation in self.routes)

    @property
    def status(self) -> int:
        """The HTTP status; 0 when the answer was lost."""
        return self.event.answer.status if self.event.answer else 0

    @property
    def accepted(self) -> bool:
        """Whether it was answered with a 2xx."""
        return 200 <= self.status < 300

    @property
    def probe(self) -> Probe:
        """The driver's label; an empty one where there is none."""
        return self.event.probe or _NO_PROBE

    @property
    def faulty(self) -> bool:
        """Whether the driver forced this answer to be a fault."""
        return self.probe.expect is Expect.FAULT

    @property
    def by_kit(self) -> bool:
        """Whether the kit itself sent it."""
        return bool(self.event.case)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the answer; empty when it has none."""
        error = self.got.get("error") if isinstance(self.got, dict) else None
        return error if isinstance(error, dict) else {}

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        return header(self.event.answer.headers, name) if self.event.answer else None

    def sent_header(self, name: str) -> str | None:
        """A header of the request."""
        return header(self.event.request.headers, name)

    def asked(self, member: str) -> Any:
        """A member of the request body, MISSING when it is not there."""
        return self.sent.get(member, MISSING) if isinstance(self.sent, dict) else MISSING


_NO_PROBE = Probe()


@dataclass(frozen=True, slots=True)
class Sighting:
    """A task as one answer or callback showed it."""

    event: Exchange | Callback
    body: dict[str, Any]
    source: Source
    stage: int | None
    terminal: bool

    @property
    def status(self) -> Any:
        """The task's status, whatever it is."""
        return self.body.get("status")

    @property
    def progress(self) -> Any:
        """The task's progress, whatever it is."""
        return self.body.get("progress")

    @property
    def full(self) -> bool:
        """Whether it shows all of a task; rows of a list do not."""
        return self.source != "list"

    def before(self, other: "Sighting") -> bool:
        """Whether this one was over before *other* began, so that their order is certain."""
        return self.event.ended_mono <= other.event.mono


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a task's callback. Times in seconds of the account's clock."""

    event: Callback
    body: Any

    @property
    def answered(self) -> int:
        """The status that the receiver gave; 0 when it gave none."""
        return self.event.answer.status if self.event.answer else 0

    @property
    def delivered(self) -> bool:
        """Whether the receiver said yes."""
        return 200 <= self.answered < 300 and self.event.ended == "answered"

    @property
    def earliest(self) -> float:
        """The first moment at which it may have arrived."""
        return self.event.at if self.event.since is None else self.event.since


@dataclass(eq=False)
class TaskRecord:
    """All that a history shows of one task. What is derived is kept, so it is asked for once the task is whole."""

    id: str
    create: Call | None = None
    sightings: list[Sighting] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    uncalled_for: list[Attempt] = field(default_factory=list)
    """Attempts where none may be, since the name leads to a private address."""
    downloads: list[Download] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    queries: list[Call] = field(default_factory=list)
    """Task queries of its id by its own account, whatever was answered."""

    @property
    def who(self) -> str:
        """The account that made it; empty when the create was not seen."""
        return self.create.event.who if self.create else ""

    @property
    def probe(self) -> Probe:
        """The label of its create."""
        return self.create.probe if self.create else _NO_PROBE

    @property
    def callback_url(self) -> str:
        """The URL that its create registered; empty when there is none."""
        url = self.create.asked("callback_url") if self.create else MISSING
        return url if isinstance(url, str) else ""

    @cached_property
    def reads(self) -> list[Sighting]:
        """What the task query showed, in order."""
        return [sighting for sighting in self.sightings if sighting.source == "read"]

    @cached_property
    def end(self) -> Sighting | None:
        """The first sighting of its end by a query; a callback's word does not count."""
        return next((s for s in self.sightings if s.terminal and s.source != "callback"), None)

    @cached_property
    def final(self) -> Sighting | None:
        """The last read of it when it was over."""
        return next((s for s in reversed(self.reads) if s.terminal), None)

    def noted(self, topic: Topic) -> Note | None:
        """The first note on *topic*."""
        return next((note for note in self.notes if note.topic == topic), None)

    @property
    def settled(self) -> bool:
        """Whether the kit waited for everything that the task is owed."""
        return self.noted(Topic.SETTLED) is not None

    @cached_property
    def links(self) -> list[str]:
        """Every result link it showed, in order."""
        found = (link for s in self.sightings if s.status == "completed" for link in links_of(s.body))
        return list(dict.fromkeys(found))

    @cached_property
    def ended_after(self) -> float:
        """A moment (account's clock) at which it was not over yet."""
        live = [s.event.at for s in self.sightings if not s.terminal]
        return max(live) if live else min((s.event.at for s in self.sightings), default=0.0)

    @cached_property
    def ended_by(self) -> float:
        """A moment (account's clock) at which it was over; infinite when that was not seen."""
        return min((s.event.ended_at for s in self.sightings if s.terminal), default=float("inf"))


def links_of(body: dict[str, Any]) -> list[str]:
    """The strings in a task's results."""
    results = body.get("results")
    return [link for link in results if isinstance(link, str)] if isinstance(results, list) else []


def is_task(body: Any) -> bool:
    """Whether *body* speaks of a task at all."""
    return isinstance(body, dict) and isinstance(body.get("id"), str) and "status" in body


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
        self.creates = [call for call in self.calls if call.name == "createVideo"]
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
        noted = [float(note.data.get("seconds", 0)) for note in self.notes if note.topic == Topic.NOISE]
        self._noise = max(noted, default=DEFAULT_NOISE)

    def _of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    def _call(self, event: Exchange) -> Call:
        path = parts_of(event.url).path
        operation = self.contract.operation(event.method, path)
        sent = parsed(event.request.body)
        got = parsed(event.answer.body) if event.answer else MISSING
        creating = operation is not None and operation.id == "createVideo" and sent is not MISSING
        flaws = self.contract.create_flaws(sent) if creating else ()
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
        for download in self.downloads:
            if download.url in owners:
                owners[download.url].downloads.append(download)
        for note in self.notes:
            if note.data.get("task_id") in self.tasks:
                self.tasks[note.data["task_id"]].notes.append(note)

    def calls_of(self, who: str) -> list[Call]:
        """The calls of one account, in order."""
        return self._by_who.get(who, [])

    def _take_call(self, call: Call) -> None:
        for body, source in _shown(call):
            known = self.tasks.get(body["id"])
            again = call.header("idempotency-replayed") is not None or (known is not None and known.create is not None)
            if source == "create" and again:
                continue  # a replay shows the task as it was at its create, whenever it is sent
            task = self._see(call.event, body, source)
            if source == "create":
                task.create = call

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
        mine = (move for move in reversed(self._clocks) if move.seq < seq and move.who in ("", who))
        return next(mine, None)

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


def _began(event: AnyEvent) -> tuple[float, int]:
    return event.mono, event.seq


def _target(url: str) -> str:
    """Path and query of *url*, which a relay keeps while it changes the origin."""
    parts = split(url)
    if parts is None:
        return url
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _shown(call: Call) -> Iterator[tuple[dict[str, Any], Source]]:
    """The tasks in the answer of *call*."""
    if not call.accepted:
        return
    sources: dict[str, Source] = {
        "createVideo": "create",
        "getTask": "read",
        "batchTasks": "batch",
        "listTasks": "list",
    }
    source = sources.get(call.name)
    rows = call.got.get("data") if source in ("batch", "list") and isinstance(call.got, dict) else [call.got]
    if source is not None and isinstance(rows, list):
        yield from ((row, source) for row in rows if is_task(row))
