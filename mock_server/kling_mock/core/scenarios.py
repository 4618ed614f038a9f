"""A scenario: a named behaviour that a task or a call goes through, as data.

`Scenario` is one YAML document. With its params filled in it becomes a `Behaviour`, from which a plan is drawn for each task.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, get_args

from kling_mock.core.notation import Calls, Span, calls, count, filled, seconds, span, typed, write_choice
from kling_mock.core.shaped import (
    Invalid,
    Problem,
    Shaped,
    anything,
    choice,
    items,
    json,
    mapping,
    member,
    number,
    optional,
    text,
    truth,
    whole,
    within,
)
from kling_mock.core.tasks import CANCELLED, Plan, Status

Operation = Literal["create", "query", "link", "callback"]
Taken = Literal["before", "after"]

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_PARAM = r"^[a-z][a-z_]*$"


def _sendable(said: str) -> str:
    """A text that can be encoded; YAML lets lone surrogates in."""
    try:
        said.encode()
    except UnicodeEncodeError as error:
        raise ValueError("has characters that cannot be sent as UTF-8") from error
    return said


def _header(said: str) -> str:
    if not (said.isascii() and said.isprintable()):
        raise ValueError(f"{said!r} cannot stand in a header; use printable ASCII")
    return said


def _header_name(said: str) -> str:
    if not _HEADER.fullmatch(said):
        raise ValueError(f"{said!r} is no name of a header; write it like Retry-After")
    return said.lower()


def _writable(value: Any) -> Any:
    """A value that every JSON writer takes: whole numbers within 64 bits, sendable texts."""
    if isinstance(value, str):
        return _sendable(value)
    if isinstance(value, int) and not -(1 << 63) <= value < (1 << 63):
        raise ValueError("a number has more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _writable(item)
    for key in value if isinstance(value, dict) else ():
        _sendable(key)
    return value


def _header_value(value: Any) -> Any:
    return _printable(str(value) if type(value) is int else value)


def _param(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("Input should be a boolean, a number or a string")
    return _sendable(value) if isinstance(value, str) else value


_text = text(then=_sendable)
_printable = text(then=_header)


class _Data(Shaped):
    """A part of a file: a mapping with just these keys."""

    also: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def no_mapping(cls, value: Any) -> str:
        """Say what it takes."""
        return f"{str(value)[:60]!r} is no mapping; it takes {cls._allowed()}"

    @classmethod
    def prepared(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse a key that is not known."""
        unknown = next((key for key in given if key not in cls.members), None)
        if unknown is not None:
            key = unknown[:60]
            raise Invalid(Problem((key,), f"there is no '{key}' here; there are {cls._allowed()}", given[unknown]))
        return given

    @classmethod
    def _allowed(cls) -> str:
        return ", ".join([*cls.members, *cls.also])


class Pace(_Data):
    """How a task gets on: by time, or by how often it is read. Every scenario takes these as params too."""

    by: Literal["time", "polls"] = member(choice(("time", "polls")), default="time")
    queued: Span = member(span, default=(2.0, 6.0))
    runs: Span = member(span, default=(40.0, 80.0))
    pending: float = member(count, default=1)
    processing: float = member(count, default=2)


class Outcome(_Data):
    """How a task ends; `progress` is where a failing one stops."""

    status: Literal["completed", "failed", "cancelled"] = member(
        choice(("completed", "failed", "cancelled")), default="completed"
    )
    code: str | None = member(optional(text()), default=None)
    progress: int = member(whole(0, 99), default=60)

    def check(self) -> None:
        """Hold the code to the status."""
        if (self.code is not None) != (self.status == "failed"):
            raise ValueError("a failed outcome, and only that, has a code")


class Answer(_Data):
    """An HTTP answer in place of the right one.

    `error` is a documented error, by its code or by its entry in the contract; a bare `status` is the documented error that the
    operation has for it. `form` says how such an error is written: `auto` is a gateway's page where the contract allows one or
    knows no error, JSON otherwise. `body` is sent as it stands. `accepted`: the call was done all the same.
    """

    error: str | None = member(optional(text()), default=None)
    status: int | None = member(optional(whole(200, 599)), default=None)
    headers: dict[str, str] = member(mapping(text(then=_header_name), _header_value), default={})
    body: str | None = member(optional(_text), default=None)
    form: Literal["auto", "json", "html"] = member(choice(("auto", "json", "html")), default="auto")
    retry_after: int | None = member(optional(whole(0, 10**6)), default=None)
    retry_form: Literal["seconds", "date"] = member(choice(("seconds", "date")), default="seconds")
    accepted: bool = member(truth, default=False)

    def check(self) -> None:
        """Hold it to one kind of answer."""
        if self.error is None and self.status is None:
            raise ValueError("an answer has a status or a documented error")
        if self.error is not None and self.body is not None:
            raise ValueError("an answer has a documented error or a body, not both")


class Edit(_Data):
    """A change to a task object: members set, members dropped; `task_info.can_cancel` reaches in.

    `only` keeps it to tasks in these statuses.
    """

    set: dict[str, Any] = member(mapping(_text, lambda value: _writable(json(value))), default={})
    drop: tuple[str, ...] = member(items(_text), default=())
    only: tuple[Status, ...] = member(items(choice(Status)), default=tuple(Status))

    def check(self) -> None:
        """Refuse one that does nothing."""
        if not self.set and not self.drop:
            raise ValueError("an edit sets or drops something")

    @property
    def fault(self) -> str:
        """What the journal calls it."""
        return " ".join(["edit", *self.set, *self.drop])


class Wire(_Data):
    """What happens to the connection instead of a whole answer.

    `cut`: it is reset and not a byte comes, `before` anything was accepted or `after`. `silent`: it stays open and nothing comes.
    `short`: the body ends at this share of the length it announced. `drip`: the whole body takes this long. `endless`: the body
    never ends.
    """

    cut: Taken | None = member(optional(choice(get_args(Taken))), default=None)
    silent: Taken | None = member(optional(choice(get_args(Taken))), default=None)
    short: float | None = member(optional(number(least=0, below=1)), default=None)
    drip: float | None = member(optional(number(seconds, most=3600)), default=None)
    endless: bool = member(truth, default=False)

    def check(self) -> None:
        """Hold it to one."""
        if len(self._chosen()) != 1:
            raise ValueError("a wire fault is exactly one of cut, silent, short, drip, endless")

    @property
    def fault(self) -> str:
        """What the journal calls it."""
        moment = self.cut or self.silent
        return f"{self._chosen()[0]} {moment}" if moment else self._chosen()[0]

    def _chosen(self) -> list[str]:
        chosen = [name for name in ("cut", "silent", "short", "drip") if getattr(self, name) is not None]
        return [*chosen, "endless"] if self.endless else chosen


class Act(_Data):
    """Something that happens at certain calls: `when: {query: [1, 3]}` and one of answer, wire, edit.

    `when` counts the account's creates under this scenario, and a task's queries, downloads and callbacks. `times` ends a range of
    `when` after so many calls.
    """

    when: dict[Operation, Calls] = member(mapping(choice(get_args(Operation)), calls, least=1))
    times: float = member(within(count, 1), default=float("inf"))
    answer: Answer | None = member(optional(Answer.of), default=None)
    wire: Wire | None = member(optional(Wire.of), default=None)
    edit: Edit | None = member(optional(Edit.of), default=None)

    def check(self) -> None:
        """Hold it to one thing, and that to what its operation takes."""
        if sum(part is not None for part in (self.answer, self.wire, self.edit)) != 1:
            raise ValueError("an act is exactly one of answer, wire, edit")
        if "callback" in self.when and self.edit is None:
            raise ValueError("a callback can only be edited here; callbacks has the rest")
        if "link" in self.when and self.edit is not None:
            raise ValueError("a video cannot be edited; a link takes answer or wire")

    def acts(self, operation: Operation, nth: int) -> bool:
        """Whether it acts at the *nth* call of *operation*, counted from 1."""
        spans = self.when.get(operation, ())
        return any(first <= nth <= min(last, first + self.times - 1) for first, last in spans)

    @property
    def accepts(self) -> bool:
        """Whether the call is done all the same; if not, a create makes no task."""
        if self.answer is not None:
            return self.answer.accepted
        return self.wire is None or "before" not in (self.wire.cut, self.wire.silent)


class Callback(_Data):
    """One callback that a task owes: `after` the task's end. What it carries is the task, unless something else is said.

    `before_reply`: the create's own reply waits for it. `padding`: so many bytes more. `body`: this in place of the task.
    """

    after: float = member(number(seconds), default=0.0)
    before_reply: bool = member(truth, default=False)
    content_type: str | None = member(optional(_header_value), default=None)
    edit: Edit | None = member(optional(Edit.of), default=None)
    padding: int = member(whole(0, 1 << 26), default=0)
    body: str | None = member(optional(_text), default=None)

    def fault(self, nth: int) -> str | None:
        """What the journal calls it, where it is not the one callback that is right."""
        wrong = {
            "body": self.body is not None,
            "padding": self.padding > 0,
            "content type": self.content_type is not None,
            self.edit.fault if self.edit else "": self.edit is not None,
            "before reply": self.before_reply,
            "copy": nth > 1,
            "late": self.after > 0,
        }
        return next((f"callback {name}" for name, so in wrong.items() if so), None)


class Links(_Data):
    """How a result link misbehaves: dies early. What its downloads do wrong is an act on `link`."""

    lifetime: float | None = member(optional(number(seconds)), default=None)


class Behaviour(_Data):
    """A scenario with its params filled in."""

    also: ClassVar[tuple[str, ...]] = ("params", "when", "times", "answer", "wire", "edit")

    name: str = member(text())
    summary: str = member(text(), default="")
    pace: Pace = member(Pace.of, default=Pace())
    outcome: Outcome = member(Outcome.of, default=Outcome())
    acts: tuple[Act, ...] = member(items(Act.of), default=())
    callbacks: tuple[Callback, ...] = member(items(Callback.of, most=10), default=(Callback(),))
    links: Links = member(Links.of, default=Links())
    mixture: dict[str, float] = member(mapping(text(), number(above=0, most=10**6)), default={})

    def check(self) -> None:
        """Hold a mixture to itself, and a callback before the reply to a task that has ended by then."""
        told = self.given - {"name", "summary", "pace", "mixture"}
        if self.mixture and told:
            raise ValueError(f"a mixture is a behaviour by itself, without {', '.join(sorted(told))}")
        at_once = self.pace.by == "time" and self.pace.queued == self.pace.runs == (0.0, 0.0)
        if self.calls_back_first and not at_once:
            raise ValueError("a callback before the reply needs a task that ends at once: queued and runs are 0s")

    @property
    def calls_back_first(self) -> bool:
        """Whether a create is answered only after the callback."""
        return any(callback.before_reply for callback in self.callbacks)

    def act(self, operation: Operation, nth: int) -> Act | None:
        """The act for the *nth* call of *operation*, if there is one."""
        return next((act for act in self.acts if act.acts(operation, nth)), None)


class Scenario(_Data):
    """One document of the catalogue: a behaviour with holes, and the params that fill them."""

    name: str = member(text(pattern=_NAME, longest=60))
    summary: str = member(text(shortest=1, longest=200, then=_sendable))
    params: dict[str, Any] = member(mapping(text(pattern=_PARAM), _param), default={})
    behaviour: dict[Any, Any] = member(mapping(anything, anything))

    @classmethod
    def no_mapping(cls, value: Any) -> str:
        """Say what it is."""
        del value
        return "a scenario is a mapping with name, summary and what happens"

    @classmethod
    def prepared(cls, given: dict[str, Any]) -> dict[str, Any]:
        """A file is flat; `when` with one of answer, wire, edit is short for a list of one act."""
        if "behaviour" in given:
            return super().prepared(given)
        own: dict[str, Any] = {key: given[key] for key in ("name", "summary", "params") if key in given}
        behaviour = {key: value for key, value in given.items() if key not in own}
        if "when" in behaviour:
            act = {key: behaviour.pop(key) for key in Act.members if key in behaviour}
            others = behaviour.get("acts", [])
            behaviour["acts"] = [act, *others] if isinstance(others, list) else others
        return {**own, "behaviour": behaviour}

    def fill(self, params: Mapping[str, Any]) -> Behaviour:
        """The behaviour with *params* in place of the defaults. The members of `Pace` are params of every scenario.

        Raises:
            ValueError: a param is not one of this scenario's, or its value does not fit (Invalid is one).
        """
        for name in params:
            if name not in self.params and name not in Pace.members:
                known = ", ".join([*sorted(self.params), *Pace.members])
                raise ValueError(f"scenario {self.name} has no param {str(name)!r}; it has {known}")
        own = {name: typed(params.get(name, default), default) for name, default in self.params.items()}
        behaviour = filled(self.behaviour, own)
        paced = _paced({name: value for name, value in params.items() if name not in self.params}, behaviour)
        return Behaviour.of({**paced, "name": self.name, "summary": self.summary})


def _paced(pace: dict[str, Any], behaviour: dict[str, Any]) -> dict[str, Any]:
    """*behaviour* at another pace; so are all of a mixture's."""
    if not pace:
        return behaviour
    if "by" not in pace and not {"queued", "runs"} & set(pace):
        pace = {**pace, "by": "polls"}
    mixture = behaviour.get("mixture")
    if isinstance(mixture, dict):
        return {**behaviour, "mixture": {write_choice(str(choice), pace): weight for choice, weight in mixture.items()}}
    own = behaviour.get("pace", {})
    return {**behaviour, "pace": {**own, **pace} if isinstance(own, dict) else own}


def plan(behaviour: Behaviour, uniform: Callable[[float, float], float], seed: int) -> Plan:
    """What one task goes through; *uniform* draws within a span, *seed* shapes the progress."""
    failed = behaviour.outcome.status != "completed"
    pace = behaviour.pace
    return Plan(
        outcome=Status.FAILED if failed else Status.COMPLETED,
        queued_for=uniform(*pace.queued) if pace.by == "time" else 0.0,
        runs_for=uniform(*pace.runs) if pace.by == "time" else 0.0,
        polls=(pace.pending, pace.processing) if pace.by == "polls" else None,
        code=(behaviour.outcome.code or CANCELLED) if failed else None,
        stops_at=behaviour.outcome.progress if failed else 100,
        seed=seed,
    )
