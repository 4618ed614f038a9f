"""A scenario: a named story that a task or a call goes through, as data.

`Scenario` is one YAML file. With its params filled in it becomes a `Story`, from which a plan is drawn for each task.
"""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mock_server.core.tasks import CANCELLED, Plan, Status

Operation = Literal["create", "query", "link"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_ORDINAL = re.compile(r"([1-9]\d*)(?:\.\.([1-9]\d*)?)?")
_HOLE = re.compile(r"\{([a-z_]+)\}")


def seconds(text: str | float) -> float:
    """A duration such as `24h`, `1.5s`, `250ms` or a bare number of seconds.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return float(text)
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration; write it like 5s, 250ms, 2m or 24h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def _span(value: Any) -> Any:
    """`5s`, `40s..80s` or `never` as a pair of seconds."""
    if value == "never":
        return (inf, inf)
    if isinstance(value, str) and ".." in value:
        low, _, high = value.partition("..")
        return _ordered(seconds(low), seconds(high), value)
    if isinstance(value, str | int | float):
        return (seconds(value), seconds(value))
    return value


def _ordered(low: float, high: float, text: str) -> tuple[float, float]:
    if low > high:
        raise ValueError(f"{text!r} runs backwards")
    return (low, high)


def _ordinals(value: Any) -> Any:
    """`[1, 3]`, `[2..4]` or `[2..]` as pairs of first and last call; a bare one stands for a list of one."""
    items = value if isinstance(value, list | tuple) else [value]
    pairs = []
    for item in items:
        match = _ORDINAL.fullmatch(str(item))
        if not match:
            raise ValueError(f"{item!r} does not count calls; write 1, 2..4 or 2..")
        last = float(match[2]) if match[2] else (inf if ".." in str(item) else float(match[1]))
        pairs.append((float(match[1]), last))
    return tuple(pairs)


Span = Annotated[tuple[float, float], BeforeValidator(_span)]
Seconds = Annotated[float, BeforeValidator(seconds)]
Ordinals = Annotated[tuple[tuple[float, float], ...], BeforeValidator(_ordinals)]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pace(_Data):
    """How a task gets on: by time, or by how often it is read."""

    by: Literal["time", "polls"] = "time"
    queued: Span = (2.0, 6.0)
    runs: Span = (40.0, 80.0)
    pending: int = Field(1, ge=0)
    processing: int = Field(2, ge=0)


class Outcome(_Data):
    """How a task ends; `progress` is where a failing one stops."""

    status: Literal["completed", "failed", "cancelled"] = "completed"
    code: str | None = None
    progress: int = Field(60, ge=0, le=99)

    @model_validator(mode="after")
    def _code_of_a_failure(self) -> "Outcome":
        if (self.code is not None) != (self.status == "failed"):
            raise ValueError("a failed outcome, and only that, has a code")
        return self


class Answer(_Data):
    """An HTTP answer in place of the right one: a documented error by its entry in the contract, or a raw body."""

    error: str | None = None
    status: int | None = Field(None, ge=200, le=599)
    headers: dict[str, str] = {}
    body: str | None = None

    @model_validator(mode="after")
    def _something(self) -> "Answer":
        if self.error is None and self.status is None:
            raise ValueError("an answer has a status or a documented error")
        return self


class Edit(_Data):
    """A change to the task object of an answer or a callback: members set, members dropped (`task_info.can_cancel` reaches in)."""

    set: dict[str, Any] = {}
    drop: tuple[str, ...] = ()


class Wire(_Data):
    """What happens to the connection instead of a whole answer.

    `cut`: it is closed, `before` anything was accepted or `after`. `silent`: it stays open and nothing comes. `short`: the body ends
    at this share of its length. `drip`: the whole answer takes this long. `endless`: the body never ends.
    """

    cut: Literal["before", "after"] | None = None
    silent: Literal["before", "after"] | None = None
    short: float | None = Field(None, ge=0, lt=1)
    drip: Seconds | None = None
    endless: bool = False

    @model_validator(mode="after")
    def _one(self) -> "Wire":
        if len(self._chosen()) != 1:
            raise ValueError("a wire fault is exactly one of cut, silent, short, drip, endless")
        return self

    @property
    def name(self) -> str:
        """What the journal calls it."""
        return self._chosen()[0]

    def _chosen(self) -> list[str]:
        chosen = [name for name in ("cut", "silent", "short", "drip") if getattr(self, name) is not None]
        return [*chosen, "endless"] if self.endless else chosen


class Act(_Data):
    """Something that happens at certain calls: `when: {query: [1, 3]}` and one of answer, wire, edit."""

    when: dict[Operation, Ordinals]
    answer: Answer | None = None
    wire: Wire | None = None
    edit: Edit | None = None

    @model_validator(mode="after")
    def _one(self) -> "Act":
        if sum(part is not None for part in (self.answer, self.wire, self.edit)) != 1:
            raise ValueError("an act is exactly one of answer, wire, edit")
        return self

    def acts(self, operation: Operation, nth: int) -> bool:
        """Whether it acts at the *nth* call of *operation*, counted from 1."""
        return any(first <= nth <= last for first, last in self.when.get(operation, ()))


class Callbacks(_Data):
    """How a callback misbehaves. `copies`: delivered so often though it was taken. `stale`: an older state follows the last one."""

    copies: int = Field(1, ge=1, le=10)
    delay: Seconds = 0.0
    before_reply: bool = False
    never: bool = False
    stale: bool = False
    content_type: str | None = None
    edit: Edit | None = None


class Links(_Data):
    """How a result link misbehaves: dies early. What its downloads do wrong is an act on `link`."""

    lifetime: Seconds | None = None


class Story(_Data):
    """A scenario with its params filled in."""

    name: str
    summary: str = ""
    pace: Pace = Pace()
    outcome: Outcome = Outcome()
    acts: tuple[Act, ...] = ()
    callbacks: Callbacks = Callbacks()
    links: Links = Links()
    mixture: dict[str, Annotated[float, Field(gt=0)]] = {}

    def act(self, operation: Operation, nth: int) -> Act | None:
        """The act for the *nth* call of *operation*, if there is one."""
        return next((act for act in self.acts if act.acts(operation, nth)), None)


class Scenario(_Data):
    """One file of the catalogue: a story with holes, and the params that fill them."""

    name: str = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
    summary: str = Field(min_length=1)
    params: dict[str, str | int | float | bool] = {}
    story: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        """A file is flat; `when` with one of answer, wire, edit is short for a list of one act."""
        if not isinstance(data, dict) or "story" in data:
            return data
        own = {key: data[key] for key in ("name", "summary", "params") if key in data}
        story = {key: value for key, value in data.items() if key not in own}
        if "when" in story:
            act = {key: story.pop(key) for key in ("when", "answer", "wire", "edit") if key in story}
            story["acts"] = [act, *story.get("acts", [])]
        return {**own, "story": story}

    def fill(self, params: Mapping[str, Any]) -> Story:
        """The story with *params* in place of the defaults.

        Raises:
            ValueError: a param is not one of this scenario's, or its value does not fit (pydantic's ValidationError is one).
        """
        for name in params:
            if name not in self.params:
                known = ", ".join(sorted(self.params)) or "none"
                raise ValueError(f"scenario {self.name} has no param {name!r}; it has {known}")
        return Story(name=self.name, summary=self.summary, **_filled(self.story, {**self.params, **params}))


def _filled(value: Any, params: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, params) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, params) for item in value]
    if not isinstance(value, str):
        return value
    whole = _HOLE.fullmatch(value)
    if whole and whole[1] in params:
        return params[whole[1]]
    return _HOLE.sub(lambda hole: str(params.get(hole[1], hole[0])), value)


def plan(story: Story, uniform: Callable[[float, float], float], seed: int) -> Plan:
    """What one task goes through; *uniform* draws within a span, *seed* shapes the progress."""
    failed = story.outcome.status != "completed"
    pace = story.pace
    return Plan(
        outcome=Status.FAILED if failed else Status.COMPLETED,
        queued_for=uniform(*pace.queued) if pace.by == "time" else 0.0,
        runs_for=uniform(*pace.runs) if pace.by == "time" else 0.0,
        polls=(pace.pending, pace.processing) if pace.by == "polls" else None,
        code=(story.outcome.code or CANCELLED) if failed else None,
        stops_at=story.outcome.progress if failed else 100,
        seed=seed,
    )


TAG = re.compile(r"\[\[([a-z][a-z0-9-]*)((?:\s+[a-z_]+=[^\s\]]+)*)\s*\]\]")
"""A scenario named in a prompt: `[[failed code=service_error]]`."""


def parse_choice(text: str) -> tuple[str, dict[str, Any]]:
    """Name and params of a choice such as `failed code=service_error at=40`.

    Raises:
        ValueError: it does not read like that.
    """
    name, *pairs = text.split() or [""]
    params: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"{pair!r} is not a param; write it like code=service_error")
        params[key] = _value(value)
    return name, params


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
