"""Drawn stories: Hypothesis thinks up what a server may do, and looks for what the client makes of it that is wrong.

A failure is shrunk to the smallest story that still shows the same broken rule, so that it can be read, kept and played again.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import hypothesis
from hypothesis import strategies as st

from kling_contract.driving.drivers.drawn import bounds, no_traces
from kling_contract.history.events import AnyEvent, Exchange
from kling_contract.lab.adapters.inprocess import InProcess, Played, play
from kling_contract.lab.behaviour import Behaviour, Event
from kling_contract.lab.scripted import API
from kling_contract.reading.contract import Contract
from kling_contract.rules.judging import Judgement
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Level, Rule, rules

_GENERAL = ("CD-01", "CP-08", "CP-12")
"""Rules about the end of any story: what says more of the cause is named before them."""
_STATUSES = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken rule: what should have been, and what was seen."""

    rule: str
    expected: str
    seen: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """What drawing came to. stories: how many were played before anything was found; failure: the smallest story that fails."""

    stories: int
    failure: Behaviour | None = None
    breaches: tuple[Breach, ...] = ()
    events: tuple[AnyEvent, ...] = ()


def behaviours(contract: Contract, *, real_time: bool = False) -> st.SearchStrategy[Behaviour]:
    """Everything that the contract allows a server to do to one request, as a list of events.

    real_time: only what can be waited for in real seconds: no read is met with silence, since the client was not given a limit for
    it, and no wait that the server asks for is long.
    """
    longest = 1 if real_time else 20
    silence = [] if real_time else [_one("read", "silence")]
    places: tuple[st.SearchStrategy[list[Event]], ...] = (
        st.just([]) | _some(_creates(longest), 2),  # what goes wrong at a create hides all that could come after it
        _some([*_reads(contract, longest), *silence], 5),
        _some(_links(), 2),
        _some(_callbacks(), 2),
    )
    return st.tuples(*places).map(lambda lists: Behaviour(events=tuple(chain.from_iterable(lists))))


Draws = list[st.SearchStrategy[Event]]


def _some(draws: Draws, most: int) -> st.SearchStrategy[list[Event]]:
    return st.lists(st.one_of(*draws), max_size=most)


def _one(place: str, deed: str, **more: st.SearchStrategy[object]) -> st.SearchStrategy[Event]:
    return st.builds(Event, at=st.just(place), does=st.just(deed), **more)


def _reads(contract: Contract, longest: int) -> Draws:
    """What a read may meet; each deed is as likely as any other."""
    deeds = (
        "pending", "unknown-status", "bare", "extra", "cut", "not-json", "not-found", "revoke", "stall",
    )  # fmt: skip
    return [
        _one("read", "processing", progress=st.integers(0, 99)),
        *(_one("read", deed) for deed in deeds),
        _one("read", "fail", code=st.sampled_from(contract.task_errors)),
        _one("read", "fail-server", status=st.sampled_from(_STATUSES)),
        _limits("read", longest),
    ]


def _limits(place: str, longest: int) -> st.SearchStrategy[Event]:
    return _one(place, "limit", wait=st.integers(1, longest), form=st.sampled_from(("seconds", "date")))


def _creates(longest: int) -> Draws:
    either = st.booleans()
    return [
        *(_one("create", deed) for deed in ("bare", "extra")),
        *(_one("create", deed, accepted=either) for deed in ("cut", "silence")),
        _one("create", "not-json", accepted=st.just(True)),
        _one("create", "fail-server", status=st.sampled_from(_STATUSES), accepted=either),
        _one("create", "refuse", status=st.sampled_from((400, 401, 402, 403, 404))),
        _limits("create", longest),
    ]


def _links() -> Draws:
    return [_one("link", "cut"), _one("link", "expire"), _one("link", "fail-server", status=st.just(503))]


def _callbacks() -> Draws:
    return [_one("callback", deed, after=st.integers(0, 3)) for deed in ("once", "twice", "early", "forge")]


class _Found(Exception):
    """A story fails."""


@dataclass
class _Search:
    """One search. rule: the one that the first failing story broke; only it counts while that story is made smaller."""

    client: InProcess
    contract: Contract
    book: Sequence[Rule]
    rule: str = ""
    played: int = 0
    smallest: Behaviour | None = None
    breaches: tuple[Breach, ...] = field(default=())
    events: tuple[AnyEvent, ...] = ()

    def try_one(self, behaviour: Behaviour) -> None:
        """Play one story. Raises _Found when it fails."""
        if not self.rule:
            self.played += 1
        played = play(self.client, behaviour, self.contract)
        found = breaches(played, self.contract, self.book)
        if not found or (self.rule and self.rule not in {breach.rule for breach in found}):
            return
        self.rule = self.rule or found[0].rule
        if self.smallest is None or _size(behaviour) <= _size(self.smallest):
            self.smallest, self.breaches, self.events = behaviour, found, played.events
        raise _Found(self.rule)


def _size(behaviour: Behaviour) -> tuple[int, int]:
    return len(behaviour.events), len(behaviour.as_yaml())


def search(
    client: InProcess, contract: Contract, *, stories: int, seed: int = 0, only: frozenset[str] = frozenset()
) -> Drawn:
    """Draw up to *stories* stories for *client*; the first that fails is made as small as it gets.

    only: the rules that count; all MUST and SHOULD rules for clients, if none are named. One seed draws the same stories.
    """
    one = _Search(client, contract, book_for(contract, only))

    @hypothesis.seed(seed)
    @bounds(stories, report_multiple_bugs=False, print_blob=False)
    @hypothesis.given(behaviours(contract))
    def every_story(behaviour: Behaviour) -> None:
        one.try_one(behaviour)

    with no_traces(), contextlib.suppress(_Found, hypothesis.errors.Flaky):
        every_story()
    if one.smallest is None:
        return Drawn(one.played)
    failure = one.smallest.model_copy(update={"rule": one.rule})
    return Drawn(one.played, failure, first(one.rule, one.breaches), one.events)


def book_for(contract: Contract, only: frozenset[str] = frozenset()) -> list[Rule]:
    """The rules that count in drawn stories: those for clients that weigh something, of *only* where any are named."""
    book = [rule for rule in rules(contract).values() if rule.for_clients and rule.level is not Level.MAY]
    return [rule for rule in book if not only or rule.id in only]


def first(rule: str, found: Sequence[Breach]) -> tuple[Breach, ...]:
    """*found*, the breach of *rule* before the others."""
    return tuple(sorted(found, key=lambda breach: breach.rule != rule))


def replay(behaviour: Behaviour, contract: Contract, play_it: Callable[[Behaviour], Played]) -> Drawn:
    """Play one story once more, the way *play_it* does."""
    played = play_it(behaviour)
    found = first(behaviour.rule, breaches(played, contract, book_for(contract)))
    return Drawn(1, behaviour if found else None, found, played.events)


def breaches(played: Played, contract: Contract, book: Sequence[Rule]) -> tuple[Breach, ...]:
    """What is wrong with a played story: the invariants of a client first, then what its judges find."""
    allowed = {rule.id for rule in book}
    found = [breach for breach in _invariants(played) if breach.rule in allowed]
    for judgement in judge_all(played.events, contract, book):
        found += _findings(judgement)
    return tuple(dict.fromkeys(sorted(found, key=lambda breach: breach.rule in _GENERAL)))


def _findings(judgement: Judgement) -> list[Breach]:
    if judgement.broken:
        return [Breach(judgement.rule.id, "a judge that holds", f"the kit failed: {judgement.broken}")]
    return [Breach(finding.rule, finding.expected, finding.seen) for finding in judgement.findings]


def _invariants(played: Played) -> list[Breach]:
    """What holds in every story, whatever its server does."""
    found = []
    if played.tasks > 1:
        found.append(
            Breach("CM-01", "at most one task for one request", f"{played.tasks} tasks were made and are charged")
        )
    strange = [event.url for event in played.events if isinstance(event, Exchange) and not event.url.startswith(API)]
    if strange:
        found.append(Breach("CQ-04", "nothing sent to another host", strange[0]))
    return found
