"""What the contract says of one call, error, first frame, and what departs from it: plain values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from kling_openapi.media import ratio
from kling_openapi.model import Model
from kling_openapi.schemas import steps_of


@dataclass(frozen=True, slots=True)
class Flaw:
    """One departure of a body from its schema: where, by which keyword, in words."""

    path: tuple[str | int, ...]
    keyword: str
    message: str

    @property
    def field(self) -> str:
        """The top-level member at fault; empty for the body as a whole."""
        return str(self.path[0]) if self.path else ""

    def __str__(self) -> str:
        return f"{'/'.join(map(str, self.path)) or 'body'}: {self.message}"


@dataclass(frozen=True, slots=True)
class IdShape:
    """How a task id is put together: prefix, moment of creation, then so many characters of the alphabet."""

    prefix: str
    suffix_length: int
    suffix_alphabet: str

    def numbered(self, created: int, number: int) -> str:
        """Return the id of task *number* of those that are made up here; *created* in Unix seconds.

        >>> IdShape("task-", 8, "0123456789abcdefghijklmnopqrstuvwxyz").numbered(1757169743, 7)
        'task-1757169743-00000007'
        """
        return f"{self.prefix}{created}-{number:0{self.suffix_length}}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented call. `statuses` maps each documented status to the JSON schema of its body."""

    id: str
    method: str
    template: str
    statuses: Mapping[str, Any]
    html: frozenset[str]
    """Statuses whose body may be an HTML page of a gateway."""
    core: bool
    """Whether every server of the contract has it; the others are optional."""
    files: bool = False
    """Whether it is one of the file host's, which has errors of its own."""
    integer_codes: bool = False
    """Whether its errors carry the HTTP status as their code, whatever the dialect of the others."""


@dataclass(frozen=True, slots=True)
class DocumentedError:
    """One HTTP error of the contract, in both dialects."""

    status: int
    code: str
    type: str
    legacy_type: str
    grade: str


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a first frame must be: bytes, pixels, and width to height as numbers."""

    formats: tuple[str, ...]
    max_bytes: int
    min_side: int
    ratio_min: float
    ratio_max: float

    @classmethod
    def read(cls, node: Mapping[str, Any]) -> "ImageLimits":
        """Return what an `x-image` of the contract says."""
        low, high = (float(ratio(node[name])) for name in ("ratio_min", "ratio_max"))
        return cls(tuple(node["formats"]), node["max_bytes"], node["min_side_px"], low, high)

    @property
    def safe_bytes(self) -> int:
        """The largest size that is fine in either reading of "MB"; between this and `max_bytes` nothing is judged."""
        return round(self.max_bytes / 1024**2) * 1000**2


def flaws_of(validator: jsonschema_rs.Draft202012Validator, body: Any) -> tuple[Flaw, ...]:
    """Return what is wrong with *body* by a compiled schema, once for each place and keyword."""
    found: dict[tuple[tuple[str | int, ...], str], Flaw] = {}
    for error in validator.iter_errors(body):
        path = tuple(error.instance_path)
        if error.kind.name == "required":
            path = (*path, getattr(error.kind, "property", ""))
        found.setdefault((path, error.kind.name), Flaw(path, error.kind.name, error.message[:200]))
    return tuple(sorted(found.values(), key=lambda flaw: (tuple(map(str, flaw.path)), flaw.keyword)))


def problems_of(model: Model | None, body: Any) -> tuple[Flaw, ...]:
    """Return what is wrong with *body* as a create of a further model."""
    assert model is not None
    return tuple(Flaw(steps_of(it.param or ""), it.keyword, it.message[:200]) for it in model.problems(body))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(
        "".join("[^/]+" if part[:1] == "{" else re.escape(part) for part in re.split(r"(\{\w+\})", template))
    )


def matches(template: str, path: str) -> bool:
    """Return whether *path* is one of those that *template*, `/v1/tasks/{task_id}`, stands for."""
    return _pattern(template).fullmatch(path) is not None
