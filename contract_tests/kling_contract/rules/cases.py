"""A client's cases as its judges look at them: what the server saw next to what the client said.

A case of the lab has a note that says what is right and one for each process; in any other recording a case is whatever
one key did, and only what traffic shows can be judged.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from kling_common.masking import TOKEN
from kling_common.members import member
from kling_contract.history.events import Download, Note
from kling_contract.history.labels import Topic
from kling_contract.reading.view import Attempt, Call, View, is_task, links_of, once
from kling_contract.rules.case_facts import CaseFacts, Flow, facts_of

CRASH = 63
"""Above this, and by a signal, a process has not failed but broken down."""
MOST_OF = 0.7
"""The share of the time it was given after which a client counts as having used it."""
DRIVEN = frozenset({"fake", "readonly", "refusals", "paid"})
"""Modes of histories in which the kit itself was the client (`verdicts.DRIVEN`)."""


@dataclass(slots=True, eq=False)
class Case:
    """One client at one story. `note` is None in a recording that the lab did not make."""

    name: str
    who: str
    note: Note | None = None
    calls: list[Call] = field(default_factory=list)
    elsewhere: list[Call] = field(default_factory=list)
    downloads: list[Download] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    results: list[Note] = field(default_factory=list)
    served: list[Note] = field(default_factory=list)
    touched: Note | None = None

    facts: CaseFacts = field(init=False)
    """What the lab wrote down of the case; defaults where there is no note."""

    def __post_init__(self) -> None:
        self.facts = facts_of(self.note.data if self.note else {})

    @property
    def flow(self) -> Flow:
        """How many processes it has, see `lab.stories.Story`."""
        return self.facts.flow

    @property
    def creates(self) -> list[Call]:
        """The creates, in order."""
        return [call for call in self.calls if call.name == "createVideo"]

    @property
    def polls(self) -> list[Call]:
        """The reads of tasks, in order, those of several at once among them."""
        return [read for call in self.calls for read in _reads(call)]

    @property
    def accepted(self) -> list[Call]:
        """The creates that made a task, also those whose answer was lost; a replayed answer makes none."""
        found: dict[str, Call] = {}
        for call in self.creates:
            if call.accepted and is_task(call.got):
                found.setdefault(str(call.got["id"]), call)
        return list(found.values())

    @property
    def hooked(self) -> bool:
        """Whether a create registered a callback."""
        return any(isinstance(call.asked("callback_url"), str) for call in self.creates)

    @property
    def able(self) -> bool:
        """Whether the client took the case on at all."""
        return bool(self.results) and not any(note.data.get("cannot") for note in self.results)

    @property
    def last(self) -> Note:
        """How its last process ended; only a case with `results` has one."""
        return self.results[-1]

    @property
    def completes(self) -> bool:
        """Whether the client says, in the end, that it has the video."""
        return bool(self.results) and completes(self.last)

    @property
    def forced(self) -> bool:
        """Whether the lab had to end the client by force, so that what it would have done is not known."""
        return bool(self.results) and self.last.data["ended"] == "deadline"

    @property
    def limit(self) -> float:
        """Seconds after which the lab ends the client."""
        return self.facts.limit or (self.facts.deadline or 0.0) + self.facts.grace

    @property
    def spent(self) -> bool:
        """Whether the client took the time that it was given, or nearly."""
        return bool(self.results) and self.last.data.get("seconds", 0.0) >= MOST_OF * (self.facts.deadline or 0.0)

    @property
    def out_of_time(self) -> bool:
        """Whether its limit came while it read a task that was not over: so ends a right client on a slow machine."""
        if self.forced or self.completes or not (self.spent and self.polls and self.facts.deadline):
            return False
        last, first = self.polls[-1], self.calls[0]
        asked_on = last.event.ended_mono - first.event.mono >= MOST_OF * MOST_OF * self.last.data["seconds"]
        return asked_on and got(last) == 200 and is_task(last.got) and not (links_of(last.got) or last.got.get("error"))

    @property
    def cause(self) -> str:
        """The rule whose breach explains how it ended, where that is more than its story is about; empty for none."""
        if not self.results:
            return ""
        if not self.forced:
            again = self.flow == "once" and len(self.accepted) > max(1, self.facts.right.creates) and self.failed
            return "CD-11" if self.last.data.get("broken") else "CM-06" if again else ""
        if not self.accepted and any(got(create) == 429 for create in self.creates):
            return "CM-14"
        if any(download.lost == "endless" for download in self.downloads):
            return "CD-08"
        silent = [call for call in self.calls if call.event.lost == "timeout"]
        return "CP-14" if silent and not self.after(silent[-1].event, self.calls) else "CP-13"

    @property
    def failed(self) -> bool:
        """Whether a read showed that a task failed."""
        return any(call.body.get("status") == "failed" for call in self.polls)

    @property
    def words(self) -> str:
        """Everything that the client said, as one text."""
        return "\n".join(words(note) for note in self.results)

    def speaks_of(self, kind: str, words: str) -> bool:
        """Whether the client names an error of that *kind*, or says one of *words*, a pattern."""
        named = member(self.last.data, "said", "error", "class") == kind
        return named or re.search(words, self.words, re.IGNORECASE) is not None

    @property
    def wrong(self) -> str:
        """What is not right at its end; empty when all is."""
        right = self.facts.right
        if not self.results:
            return "nothing is known of its end"
        if self.last.data.get("broken"):
            return str(self.last.data["broken"])
        if self.forced:
            return f"did not end by itself: {ending(self.last)}"
        if right.completes is not None and self.completes != right.completes:
            return f"{'did not complete' if right.completes else 'claims to have completed'}: {ending(self.last)}"
        said = outcome(self.last)
        if said and right.says and said not in right.says:
            return f"says {said}, which is not {' or '.join(right.says)}"
        if len(self.accepted) > right.creates:
            return f"{len(self.accepted)} creates were accepted"
        return ""

    def after(self, event: Any, calls: list[Call]) -> list[Call]:
        """Those of *calls* that began after *event* was over."""
        return [call for call in calls if call.event.mono >= event.ended_mono and call.event is not event]

    @property
    def links(self) -> list[str]:
        """The links that the client was shown."""
        return [link for call in self.polls if not call.event.lost for link in links_of(call.body)]


def _reads(call: Call) -> list[Call]:
    """A call as reads of tasks, one for each that it asks for; none where it asks for something else."""
    if call.name == "getTask":
        return [call]
    asked = call.asked("task_ids") if call.name == "batchTasks" else None
    ids = [one for one in asked if isinstance(one, str)] if isinstance(asked, list) else []
    found = {row["id"]: row for row in call.rows}
    template = next((op.template for op in call.routes), "/batch").rpartition("/")[0]
    return [replace(call, path=f"{template}/{one}", got=found.get(one, call.got)) for one in ids]


def outcome(note: Note) -> str:
    """The word that a client says; empty where it says none."""
    return str(member(note.data, "said", "outcome") or "")


def completes(note: Note) -> bool:
    """Whether a process says that it has the video: by its word, else by its exit code."""
    return outcome(note) == "completed" if outcome(note) else note.data.get("exit") == 0


def words(note: Note) -> str:
    """What a process said: its outputs and its result."""
    said = orjson.dumps(note.data.get("said") or {}).decode()
    return f"{note.data.get('stdout', '')}\n{note.data.get('stderr', '')}\n{said}"


def ending(note: Note) -> str:
    """How a process ended, in words, with its last line."""
    data, word = note.data, outcome(note)
    if data.get("broken"):
        return str(data["broken"])
    text = (data.get("stderr") or data.get("stdout") or "").strip().splitlines()
    parts = [_how(data), f"says {word}" if word else "", f"last line: {text[-1][:160]}" if text else ""]
    return ", ".join(part for part in parts if part)


def _how(data: Mapping[str, Any]) -> str:
    """What ended a process, in words; empty where the lab ended it on purpose."""
    if data["ended"] == "deadline":
        return f"still running after {data['seconds']:.1f} s"
    if data["ended"] == "flood":
        return "flooded its output"
    if data.get("exit") is not None:
        return f"exit code {data['exit']}"
    return f"signal {data['signal']}" if data.get("signal") else ""


def crashed(note: Note) -> bool:
    """Whether a process broke down instead of failing."""
    code = note.data.get("exit")
    by_signal = note.data.get("signal") is not None and note.data["ended"] == "itself"
    return by_signal or (code is not None and code > CRASH)


def got(call: Call) -> int:
    """The status that the client received; 0 when no whole answer reached it."""
    return 0 if call.event.lost else call.status


def has_key(text: str, who: str) -> bool:
    """Whether the case's key, or for an unknown key any key, stands in *text*."""
    return who in text if who else TOKEN.search(text) is not None


@once
def cases(view: View) -> tuple[Case, ...]:
    """The cases of a history; none where the kit itself was the client."""
    mode = next((str(note.data.get("mode")) for note in view.notes if note.topic == Topic.RUN), "")
    if mode in DRIVEN:
        return ()
    found = {note.case: Case(note.case, note.who, note) for note in view.notes if note.topic == Topic.CASE}
    if not found:
        return tuple(_observed(view))
    for case in found.values():
        _gather(case, view)
    return tuple(found.values())


def _gather(case: Case, view: View) -> None:
    """Give a case of the lab what is its own."""
    api = case.facts.api
    mine = [call for call in view.calls if call.event.case == case.name]
    case.calls = [call for call in mine if call.event.url.startswith(api)]
    case.elsewhere = [call for call in mine if not call.event.url.startswith(api)]
    case.downloads = [download for download in view.downloads if download.case == case.name]
    case.attempts = [attempt for attempt in view.callbacks if attempt.event.case == case.name]
    notes = [note for note in view.notes if note.case == case.name]
    case.results = [note for note in notes if note.topic == Topic.TOLD]
    case.served = [note for note in notes if note.topic == Topic.SERVED]
    case.touched = next((note for note in notes if note.topic == Topic.ELSEWHERE), None)


def _observed(view: View) -> Iterator[Case]:
    """A case for each key of a recording."""
    for who in dict.fromkeys(call.event.who for call in view.calls):
        mine_alone = (call for call in view.calls if call.event.who == who and not view.is_other(call))
        case = Case(who, who, calls=list(mine_alone))
        mine = {link for call in case.calls for link in links_of(call.body)}
        case.downloads = [download for download in view.downloads if download.url in mine]
        yield case


def strays(view: View) -> list[Call]:
    """Calls of the lab's clients with an unknown key, or without one."""
    known = {case.name for case in cases(view)}
    lab = any(case.note is not None for case in cases(view))
    return [call for call in view.calls if lab and call.event.case not in known]


def about(view: View, rule_id: str) -> Iterator[Case]:
    """The cases whose story is about a rule, and whose client took them on."""
    for case in cases(view):
        if rule_id in case.facts.rules and case.able and ("webhook" not in case.facts.needs or case.hooked):
            yield case
