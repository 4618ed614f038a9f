"""A scenario: a named behaviour that a task or a call goes through, as data.

`Scenario` is one YAML document. With its params filled in it becomes a `Behaviour`, from which a plan is drawn for each task.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from kling_mock.core.notation import Calls, Count, Seconds, Span, filled, typed, write_choice
from kling_mock.core.tasks import CANCELLED, Plan, Status

Operation = Literal["create", "query", "link", "callback"]
Taken = Literal["before", "after"]

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_PARAM = r"^[a-z][a-z_]*$"


def _sendable(text: str) -> str:
    """A text that can be encoded; YAML lets lone surrogates in."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("has characters that cannot be sent as UTF-8") from error
    return text


def _header(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} cannot stand in a header; use printable ASCII")
    return text


def _header_name(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a header; write it like Retry-After")
    return text.lower()


def _json(value: JsonValue) -> JsonValue:
    """A value that every JSON writer takes: whole numbers within 64 bits, sendable texts."""
    if isinstance(value, str):
        return _sendable(value)
    if isinstance(value, int) and not -(1 << 63) <= value < (1 << 63):
        raise ValueError("a number has more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _json(item)
    for key in value if isinstance(value, dict) else ():
        _sendable(key)
    return value


Text = Annotated[str, AfterValidator(_sendable)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[
    str, BeforeValidator(lambda value: str(value) if type(value) is int else value), AfterValidator(_header)
]
Json = Annotated[JsonValue, AfterValidator(_json)]


class _Data(BaseModel):
    """A part of a file: a mapping with just these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    also: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        allowed = ", ".join([*cls.model_fields, *cls.also])
        if not isinstance(data, dict):
            raise ValueError(f"{str(data)[:60]!r} is no mapping; it takes {allowed}")
        unknown = next((key for key in data if key not in cls.model_fields), None)
        if unknown is not None:
            context = {"key": str(unknown)[:60], "allowed": allowed}
            raise PydanticCustomError("unknown_key", "there is no '{key}' here; there are {allowed}", context)
        return data


class Pace(_Data):
    """How a task gets on: by time, or by how often it is read. Every scenario takes these as params too."""

    by: Literal["time", "polls"] = "time"
    queued: Span = (2.0, 6.0)
    runs: Span = (40.0, 80.0)
    pending: Count = 1
    processing: Count = 2


class Outcome(_Data):
    """How a task ends; `progress` is where a failing one stops."""

    status: Literal["completed", "failed", "cancelled"] = "completed"
    code: str | None = None
    progress: int = Field(60, ge=0, le=99)

    @model_validator(mode="after")
    def _code_of_a_failure(self) -> Self:
        if (self.code is not None) != (self.status == "failed"):
            raise ValueError("a failed outcome, and only that, has a code")
        return self


class Answer(_Data):
    """An HTTP answer in place of the right one.

    `error` is a documented error, by its code or by its entry in the contract; a bare `status` is the documented error that the
    operation has for it. `form` says how such an error is written: `auto` is a gateway's page where the contract allows one or
    knows no error, JSON otherwise. `body` is sent as it stands. `accepted`: the call was done all the same.
    """

    error: str | None = None
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[HeaderName, HeaderValue] = {}
    body: Text | None = None
    form: Literal["auto", "json", "html"] = "auto"
    retry_after: int | None = Field(None, ge=0, le=10**6)
    retry_form: Literal["seconds", "date"] = "seconds"
    accepted: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.error is None and self.status is None:
            raise ValueError("an answer has a status or a documented error")
        if self.error is not None and self.body is not None:
            raise ValueError("an answer has a documented error or a body, not both")
        return self


class Edit(_Data):
    """A change to a task object: members set, members dropped; `task_info.can_cancel` reaches in.

    `only` keeps it to tasks in these statuses.
    """

    set: dict[Text, Json] = {}
    drop: tuple[Text, ...] = ()
    only: tuple[Status, ...] = tuple(Status)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.set and not self.drop:
            raise ValueError("an edit sets or drops something")
        return self

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

    cut: Taken | None = None
    silent: Taken | None = None
    short: float | None = Field(None, ge=0, lt=1)
    drip: Annotated[Seconds, Field(le=3600)] | None = None
    endless: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self._chosen()) != 1:
            raise ValueError("a wire fault is exactly one of cut, silent, short, drip, endless")
        return self

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

    when: dict[Operation, Calls] = Field(min_length=1)
    times: Count = Field(float("inf"), ge=1)
    answer: Answer | None = None
    wire: Wire | None = None
    edit: Edit | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.answer, self.wire, self.edit)) != 1:
            raise ValueError("an act is exactly one of answer, wire, edit")
        if "callback" in self.when and self.edit is None:
            raise ValueError("a callback can only be edited here; callbacks has the rest")
        if "link" in self.when and self.edit is not None:
            raise ValueError("a video cannot be edited; a link takes answer or wire")
        return self

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

    after: Seconds = 0.0
    before_reply: bool = False
    content_type: HeaderValue | None = None
    edit: Edit | None = None
    padding: int = Field(0, ge=0, le=1 << 26)
    body: Text | None = None

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

    lifetime: Seconds | None = None


class Behaviour(_Data):
    """A scenario with its params filled in."""

    also: ClassVar[tuple[str, ...]] = ("params", "when", "times", "answer", "wire", "edit")

    name: str
    summary: str = ""
    pace: Pace = Pace()
    outcome: Outcome = Outcome()
    acts: tuple[Act, ...] = ()
    callbacks: tuple[Callback, ...] = Field((Callback(),), max_length=10)
    links: Links = Links()
    mixture: dict[str, Annotated[float, Field(gt=0, le=10**6)]] = {}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        told = self.model_fields_set - {"name", "summary", "pace", "mixture"}
        if self.mixture and told:
            raise ValueError(f"a mixture is a behaviour by itself, without {', '.join(sorted(told))}")
        at_once = self.pace.by == "time" and self.pace.queued == self.pace.runs == (0.0, 0.0)
        if self.calls_back_first and not at_once:
            raise ValueError("a callback before the reply needs a task that ends at once: queued and runs are 0s")
        return self

    @property
    def calls_back_first(self) -> bool:
        """Whether a create is answered only after the callback."""
        return any(callback.before_reply for callback in self.callbacks)

    def act(self, operation: Operation, nth: int) -> Act | None:
        """The act for the *nth* call of *operation*, if there is one."""
        return next((act for act in self.acts if act.acts(operation, nth)), None)


class Scenario(_Data):
    """One document of the catalogue: a behaviour with holes, and the params that fill them."""

    name: str = Field(pattern=_NAME, max_length=60)
    summary: Text = Field(min_length=1, max_length=200)
    params: dict[Annotated[str, Field(pattern=_PARAM)], bool | int | float | Text] = {}
    behaviour: dict[Any, Any]

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        """A file is flat; `when` with one of answer, wire, edit is short for a list of one act."""
        if not isinstance(data, dict):
            raise ValueError("a scenario is a mapping with name, summary and what happens")
        if "behaviour" in data:
            return data
        own = {key: data[key] for key in ("name", "summary", "params") if key in data}
        behaviour = {key: value for key, value in data.items() if key not in own}
        if "when" in behaviour:
            act = {key: behaviour.pop(key) for key in Act.model_fields if key in behaviour}
            others = behaviour.get("acts", [])
            behaviour["acts"] = [act, *others] if isinstance(others, list) else others
        return {**own, "behaviour": behaviour}

    def fill(self, params: Mapping[str, Any]) -> Behaviour:
        """The behaviour with *params* in place of the defaults. The members of `Pace` are params of every scenario.

        Raises:
            ValueError: a param is not one of this scenario's, or its value does not fit (pydantic's ValidationError is one).
        """
        for name in params:
            if name not in self.params and name not in Pace.model_fields:
                known = ", ".join([*sorted(self.params), *Pace.model_fields])
                raise ValueError(f"scenario {self.name} has no param {str(name)!r}; it has {known}")
        own = {name: typed(params.get(name, default), default) for name, default in self.params.items()}
        behaviour = filled(self.behaviour, own)
        paced = _paced({name: value for name, value in params.items() if name not in self.params}, behaviour)
        return Behaviour.model_validate({**paced, "name": self.name, "summary": self.summary})


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
