"""Drawn stories for clients that take real time: many side by side, and a failure made small by leaving events out.

Hypothesis draws them; its own way of making a failure small plays one story after the other, which takes minutes where each
takes seconds. Any part of a story is a story too, so here the parts are played side by side.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import hypothesis

from kling_contract.driving.drivers.drawn import bounds, no_traces
from kling_contract.history.events import AnyEvent, Exchange, Note
from kling_contract.history.labels import Topic
from kling_contract.lab.adapters.inprocess import Played
from kling_contract.lab.behaviour import Behaviour
from kling_contract.lab.drawn import Breach, Drawn, behaviours, book_for, breaches, first
from kling_contract.lab.scheduler import WAYS
from kling_contract.reading.contract import Contract
from kling_contract.rules.cases import ending
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.verdicts import SetupError

AT_ONCE = 24
"""Stories side by side: most of their time their clients sleep."""

Play = Callable[[Behaviour], Played]
Report = Callable[[], None]


def drawn(contract: Contract, stories: int, seed: int) -> list[Behaviour]:
    """*stories* stories, none twice; one seed draws the same."""
    found: dict[Behaviour, None] = {}

    @hypothesis.seed(seed)
    @bounds(2 * stories, shrink=False)
    @hypothesis.given(behaviours(contract, real_time=True))
    def keep(behaviour: Behaviour) -> None:
        found[behaviour] = None

    with no_traces():
        keep()
    return list(found)[:stories]


def search(
    play: Play, contract: Contract, *, stories: int, seed: int = 0, only: frozenset[str] = frozenset(),
    report: Report = lambda: None, at_once: int = AT_ONCE,
) -> Drawn:  # fmt: skip
    """Put the client that *play* plays to through *stories* drawn stories; the first that fails is made as small as it gets.

    A story that fails is played once more when the others are over, for a busy machine makes a good client late. only: the
    rules that count, as for `drawn.search`. report: called whenever a story is over.

    Raises:
        SetupError: the client cannot be started, or makes no call.
    """
    every = drawn(contract, stories, seed)
    shrinker = _Shrinker(play, contract, book_for(contract, only), at_once)
    played = shrinker.play(every, report)
    check_that_it_calls([one.played.events for one in played])
    failing = [story for story, found in zip(every, played, strict=True) if found.breaches]
    for story in failing:
        (again,) = shrinker.play([story])
        if again.breaches:
            rule = again.breaches[0].rule
            smallest, shown = shrinker.smallest(story, again, rule)
            failure = smallest.model_copy(update={"rule": rule})
            return Drawn(every.index(story) + 1, failure, first(rule, shown.breaches), shown.played.events)
    return Drawn(len(every))


def check_that_it_calls(histories: Sequence[Sequence[AnyEvent]]) -> None:
    """Every story asks for a video, and for nothing that a client might rightly refuse.

    Raises:
        SetupError: nothing was called in any of *histories*.
    """
    every = [event for history in histories for event in history]
    if not any(isinstance(event, Exchange) for event in every):
        result = next(event for event in every if isinstance(event, Note) and event.topic == Topic.TOLD)
        raise SetupError(f"the client never called the lab: {ending(result)}; {WAYS}")


@dataclass(frozen=True, slots=True)
class _Shown:
    """A story that was played, and what is wrong with it."""

    played: Played
    breaches: tuple[Breach, ...]


@dataclass(frozen=True, slots=True)
class _Shrinker:
    """Plays stories side by side."""

    client: Play
    contract: Contract
    book: Sequence[Rule]
    at_once: int

    def play(self, stories: Sequence[Behaviour], report: Report = lambda: None) -> list[_Shown]:
        """What came of each of *stories*, in their order."""

        def one(story: Behaviour) -> _Shown:
            played = self.client(story)
            report()
            return _Shown(played, breaches(played, self.contract, self.book))

        pool = ThreadPoolExecutor(self.at_once)
        try:
            return list(pool.map(one, stories))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # whoever is interrupted stops those that still run

    def smallest(self, story: Behaviour, shown: _Shown, rule: str) -> tuple[Behaviour, _Shown]:
        """The smallest part of *story* that still breaks *rule*: no event, or one, if that does; else ever one less."""
        tiny = [Behaviour(), *(Behaviour(events=(event,)) for event in dict.fromkeys(story.events))]
        found = self._breaking(tiny, rule)
        if found is not None:
            return found
        while (found := self._breaking(_parts(story), rule)) is not None:
            story, shown = found
        return story, shown

    def _breaking(self, stories: Sequence[Behaviour], rule: str) -> tuple[Behaviour, _Shown] | None:
        """The first of *stories* that breaks *rule*."""
        played = zip(stories, self.play(stories), strict=True)
        return next((one for one in played if rule in {breach.rule for breach in one[1].breaches}), None)


def _parts(story: Behaviour) -> list[Behaviour]:
    """*story* without one of its events; none where that leaves a single one."""
    events = story.events
    return [Behaviour(events=events[:one] + events[one + 1 :]) for one in range(len(events))] if len(events) > 2 else []
