"""How a judge is written: a generator over a view that yields one check for each thing it looked at.

No check at all means that the history holds nothing that could show the rule (`not-run`); a check that does not hold is
a finding. A judge reads nothing but the view and its rule, so the same history gives the same verdict.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from kling_contract.history.events import Event
from kling_contract.reading.ledger import Reading
from kling_contract.reading.view import Attempt, Call, Sighting, View
from kling_contract.rules.rulebook import Rule

Shown = Event | Call | Sighting | Attempt | Reading | None


class Check(NamedTuple):
    """One thing that a judge looked at: whether it held, what was expected and seen, and the events that show it.

    implied_by: another rule whose breach explains what was seen; then nothing is said of this one. doubt: why a breach is not certain.
    """

    holds: bool
    expected: str
    seen: str
    events: tuple[int, ...]
    implied_by: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule: what was expected, what was seen, and the `seq` of the events that prove it, in order."""

    rule: str
    expected: str
    seen: str
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge found: how many things it looked at, the events it looked at, and the breaches.

    broken: why the judge itself failed; empty when it did not. implied: what could not be judged, since the breach of another
    rule explains it: that rule, and what was seen. unconfirmed: why no
    finding stands for certain, see `repetition`.
    """

    rule: Rule
    looked: int
    events: tuple[int, ...]
    findings: tuple[Finding, ...]
    broken: str = ""
    implied: tuple[str, ...] = ()
    unconfirmed: str = ""


Judge = Callable[[View, Rule], Iterator[Check]]
JUDGES: dict[str, Judge] = {}


def judge(rule_id: str) -> Callable[[Judge], Judge]:
    """Enter a judge for *rule_id*."""

    def enter(function: Judge) -> Judge:
        assert rule_id not in JUDGES, rule_id
        JUDGES[rule_id] = function
        return function

    return enter


def check(holds: object, expected: object, seen: object, *shown: Shown) -> Check:
    """A check that *holds* or not; *expected* and *seen* in words or as the JSON value itself, written down for a breach alone."""
    if holds:  # nearly all of them, and a report has no words for those
        return Check(True, "", "", _seqs(shown))
    return Check(False, _words(expected), _words(seen), _seqs(shown))


def doubted(found: Check, why: str) -> Check:
    """Return *found*, a breach of which is only a warning, since something is not known: *why* says what, and how it can be."""
    return found._replace(doubt=why)


def implied(by: str, seen: object, *shown: Shown) -> Check:
    """Return a check that says nothing of its rule, since the breach of the rule *by* explains what was seen."""
    return Check(True, "", _words(seen), _seqs(shown), by)


def _seqs(shown: Sequence[Shown]) -> tuple[int, ...]:
    # Calls, sightings and attempts have an event; what is left is one, or as good as one.
    events: list[Any] = [getattr(item, "event", item) for item in shown]
    if len(events) == 1:
        return () if events[0] is None else (events[0].seq,)
    return tuple(sorted({event.seq for event in events if event is not None}))


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        text = repr(value)
    return text if len(text) <= 300 else text[:297] + "..."


def quoted(value: object) -> str:
    """*value* as JSON, so that the string "5" and the number 5 look different; shortened."""
    return _words(orjson.dumps(value).decode()) if isinstance(value, str) else _words(value)
