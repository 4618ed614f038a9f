"""A task as the service answers it, read without trust: whatever is missing or odd is None, never a crash."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
CANCELLED_CODE = "request_cancelled"
# Older pages show the bare word; wire-facts has it as failed with the code above (S). Both are ends.
_CANCELLED_STATUSES = frozenset({"cancelled", "canceled"})


# Ids have some thirty characters; what is much longer only fills the memory.
_LONGEST_ID = 200


def is_usable_id(task_id: str) -> bool:
    """Return whether *task_id* can stand in a path, encoded: valid Unicode, not empty or too long, and no step upwards."""
    whole = not any("\ud800" <= character <= "\udfff" for character in task_id)
    return whole and 0 < len(task_id) <= _LONGEST_ID and task_id not in (".", "..")


@dataclass(frozen=True, slots=True)
class Statuses:
    """The statuses that end a task: with a video, and without."""

    success: frozenset[str]
    failure: frozenset[str]


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed, in the service's words."""

    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Credits reserved at create, credits and dollars used on completion; None where the answer does not say."""

    credits_reserved: float | None = None
    credits_used: float | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One answer about a task.

    `status` is the service's word, None when there is none; `completed` and `failed` what the contract makes of it;
    `progress` 0 to 100 or None; `created` Unix seconds; `estimated_time` and `video_duration` seconds;
    `results` the links as given, `element_id` what a model makes in place of a video; `raw` the whole answer.
    """

    id: str
    status: str | None
    progress: int | None = None
    model: str | None = None
    created: int | None = None
    estimated_time: int | None = None
    video_duration: int | None = None
    completed: bool = False
    failed: bool = False
    results: tuple[str, ...] = ()
    element_id: str | None = None
    error: TaskError | None = None
    usage: Usage = Usage()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """It will not change again. An unknown status is not finished."""
        return self.completed or self.failed


def read_task(body: Mapping[str, Any], statuses: Statuses, asked: str | None = None) -> Task:
    """The task in an answer.

    Args:
        body: the JSON object of a create, a query or a callback.
        statuses: what the contract's statuses mean.
        asked: the id that was asked for, taken when the answer has none.

    Raises:
        ValueError: there is no id, or another one than was asked for.
    """
    task_id = _typed(body.get("id"), str) or asked
    if not task_id or not is_usable_id(task_id):
        raise ValueError("the answer has no task id")
    if asked is not None and task_id != asked:
        raise ValueError("the answer is about another task")
    info = _object(body.get("task_info"))
    status = _typed(body.get("status"), str)
    return Task(
        id=task_id,
        status=status,
        progress=_typed(body.get("progress"), int),
        model=_typed(body.get("model"), str),
        created=_typed(body.get("created"), int),
        estimated_time=_typed(info.get("estimated_time"), int),
        video_duration=_typed(info.get("video_duration"), int),
        completed=status in statuses.success,
        failed=status in statuses.failure or status in _CANCELLED_STATUSES,
        results=_links(body.get("results")),
        element_id=_element(body.get("result_data")),
        error=_error(body),
        usage=_usage(_object(body.get("usage"))),
        raw=dict(body),
    )


def _error(body: Mapping[str, Any]) -> TaskError | None:
    """The error object, or one made up for a bare `cancelled`."""
    error = _object(body.get("error"))
    cancelled = _typed(body.get("status"), str) in _CANCELLED_STATUSES
    if not error and not cancelled:
        return None
    code = error.get("code")
    known = str(code) if isinstance(code, str | int) else None
    return TaskError(known or (CANCELLED_CODE if cancelled else None), _typed(error.get("message"), str))


def _usage(usage: Mapping[str, Any]) -> Usage:
    """The charge; `cost.credits` stands in where `credits_used` is absent."""
    cost = _object(usage.get("cost"))
    used = _number(usage.get("credits_used"))
    return Usage(
        credits_reserved=_number(usage.get("credits_reserved")),
        credits_used=used if used is not None else _number(cost.get("credits")),
        usd=_number(cost.get("usd")),
    )


def _links(value: Any) -> tuple[str, ...]:
    """The strings of `results`; anything else is no link."""
    return tuple(link for link in value if isinstance(link, str) and link) if isinstance(value, list) else ()


def _element(value: Any) -> str | None:
    """The id of the element that a task made in place of a video."""
    first = value[0] if isinstance(value, list) and value else None
    return _typed(_object(first).get("element_id"), str)


def _object(value: Any) -> Mapping[str, Any]:
    """*value* where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _typed(value: Any, kind: type[T]) -> T | None:
    """*value* where it is of that type; a bool is not an integer here."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    """*value* where it is a number that can be reckoned with."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None
