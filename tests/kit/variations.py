"""Small changes of correct histories, made without knowing the rules: each kind of event changed in every member, moved, left out, doubled.

What the judges say of each change is kept in `findings.txt` (`scripts/findings`): which rules speak, in which words, how often.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import orjson
from tape import CONTRACT

from kling_contract.history.events import (
    Balance,
    Body,
    Callback,
    ClockMove,
    Download,
    Exchange,
    Note,
    Response,
    to_json,
)
from kling_contract.history.labels import Topic

GONE: Any = object()
STATES = ("pending", "processing", "completed", "failed", "cancelled")
SHIFTS = (-1.5, -0.06, 0.06, 1.5, 4000.0)
"""Seconds of the account's clock by which an event is moved."""
DURING = (0.5, CONTRACT.timeout - 0.2, CONTRACT.timeout + 0.2)
"""Seconds of real time that a receiver takes."""


def kind(event: Any) -> str:
    """What an event is, in words: events of one kind are changed in the same ways, so one of them is."""
    if isinstance(event, Exchange):
        sent, got = document(event.request.body), document(event.answer.body)
        state = got.get("status", got.get("error", {}).get("param", "")) if isinstance(got, dict) else ""
        path = re.sub(r"task-unified-[\w-]+", "ID", event.url.partition("4010")[2])
        named = ",".join(sorted(sent)) if isinstance(sent, dict) and len(sent) < 5 else ""
        return f"{event.method} {path[:60]} {event.answer.status} {state} {named}".strip()
    if isinstance(event, Callback):
        return f"callback {event.url.partition('.com')[2].partition('?')[0]} {event.answer.status if event.answer else event.ended}"
    if isinstance(event, Download):
        return f"download {event.status}{' of a part' if event.asked_range else ''}"
    return f"{event.kind} {event.topic if isinstance(event, Note) else ''}".strip()


def document(body: Body) -> Any:
    """The JSON of a body; None where it is none."""
    try:
        return orjson.loads(body.content)
    except orjson.JSONDecodeError:
        return None


def plan(parts: dict[str, list[Any]]) -> dict[str, list[tuple[Any, bool]]]:
    """The events of each part that are changed, one of each kind; and whether its body is one that no earlier one has."""
    bodies_seen: set[str] = set()
    planned: dict[str, list[tuple[Any, bool]]] = {}
    for name, events in parts.items():
        kinds = {kind(event): event for event in reversed(events)}
        planned[name] = []
        for event in sorted(kinds.values(), key=events.index):
            planned[name].append((event, shape(event) not in bodies_seen))
            bodies_seen.add(shape(event))
    return planned


def shape(event: Any) -> str:
    """What the body of an event looks like."""
    if isinstance(event, Callback):
        return f"callback {(document(event.request.body) or {}).get('status')}"
    words = kind(event).split(" ")
    return " ".join([words[0], *(word.partition("?")[0] for word in words[1:4])])


def variations(events: list[Any], event: Any, *, whole: bool) -> Iterator[list[Any]]:
    """Yield a history for each change of *event*, with what belongs to it; *whole* for the members of its answer as well."""
    named = tasks(event)
    near = [other for other in events if other is event or not alone(other) or named & tasks(other)]
    place = near.index(event)
    ahead, behind = near[:place], near[place + 1 :]
    for changed in changes(event, whole=whole):
        found = [changed] if changed is not GONE else []
        yield [*ahead, *found, *behind]
    if not isinstance(event, Note | ClockMove):
        twin = replace(event, mono=event.mono + 0.005)
        yield numbered([*ahead, event, twin, *behind])


def tasks(event: Any) -> set[str]:
    """The tasks that an event names."""
    return set(re.findall(r"task-unified-\d+-\w+", orjson.dumps(to_json(event)).decode()))


def alone(event: Any) -> bool:
    """Whether an event says nothing of any other: a call or a callback of one task, or a refused create."""
    return isinstance(event, Callback | Download) or (
        isinstance(event, Exchange) and bool(event.request.body.size or tasks(event))
    )


def numbered(events: list[Any]) -> list[Any]:
    """*events* in their order, counted anew."""
    return [replace(event, seq=number) for number, event in enumerate(events, 1)]


def changes(event: Any, *, whole: bool) -> Iterator[Any]:
    """Yield *event* changed in each of its parts; GONE for none at all."""
    yield GONE
    if isinstance(event, Balance):
        yield from (replace(event, remaining=event.remaining + more) for more in (-1, 1))
    if isinstance(event, Exchange):
        yield from of_exchange(event, whole=whole)
    if isinstance(event, Callback):
        yield from of_callback(event, whole=whole)
    if isinstance(event, Download):
        yield from of_download(event)
    if isinstance(event, Exchange | Callback | Download):
        yield from (replace(event, at=event.at + by, ended_at=event.ended_at + by) for by in SHIFTS)


def of_exchange(event: Exchange, *, whole: bool) -> Iterator[Exchange]:
    """Yield an exchange with another request, answer or label."""
    yield from (replace(event, request=one) for one in bodies(event.request))
    yield replace(event, request=replace(event.request, headers=()))
    yield from (replace(event, probe=one) for one in labels(event.probe))
    if event.answer is not None:
        answers = (*bodies(event.answer), *headers(event.answer)) if whole else ()
        yield from (replace(event, answer=one) for one in (*answers, *statuses(event.answer, 200, 400, 404, 500)))
        yield replace(event, answer=None, lost="cut")


def of_callback(event: Callback, *, whole: bool) -> Iterator[Callback]:
    """Yield a callback with another body, outcome or duration."""
    yield from (replace(event, request=one) for one in bodies(event.request) if whole)
    yield from (replace(event, answer=None, ended=one) for one in ("cut", "gone"))
    yield from (replace(event, ended_mono=event.mono + seconds) for seconds in DURING)
    if event.answer is not None:
        yield from (replace(event, answer=one) for one in statuses(event.answer, 200, 302, 500))


def of_download(event: Download) -> Iterator[Download]:
    """Yield a download with another status, size, content, header or video."""
    yield from (replace(event, **{name: value}) for name, value in numbers(event, ("status", "size")))
    yield replace(event, sha256="ef" * 32)
    yield replace(event, status=None, lost="cut")
    yield from headers(event)
    if event.video is not None:
        yield from (replace(event, video=replace(event.video, **{name: v})) for name, v in numbers(event.video))


def statuses(answer: Response, *codes: int) -> Iterator[Response]:
    """Yield *answer* with each of these codes."""
    return (replace(answer, status=code) for code in codes)


def bodies(message: Any) -> Iterator[Any]:
    """Yield *message* with each member of its JSON left out or changed, also one level further in."""
    whole = document(message.body)
    if isinstance(whole, dict):
        for changed in members(whole, 2):
            text = orjson.dumps(changed).decode()
            yield replace(message, body=replace(message.body, text=text, base64=None))


def members(whole: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """Yield *whole* with each member left out or changed."""
    for name, value in whole.items():
        yield {other: kept for other, kept in whole.items() if other != name}
        yield from ({**whole, name: other} for other in others(value, depth - 1))


def others(value: Any, depth: int) -> Iterable[Any]:
    """What might stand in a value's place: its neighbours, and another type."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int | float):
        return (value - 1, value + 1, str(value))
    if isinstance(value, str):
        return (*(state for state in STATES if value in STATES and state != value), f"{value}x", 7)
    if isinstance(value, list):
        first = value[0] if value else None
        inner = members(first, depth) if depth and isinstance(first, dict) else others(first, 0) if value else ()
        return ([], *([one, *value[1:]] for one in inner))
    return (*(members(value, depth) if depth and isinstance(value, dict) else ()), "x")


def headers(message: Any) -> Iterator[Any]:
    """Yield *message* without each of its headers, and with another value of it."""
    for place, (name, value) in enumerate(message.headers):
        for now in ((), ((name, f"{value}x"),)):
            yield replace(message, headers=(*message.headers[:place], *now, *message.headers[place + 1 :]))


def labels(probe: Any) -> Iterator[Any]:
    """Yield *probe* with each label that is set taken off, and each fact of a picture changed."""
    for member in fields(probe) if is_dataclass(probe) else ():
        value = getattr(probe, member.name)
        if value != member.default:
            yield replace(probe, **{member.name: member.default})
        if member.name == "image" and value:
            yield from (replace(probe, image=replace(value, **{name: one})) for name, one in numbers(value))
        if member.name == "media" and value:
            yield from (replace(probe, media=(replace(value[0], **{n: one}),)) for n, one in numbers(value[0]))


def numbers(facts: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield a member that is a number, and its neighbours."""
    for member in fields(facts):
        value = getattr(facts, member.name)
        if (member.name in names or not names) and isinstance(value, int | float) and not isinstance(value, bool):
            yield from ((member.name, value + by) for by in (-1, 1))


def moved(events: list[Any], event: Any, seconds: Iterable[float]) -> Iterator[list[Any]]:
    """Yield a history in which *event* happened so many seconds later, and one in which it happened that much earlier."""
    if isinstance(event, Exchange | Callback | Download):
        for by in seconds:
            for way in (by, -by):
                there = replace(event, at=event.at + way, ended_at=event.ended_at + way)
                yield [there if other is event else other for other in events]


def of_case(events: list[Any], edges: Iterable[float]) -> Iterator[list[Any]]:
    """Yield a case of the client lab for each change of one of its events, and with its last pause, or every one, at an edge."""
    for place, event in enumerate(events):
        for one in (*told(event), *changes(event, whole=False)):
            yield [*events[:place], *([one] if one is not GONE else []), *events[place + 1 :]]
        for times in (1, 2, 5) if isinstance(event, Exchange) else ():
            yield numbered([*events[:place], *[event] * times, *events[place:]])
    for edge in edges:
        yield paced(events, edge, len(events) - 2)
        yield paced(events, edge, 1)


def told(event: Any) -> Iterator[Any]:
    """Yield what a client said at its end with each member another one of its type."""
    for name, value in event.data.items() if isinstance(event, Note) and event.topic == Topic.TOLD else ():
        for other in others(value, 0):
            if type(other) is type(value) and not (isinstance(value, list) and other):
                yield replace(event, data={**event.data, name: other})


def paced(events: list[Any], pause: float, first: int) -> list[Any]:
    """*events* with that pause before each from the *first* on."""
    found = list(events)
    for place in range(max(first, 1), len(events)):
        by = pause - (found[place].mono - found[place - 1].mono)
        found[place:] = [later(event, by) for event in found[place:]]
    return found


def later(event: Any, seconds: float) -> Any:
    """*event*, so many seconds later by both clocks."""
    ends = (
        {"ended_at": event.ended_at + seconds, "ended_mono": event.ended_mono + seconds}
        if hasattr(event, "ended_at")
        else {}
    )
    return replace(event, at=event.at + seconds, mono=event.mono + seconds, **ends)
