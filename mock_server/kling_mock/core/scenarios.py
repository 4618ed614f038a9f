"""A scenario: a named behaviour that a task or a call goes through, as data.

`Scenario` is one YAML document. With its params filled in it becomes a `Behaviour`, from which a plan is drawn for each task.
"""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from msgspec import Meta, field

from kling_mock.core.notation import Calls, Span, calls, count, filled, seconds, span, typed, write_choice
from kling_mock.core.records import Data, Invalid, kind
from kling_mock.core.tasks import CANCELLED, Plan, Status

Operation = Literal["create", "query", "link", "callback"]
Taken = Literal["before", "after"]

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAME = Meta(
    pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
    max_length=60,
    description="should be at most 60 small letters and digits, with hyphens between words",
)
_PARAM = Meta(pattern=r"^[a-z][a-z_]*$", description="should be small letters, with underscores between words")
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_WHEN = Meta(min_length=1, description="should say at which calls, such as {query: [1, 3]}")


def _truth(said: Any) -> bool:
    """YAML of old has more words for it than the files' own."""
    found = _TRUTHS.get(str(said).lower())
    if found is None:
        raise ValueError("should be true or false")
    return found


def _header_value(said: str | int) -> str:
    text = str(said)
    if isinstance(said, bool) or not (text.isascii() and text.isprintable()):
        raise ValueError(f"{said!r} cannot stand in a header; use printable ASCII")
    return text


def _header_name(said: str) -> str:
    if not _HEADER.fullmatch(said):
        raise ValueError(f"{said!r} is no name of a header; write it like Retry-After")
    return said.lower()


def _times(said: Any) -> float:
    times = count(said)
    if times < 1:
        raise ValueError("should be greater than or equal to 1")
    return times


def _drip(said: Any) -> float:
    length = seconds(said)
    if length > 3600:
        raise ValueError("should be less than or equal to 3600")
    return length


if TYPE_CHECKING:
    _Truth = bool
    _Span = Span
    _Calls = Calls
    _Count = float
    _Times = float
    _Seconds = float
    _Drip = float
    _HeaderName = str
    _HeaderValue = str
else:
    _Span, _Calls, _Count, _Times, _Seconds, _Drip = map(kind, (span, calls, count, _times, seconds, _drip))
    _Truth, _HeaderName, _HeaderValue = kind(_truth), kind(_header_name, str), kind(_header_value, str | int)


class Pace(Data):
    """How a task gets on: by time, or by how often it is read. Every scenario takes these as params too."""

    by: Literal["time", "polls"] = "time"
    queued: _Span = (2.0, 6.0)
    runs: _Span = (40.0, 80.0)
    pending: _Count = 1
    processing: _Count = 2


class Outcome(Data):
    """How a task ends; `progress` is where a failing one stops."""

    status: Literal["completed", "failed", "cancelled"] = "completed"
    code: str | None = None
    progress: Annotated[int, Meta(ge=0, le=99)] = 60

    def __post_init__(self) -> None:
        """Hold the code to the status."""
        if (self.code is not None) != (self.status == "failed"):
            raise ValueError("a failed outcome, and only that, has a code")


class Answer(Data):
    """An HTTP answer in place of the right one.

    `error` is a documented error, by its code or by its entry in the contract; a bare `status` is the documented error that the
    operation has for it. `form` says how such an error is written: `auto` is a gateway's page where the contract allows one or
    knows no error, JSON otherwise. `body` is sent as it stands. `accepted`: the call was done all the same.
    """

    error: str | None = None
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    headers: dict[_HeaderName, _HeaderValue] = field(default_factory=dict)
    body: str | None = None
    form: Literal["auto", "json", "html"] = "auto"
    retry_after: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    retry_form: Literal["seconds", "date"] = "seconds"
    accepted: _Truth = False

    def __post_init__(self) -> None:
        """Hold it to one kind of answer."""
        if self.error is None and self.status is None:
            raise ValueError("an answer has a status or a documented error")
        if self.error is not None and self.body is not None:
            raise ValueError("an answer has a documented error or a body, not both")


class Edit(Data):
    """A change to a task object: members set, members dropped; `task_info.can_cancel` reaches in.

    `only` keeps it to tasks in these statuses.
    """

    set: dict[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    only: tuple[Status, ...] = tuple(Status)

    def __post_init__(self) -> None:
        """Refuse one that does nothing."""
        if not self.set and not self.drop:
            raise ValueError("an edit sets or drops something")

    @property
    def fault(self) -> str:
        """What the journal calls it."""
        return " ".join(["edit", *self.set, *self.drop])


class Wire(Data):
    """What happens to the connection instead of a whole answer.

    `cut`: it is reset and not a byte comes, `before` anything was accepted or `after`. `silent`: it stays open and nothing comes.
    `short`: the body ends at this share of the length it announced. `drip`: the whole body takes this long. `endless`: the body
    never ends.
    """

    cut: Taken | None = None
    silent: Taken | None = None
    short: Annotated[float, Meta(ge=0, lt=1)] | None = None
    drip: _Drip | None = None
    endless: _Truth = False

    def __post_init__(self) -> None:
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


class Act(Data):
    """Something that happens at certain calls: `when: {query: [1, 3]}` and one of answer, wire, edit.

    `when` counts the account's creates under this scenario, and a task's queries, downloads and callbacks. `times` ends a range of
    `when` after so many calls.
    """

    when: Annotated[dict[Operation, _Calls], _WHEN]
    times: _Times = inf
    answer: Answer | None = None
    wire: Wire | None = None
    edit: Edit | None = None

    def __post_init__(self) -> None:
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


class Callback(Data):
    """One callback that a task owes: `after` the task's end. What it carries is the task, unless something else is said.

    `before_reply`: the create's own reply waits for it. `padding`: so many bytes more. `body`: this in place of the task.
    """

    after: _Seconds = 0.0
    before_reply: _Truth = False
    content_type: _HeaderValue | None = None
    edit: Edit | None = None
    padding: Annotated[int, Meta(ge=0, le=1 << 26)] = 0
    body: str | None = None

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


class Links(Data):
    """How a result link misbehaves: dies early. What its downloads do wrong is an act on `link`."""

    lifetime: _Seconds | None = None


class Behaviour(Data):
    """A scenario with its params filled in."""

    also: ClassVar[tuple[str, ...]] = ("params", "when", "times", "answer", "wire", "edit")

    name: str
    summary: str = ""
    pace: Pace = Pace()
    outcome: Outcome = Outcome()
    acts: tuple[Act, ...] = ()
    callbacks: Annotated[tuple[Callback, ...], Meta(max_length=10)] = (Callback(),)
    links: Links = Links()
    mixture: dict[str, Annotated[float, Meta(gt=0, le=10**6)]] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the behaviour, as `Record.of` does; a mixture stands by itself."""
        made = super().of(value)
        told = set(value) - {"name", "summary", "pace", "mixture"} if isinstance(value, dict) else ()
        if made.mixture and told:
            raise Invalid((), f"a mixture is a behaviour by itself, without {', '.join(sorted(told))}", value)
        return made

    def __post_init__(self) -> None:
        """Hold a callback before the reply to a task that has ended by then."""
        at_once = self.pace.by == "time" and self.pace.queued == self.pace.runs == (0.0, 0.0)
        if self.calls_back_first and not at_once:
            raise ValueError("a callback before the reply needs a task that ends at once: queued and runs are 0s")

    @property
    def calls_back_first(self) -> bool:
        """Whether a create is answered only after the callback."""
        return True in [callback.before_reply for callback in self.callbacks]  # a generator takes twice as long

    def act(self, operation: Operation, nth: int) -> Act | None:
        """The act for the *nth* call of *operation*, if there is one."""
        for act in self.acts:  # most have none, and a generator would cost each call half a microsecond
            if act.acts(operation, nth):
                return act
        return None


class Scenario(Data):
    """One document of the catalogue: a behaviour with holes, and the params that fill them."""

    name: Annotated[str, _NAME]
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    behaviour: dict[str, Any]
    params: dict[Annotated[str, _PARAM], bool | int | float | str] = field(default_factory=dict)

    @classmethod
    def no_mapping(cls, value: Any) -> str:
        """Say what it is."""
        del value
        return "a scenario is a mapping with name, summary and what happens"

    @classmethod
    def of(cls, value: Any) -> Self:
        """A file is flat; `when` with one of answer, wire, edit is short for a list of one act."""
        if not isinstance(value, dict) or "behaviour" in value:
            return super().of(value)
        own: dict[str, Any] = {key: value[key] for key in ("name", "summary", "params") if key in value}
        behaviour = {key: item for key, item in value.items() if key not in own}
        if "when" in behaviour:
            act = {key: behaviour.pop(key) for key in Act.__struct_fields__ if key in behaviour}
            others = behaviour.get("acts", [])
            behaviour["acts"] = [act, *others] if isinstance(others, list) else others
        return super().of({**own, "behaviour": behaviour})

    def fill(self, params: Mapping[str, Any]) -> Behaviour:
        """The behaviour with *params* in place of the defaults. The members of `Pace` are params of every scenario.

        Raises:
            ValueError: a param is not one of this scenario's, or its value does not fit (Invalid is one).
        """
        for name in params:
            if name not in self.params and name not in Pace.__struct_fields__:
                known = ", ".join([*sorted(self.params), *Pace.__struct_fields__])
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
    outcome, pace = behaviour.outcome, behaviour.pace
    queued, runs, polls = 0.0, 0.0, None
    if pace.by == "time":
        queued, runs = uniform(*pace.queued), uniform(*pace.runs)
    else:
        polls = pace.pending, pace.processing
    if outcome.status == "completed":
        return Plan(Status.COMPLETED, queued, runs, polls, None, 100, seed)
    return Plan(Status.FAILED, queued, runs, polls, outcome.code or CANCELLED, outcome.progress, seed)
