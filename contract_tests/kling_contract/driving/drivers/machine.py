"""Random histories: Hypothesis draws the steps, the judges are the invariants, and a failure shrinks to a short story.

Each draw has a history of its own, on one account that is forgotten before the next; the history of the shortest
failure is added to the run's. Never run against a service that bills.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kling_contract.driving.drivers.drawn import bounds, no_traces
from kling_contract.driving.drivers.models import members
from kling_contract.driving.drivers.probes import near_misses
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.drivers.trace import Player, Step, load, near_step, save, told
from kling_contract.driving.guard import Stopped
from kling_contract.history.events import AnyEvent, Callback, Download, Exchange, Recorder, Span
from kling_contract.history.labels import Topic
from kling_contract.reading.contract import Contract
from kling_contract.rules.judging import Finding
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Level, Rule
from kling_contract.rules.verdicts import Choice

EXAMPLES = 30
STEPS = 20
SECONDS = 15.0
"""Real seconds after which no new story is begun."""
SHRINKING = 6.0
"""Real seconds for shrinking a story that failed, by Hypothesis first and then step by step."""
_MOVES = (0.5, 1, 5, 20, 60, 600)
_ANSWERS = (200, 204, 500, 404, 0)
_TOO_LATE = "SL-17"
"""Broken by a task that is seen alive past its limit, and no more once it has ended."""


class Broken(AssertionError):
    """A judge found something, or the server and the story's own bookkeeping disagree."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The last story that failed: after shrinking, the shortest. began: the run's clock when its history began."""

    why: str
    rule: str
    steps: list[Step]
    events: tuple[AnyEvent, ...]
    began: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a step of a story ended: how many events and steps there were, and what the story's own bookkeeping said."""

    events: int
    steps: int
    own: str = ""


class Run:
    """What every draw of one run shares."""

    def __init__(self, context: RunContext, choice: Choice) -> None:
        self.context = context
        # What the script has shown already needs no story; a drawn one looks for what it missed.
        every = [each for each in choice.book(context.contract) if _watched(each, choice)]
        shown = {each.rule.id for each in judge_all(context.recorder.events, context.contract, every) if each.findings}
        self.book = [each for each in every if each.id not in shown]
        self.trusted = not any(name.startswith("SB") for name in shown)
        self.near = [near_step(near) for near in near_misses(context.contract, context.body())]
        self.failure: Failure | None = None
        self.stopped: Stopped | None = None
        self.stories = 0
        self.played: Counter[str] = Counter()
        self.end = context.recorder.mono() + SECONDS
        self.steered = "clock" in context.features
        self.cancels = self.steered and "cancel" in context.features
        self.receives = self.steered and "relays" in context.features and context.target.accounts
        self.members = _members(context)

    def room_of_its_own(self, recorder: Recorder) -> RunContext:
        """The run's context with another history."""
        line = replace(self.context.line, recorder=recorder, clocks={})
        return RunContext(line, replace(self.context.options, callback_base="", callback_ca=None))


def _members(context: RunContext) -> st.SearchStrategy[dict[str, Any]]:
    """Members of a right create."""
    contract = context.contract
    if contract.asks_another:
        return st.sampled_from(members(context))
    return st.fixed_dictionaries(
        {"quality": st.sampled_from([*contract.qualities, None])},
        optional={
            "duration": st.integers(contract.duration_min, contract.duration_max),
            "prompt": st.sampled_from(["", "A breeze", "\u6c34\u6c34\u6c34"]),
        },
    )


def _watched(each: Rule, choice: Choice) -> bool:
    return not each.for_clients and each.level is not Level.MAY and each.id not in choice.known


def run(context: RunContext, choice: Choice) -> list[str]:
    """Draw stories until one fails or there are enough; answers lines for the user.

    Raises:
        Stopped: the target is gone.
    """
    if context.target.control is not None and not context.target.accounts:
        return ["machine: left out, because the target makes no accounts that a story could have to itself"]
    shared = Run(context, choice)
    machine = seeded(context.options.seed or 0)(type("DrawnStory", (Story,), {"shared": shared}))
    lines: list[str] = []
    with no_traces():
        try:
            run_state_machine_as_test(machine, settings=bounds(EXAMPLES, stateful_step_count=STEPS))
        except (Broken, Flaky):
            # Flaky: a story passed when it was tried again, because its time was up or the server draws lots.
            lines = _told(shared)
    if shared.stopped is not None:
        raise shared.stopped
    return lines or [f"machine: {shared.stories} stories drawn{_counted(shared.played)}"]


def _counted(played: Counter[str]) -> str:
    """Return how many steps of each kind were played, so that a kind that is no longer drawn is seen to be missing."""
    return f": {', '.join(f'{number} {kind}' for kind, number in sorted(played.items()))}" if played else ""


def _told(shared: Run) -> list[str]:
    if shared.failure is None:
        return []
    found = _shorter(shared, shared.failure)
    _add(shared.context.recorder, found)
    if not found.rule:
        shared.context.recorder.note(Topic.UNTESTABLE, rule="SB-02", reason=f"machine: {found.why}")
    lines = [f"machine: {found.why}, shortest story:", *(f"  {line}" for line in told(found.steps))]
    options = shared.context.options
    if options.story_out is not None:
        save(options.story_out, found.steps, options.seed, found.why)
        lines.append(f"  saved; play it again with --replay {options.story_out}")
    return lines


def replay(context: RunContext, path: Path) -> list[str]:
    """Play a saved story into the run's own history; answers lines for the user.

    Raises:
        SetupError: *path* is no story. Stopped: the target is gone.
    """
    player = Player(context, context.session("machine"))
    for step in load(path):
        player.play(step)
    return [f"replayed {path}", *([f"machine: {player.wrong}"] if player.wrong else [])]


def _shorter(shared: Run, found: Failure) -> Failure:
    """*found* with every step left out that it fails without, as far as time allows."""
    end = shared.context.recorder.mono() + SHRINKING
    # From behind, so that what uses a task goes before the create that made it.
    for index in reversed(range(len(found.steps) - 1)):
        if shared.context.recorder.mono() > end:
            break
        fewer = _played(shared, [*found.steps[:index], *found.steps[index + 1 :]], found.rule)
        found = fewer or found
    return found


def _played(shared: Run, steps: list[Step], rule_id: str) -> Failure | None:
    """The failure that *steps* bring about again; None when they do not, or name a task that they no longer make."""
    began = shared.context.recorder.mono()
    recorder = Recorder(keys=[shared.context.target.key], salt=shared.context.salt)
    with shared.room_of_its_own(recorder) as context:
        player = Player(context, context.session("machine"))
        try:
            for step in steps:
                player.play(step)
        except IndexError:
            return None
        events = recorder.events
    found = _first(events, context.contract, shared.book)
    if (found.rule if found else "") != rule_id or not (found or player.wrong):
        return None
    wrong = f"{found.rule}: expected {found.expected}, seen {found.seen}" if found else player.wrong
    return Failure(wrong, rule_id, steps, events, began)


def _add(recorder: Recorder, found: Failure) -> None:
    """Put the failing history behind what is there, its times moved to the run's."""
    for event in found.events:
        moved = replace(event, mono=event.mono + found.began)
        if isinstance(moved, Exchange | Callback | Download):
            moved = replace(moved, ended_mono=moved.ended_mono + found.began)
        recorder.add(moved)


class Story(RuleBasedStateMachine):
    """One drawn story; a subclass of it sets `shared`."""

    shared: ClassVar[Run]

    def __init__(self) -> None:
        super().__init__()
        shared = self.shared
        shared.stories += 1
        self.began = shared.context.recorder.mono()
        self.over = self.began > shared.end
        self.recorder = Recorder(keys=[shared.context.target.key], salt=shared.context.salt)
        self.context = shared.room_of_its_own(self.recorder)
        self.player = Player(self.context, self.context.session("machine"))
        self.marks: list[Mark] = []

    def teardown(self) -> None:
        """Look at the whole story, unless it broke off; its receiver stops listening."""
        try:
            if sys.exc_info()[0] is None:
                self.look()
        finally:
            self.context.__exit__()

    def play(self, **step: Any) -> None:
        """One step, unless the time is up."""
        if self.over or self.shared.stopped:
            return
        try:
            self.player.play(step)
            self.shared.played[step["do"]] += 1
        except Stopped as stop:
            self.shared.stopped = stop

    @initialize(data=st.data(), callback=st.booleans())
    def begin(self, data: st.DataObject, callback: bool) -> None:
        """The first step: most others need a task, and few stories would come to one by chance."""
        self.create_one(data, callback)

    @rule(data=st.data(), callback=st.booleans())
    def create(self, data: st.DataObject, callback: bool) -> None:
        """A right create."""
        self.create_one(data, callback)

    def create_one(self, data: st.DataObject, callback: bool) -> None:
        """Draw the members of a create, and send it."""
        self.play(do="create", members=data.draw(self.shared.members), callback=callback and self.shared.receives)

    @rule(data=st.data())
    def near_miss(self, data: st.DataObject) -> None:
        """A create that must be refused."""
        self.play(**data.draw(st.sampled_from(self.shared.near)))

    @precondition(lambda self: self.player.tasks)
    @rule(pick=st.integers(0, 7))
    def read(self, pick: int) -> None:
        """A query of one of the tasks."""
        self.play(do="read", task=self.one(pick))

    @precondition(lambda self: self.player.tasks and self.shared.steered)
    @rule(seconds=st.sampled_from(_MOVES))
    def advance(self, seconds: float) -> None:
        """The clock moves."""
        self.play(do="advance", seconds=seconds)

    @precondition(lambda self: self.shared.receives)
    @rule(status=st.sampled_from(_ANSWERS))
    def receive(self, status: int) -> None:
        """Callbacks are answered otherwise from now on."""
        self.play(do="receive", status=status)

    @precondition(lambda self: self.player.tasks and self.shared.cancels)
    @rule(pick=st.integers(0, 7))
    def cancel(self, pick: int) -> None:
        """One of the tasks is cancelled."""
        self.play(do="cancel", task=self.one(pick))

    @precondition(lambda self: any(made.links for made in self.player.tasks))
    @rule(pick=st.integers(0, 7))
    def download(self, pick: int) -> None:
        """The links that a task showed are fetched."""
        self.play(do="download", task=self.one(pick))

    @precondition(lambda self: self.shared.context.target.accounts)
    @rule()
    def credits(self) -> None:
        """The balance is read and compared."""
        self.play(do="credits")

    def one(self, pick: int) -> int:
        """The number of a task of the story."""
        return pick % len(self.player.tasks) + 1

    @invariant()
    def nothing_is_wrong(self) -> None:
        """The story's own bookkeeping agrees. Whether a rule is broken is looked at when the story is over, but while one that failed
        is made shorter, after each step."""
        count = len(self.recorder.events)
        if count == (self.marks[-1].events if self.marks else 0):
            return
        own = self.player.wrong if self.shared.trusted else ""
        self.marks.append(Mark(count, len(self.player.steps), own))
        if own or self.shared.failure is not None:
            self.look()

    def look(self) -> None:
        """Fail where something is wrong, at the first step after which it was.

        Raises:
            Broken: something is.
        """
        marks, self.marks = self.marks, self.marks[-1:]
        events = self.recorder.events
        wrong = first_wrong(marks, events, self.context.contract, self.shared.book)
        if wrong is None:
            return
        mark, rule_id, why = wrong
        if self.shared.failure is None:
            self.shared.end = self.shared.context.recorder.mono() + SHRINKING
        steps = self.player.steps[: mark.steps]
        self.shared.failure = Failure(why, rule_id, steps, events[: mark.events], self.began)
        raise Broken(why)


def first_wrong(
    marks: Sequence[Mark], events: tuple[AnyEvent, ...], contract: Contract, book: Sequence[Rule]
) -> tuple[Mark, str, str] | None:
    """Return the first mark at which something is wrong, the rule of *book* that is broken, if one is, and why.

    A breach is still one at the story's end, whatever comes after it, so that one look there tells whether there is any, in place of
    one after each step. An end that came too late alone takes one back, in a story that is long enough for it.
    """
    if not marks:
        return None
    long = any(rule.id == _TOO_LATE and _span(events) > rule.params["seconds"] for rule in book)
    if not (long or any(mark.own for mark in marks) or _first(events[: marks[-1].events], contract, book)):
        return None
    for mark in marks:
        found = _first(events[: mark.events], contract, book)
        if found is not None:
            return mark, found.rule, f"{found.rule}: expected {found.expected}, seen {found.seen}"
        if mark.own:
            return mark, "", mark.own
    return None


def _span(events: Sequence[AnyEvent]) -> float:
    """Return how many seconds of the account's clock lie between the first and the last of *events*."""
    times = [event.at for event in events] + [event.ended_at for event in events if isinstance(event, Span)]
    return max(times, default=0.0) - min(times, default=0.0)


def _first(events: tuple[AnyEvent, ...], contract: Contract, book: Iterable[Rule]) -> Finding | None:
    """The first breach of a watched rule."""
    return next((finding for judgement in judge_all(events, contract, book) for finding in judgement.findings), None)
