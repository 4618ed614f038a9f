"""What a history holds, record by record: calls with their JSON, sightings of tasks, callback attempts, and a record of each task."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from kling_common.masking import first_values, header
from kling_common.members import list_in, object_in
from kling_contract.history.events import Body, Callback, Download, Exchange, Note, VideoFacts
from kling_contract.history.labels import Expect, Probe, Topic
from kling_contract.reading.documented import Flaw, Operation

MISSING: Any = object()
"""Stands for "no JSON here": JSON itself has null."""

Source = Literal["create", "read", "batch", "list", "callback"]


def parsed(body: Body) -> Any:
    """The JSON of *body*, or MISSING."""
    try:
        return orjson.loads(body.content)
    except orjson.JSONDecodeError:
        return MISSING


@dataclass(frozen=True, eq=False)
class Call:
    """An exchange with the service and what it means to the contract. What is derived is kept: every judge asks for it."""

    event: Exchange
    path: str
    operation: Operation | None
    routes: tuple[Operation, ...]
    sent: Any
    got: Any
    flaws: tuple[Flaw, ...] = ()
    """What is wrong with the body of a create."""

    @cached_property
    def name(self) -> str:
        """The operationId; empty for what the contract does not know."""
        return self.operation.id if self.operation else ""

    @cached_property
    def core(self) -> bool:
        """Whether its path is one of the endpoints that the document promises."""
        return any(operation.core for operation in self.routes)

    @cached_property
    def status(self) -> int:
        """The HTTP status; 0 when the answer was lost."""
        return self.event.answer.status if self.event.answer else 0

    @cached_property
    def accepted(self) -> bool:
        """Whether it was answered with a 2xx."""
        return 200 <= self.status < 300

    @cached_property
    def probe(self) -> Probe:
        """The driver's label; an empty one where there is none."""
        return self.event.probe or _NO_PROBE

    @cached_property
    def faulty(self) -> bool:
        """Whether the driver forced this answer to be a fault."""
        return self.probe.expect is Expect.FAULT

    @cached_property
    def posted(self) -> bool:
        """Whether the history holds the request's body."""
        return not self.event.request.body.unseen

    @cached_property
    def shown(self) -> bool:
        """Whether the history holds the response's body."""
        return self.event.answer is not None and not self.event.answer.body.unseen

    @cached_property
    def headed(self) -> bool:
        """Whether the history holds the response's headers; a recording may have been stripped of them."""
        return self.event.answer is not None and bool(self.event.answer.headers)

    @cached_property
    def by_kit(self) -> bool:
        """Whether the kit itself sent it."""
        return bool(self.event.case)

    @cached_property
    def body(self) -> dict[str, Any]:
        """The JSON object of the answer; empty where the answer has none."""
        return object_in(self.got)

    @cached_property
    def error(self) -> dict[str, Any]:
        """The error object of the answer; empty when it has none."""
        return object_in(self.got, "error")

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The tasks that the answer lists."""
        return [row for row in list_in(self.got, "data") if is_task(row)]

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        return self._got_headers.get(name.lower())

    def sent_header(self, name: str) -> str | None:
        """A header of the request."""
        return self._sent_headers.get(name.lower())

    def asked(self, member: str) -> Any:
        """A member of the request body, MISSING when it is not there."""
        return self.sent.get(member, MISSING) if isinstance(self.sent, dict) else MISSING

    @cached_property
    def _got_headers(self) -> dict[str, str]:
        return first_values(self.event.answer.headers) if self.event.answer else {}

    @cached_property
    def _sent_headers(self) -> dict[str, str]:
        return first_values(self.event.request.headers)


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
        return self.event.earliest


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
    def videos(self) -> list[tuple[Download, VideoFacts]]:
        """Its downloads that a decoder opened, and what it found."""
        return [(one, one.video) for one in self.downloads if one.video is not None and not one.video.error]

    @cached_property
    def links(self) -> list[str]:
        """Every result link it showed, in order."""
        found = (link for s in self.sightings if s.status == "completed" for link in links_of(s.body))
        return list(dict.fromkeys(found))

    @cached_property
    def ended_after(self) -> float:
        """A moment (account's clock) at which it was not over yet."""
        live = [s.event.earliest for s in self.sightings if not s.terminal]
        return max(live) if live else min((s.event.earliest for s in self.sightings), default=0.0)

    @cached_property
    def ended_by(self) -> float:
        """A moment (account's clock) at which it was over; infinite when that was not seen."""
        return min((s.event.ended_at for s in self.sightings if s.terminal), default=float("inf"))


def media_type(headers: Sequence[tuple[str, str]]) -> str:
    """The Content-Type of *headers* without its parameters, in small letters; empty where there is none."""
    return (header(headers, "content-type") or "").split(";")[0].strip().lower()


def links_of(body: Any) -> list[str]:
    """The strings in a task's results."""
    return [link for link in list_in(body, "results") if isinstance(link, str)]


def is_task(body: Any) -> bool:
    """Whether *body* speaks of a task at all."""
    return isinstance(body, dict) and isinstance(body.get("id"), str) and "status" in body
