"""What a run shows while it lasts: each story's rules are judged as soon as the story is over, on its own events.

The verdicts of a run are given at its end, on all events. A rule may then be judged otherwise: what looks broken is run once more.
"""

import threading
from collections.abc import Iterable

from kling_contract.lab.lab import Ended
from kling_contract.reading.contract import Contract
from kling_contract.rules.judging import Judgement
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Rule

_MOST_RULES = 4
_WIDEST = 100
"""Characters of what was seen that fit into a line."""


class SoFar:
    """Gives a line for each story that says something new: the first that shows a rule, and each in which one looks broken.

    book: the rules that are judged. It may be asked from several threads.
    """

    def __init__(self, contract: Contract, book: Iterable[Rule]) -> None:
        self._contract, self._book = contract, {rule.id: rule for rule in book}
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._broken: set[str] = set()

    @property
    def counts(self) -> str:
        """How many rules hold, and how many look broken."""
        with self._lock:
            broken = f", {len(self._broken)} broken" if self._broken else ""
            return f"{len(self._held - self._broken)} good{broken} so far"

    def line(self, over: Ended) -> str:
        """Return what *over* shows; empty where that is nothing new."""
        looked = self._judged(over)
        broken = [one for one in looked if one.findings]
        held = [one.rule.id for one in looked if not one.findings]
        with self._lock:
            first = not self._held and not self._broken
            new = [one for one in broken if one.rule.id not in self._broken]
            self._held.update(held)
            self._broken.update(one.rule.id for one in broken)
        if new:
            return f"story {over.story.name}: {'; '.join(map(_said, new))}"
        return f"story {over.story.name}: {_listed(held)} so far" if first and held else ""

    def _judged(self, over: Ended) -> list[Judgement]:
        """Return the judgements of the rules that the story is about, as far as it showed them: none where its last run was stopped."""
        stopped = bool(over.results) and over.results[-1].ended == "on purpose"
        if over.unable or over.short or stopped:
            return []
        mine = [self._book[rule] for rule in over.story.rules if rule in self._book]
        return [one for one in judge_all(over.events, self._contract, mine) if one.looked]


def _listed(held: list[str]) -> str:
    """Return the rules that hold, shortened."""
    more = len(held) - _MOST_RULES
    shown = " ".join(held[:_MOST_RULES]) + (f" and {more} more" if more > 0 else "")
    return f"{shown} {'holds' if len(held) == 1 else 'hold'}"


def _said(one: Judgement) -> str:
    """Return what looks broken, in a line."""
    seen = " ".join(one.findings[0].seen.split())
    return f"{one.rule.id} looks broken: {seen if len(seen) <= _WIDEST else seen[: _WIDEST - 1] + '…'}"
