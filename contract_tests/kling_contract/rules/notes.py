"""What the notes of a history must hold so that judges can read them: a file may have been edited, or come from another kit."""

from collections.abc import Iterable
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, Field, ValidationError

from kling_contract.history.events import AnyEvent, HistoryError, Note
from kling_contract.history.labels import Topic
from kling_contract.rules.case_facts import CaseFacts

Seconds = Annotated[float, Field(ge=0, le=1e9)]


class _Run(BaseModel):
    target: str = ""
    mode: str = ""
    features: list[str] | None = None
    seed: int | str | None = None


class _Task(BaseModel):
    task_id: str = ""


class _Noise(BaseModel):
    seconds: Seconds = 0.0


class _Said(BaseModel):
    outcome: str | None = None
    task_id: str | None = None
    effects: float | None = None
    error: dict[str, Any] | None = None


class _File(BaseModel):
    name: str
    size: int
    sha256: str


class _Told(BaseModel):
    exit: int | None
    signal: int | None = None
    ended: str
    seconds: Seconds
    stdout: str
    stderr: str
    said: _Said | None = None
    leaks: list[str]
    files: list[_File]
    places: dict[str, list[str]]
    cannot: str = ""
    broken: str


class _Elsewhere(BaseModel):
    untrusted: str
    connections: int


class _Served(BaseModel):
    size: int
    sha256: str


_SHAPES: dict[str, type[BaseModel]] = {
    Topic.RUN: _Run,
    Topic.NOISE: _Noise,
    Topic.TOLD: _Told,
    Topic.ELSEWHERE: _Elsewhere,
    Topic.SERVED: _Served,
    **dict.fromkeys((Topic.CANCELLED, Topic.RESENT, Topic.SETTLED), _Task),
}


def check_notes(events: Iterable[AnyEvent], name: str) -> None:
    """Do nothing where every note holds what its topic says.

    Raises:
        HistoryError: one does not; the message begins with *name* and the event's number.
    """
    for event in events:
        if not isinstance(event, Note):
            continue
        try:
            if event.topic == Topic.CASE:
                CaseFacts.model_validate(event.data)
            elif event.topic in _SHAPES:
                _SHAPES[event.topic].model_validate(event.data, strict=True)
            orjson.dumps(event.data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (event.topic, *first["loc"])))
            raise HistoryError(f"{name}: event {event.seq}: note {place}: {first['msg']}") from error
        except TypeError as error:
            raise HistoryError(f"{name}: event {event.seq}: note {event.topic}: {error}") from error
