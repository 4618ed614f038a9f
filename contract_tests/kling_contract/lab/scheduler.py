"""Stories side by side: which begin, how much time they have, and which are repeated with more."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

from kling_contract.history.events import Exchange, wall
from kling_contract.lab.lab import Ended, Lab
from kling_contract.lab.pace import GRACE, PATIENCE, Pace
from kling_contract.lab.results import Adapter
from kling_contract.lab.start_limiter import STARTS
from kling_contract.lab.stories import RUNS, Story, lacking
from kling_contract.lab.watch import Seen
from kling_contract.reading.addresses import origin_in
from kling_contract.rules.verdicts import SetupError
from kling_openapi.model import Model

AT_ONCE = 128
"""Cases side by side: most of their time they sleep."""
_FIRST = 3
"""Cases that begin until it is known whether there is a client at all."""
_GLIMPSE = 3.0
"""Seconds from its first call in which a client that hurries has read twice."""
_AFRESH = 3
"""Cases that run at once when there is to be time for each."""
AGAIN = 240.0
"""Seconds in which cases are run again for want of time."""
_LOOK = 0.5
"""Seconds between two looks at who still runs; where none ends in as long, nothing is going on."""
_SAID = 400
"""Characters of a client's last words that are passed on."""
_SLOWER = 1.3
"""How much slower a client is than was guessed, when its cases are worth repeating with more time."""

WAYS = "give it {base_url} in its command, or have it read KLING_BASE_URL; where the service's address is built into it, add --impersonate"
WAYS_IMPERSONATED = (
    "with --impersonate the lab is found under the service's own host names: see which address the client calls"
)

Report = Callable[[Ended], None]


@dataclass(slots=True)
class _Running:
    """A story under way."""

    story: Story
    seen: Seen
    future: Future[Ended]


class Scheduler:
    """`with Scheduler(...) as scheduler`: stories side by side; the block ends when all of them have."""

    def __init__(self, lab: Lab, adapter: Adapter, report: Report) -> None:
        self._lab, self._adapter, self._tell = lab, adapter, report
        self._running: dict[str, _Running] = {}
        self.keyless = ""
        """Why no other story needs to be tried: no call of the client carries its key."""
        self.model: Model | None = None
        """The model that the client's creates name, where it is another than the contract's own."""
        self._pause: float | None = None
        """Seconds between reads by which the deadline was chosen; None where the user gave it."""
        self._pool = ThreadPoolExecutor(min(AT_ONCE, adapter.parallel))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            self._lab.abort()
        self._pool.shutdown(cancel_futures=kind is not None)

    def start(self, stories: Iterable[Story]) -> None:
        """Start those of *stories* that are not under way yet."""
        for story in stories:
            if story.name not in self._running:
                seen = Seen()
                self._running[story.name] = _Running(story, seen, self._pool.submit(self._run, story, seen))

    def runs(self, story: Story) -> bool:
        """Whether *story* was started."""
        return story.name in self._running

    def lacks(self, story: Story) -> str:
        """Return why *story* can show nothing of the client's model: a member that the model does not have; empty where it can."""
        return "" if self.model is None else lacking(self.model, story)

    def begin(self, stories: Sequence[Story]) -> str:
        """Start the first of *stories*, and learn from them how fast the client is, unless the user said it.

        Return why webhook stories need not be tried; empty when they must be.

        Raises:
            SetupError: the client did not call the lab at all, so nothing else needs to be tried.
        """
        if self._lab.pace.deadline is not None:
            self.start(stories[:_FIRST])
            return self._check()
        scout = next((story for story in stories if _is_scout(story, self._lab.pace)), None)
        early = [*(story for story in stories if story.canary), scout, next(filter(_is_brief, stories), None)]
        self.start(story for story in early if story is not None)
        silent = self._check()
        self._pause = (self._glimpsed(scout) if scout else None) or self._lab.pace.min_poll
        self._lab.pace = self._lab.pace.with_pause(self._pause)
        return silent

    def settled(self) -> Iterator[list[Ended]]:
        """Yield the cases that are over, whenever nothing is going on, until every other one is past its limit: who waits is waited for,
        but not alone.

        None are where the client's pace was guessed wrong, since its cases are run again.
        """
        given: set[str] = set()
        while True:
            awaited = [one for one in self._running.values() if not one.future.done() and not self._hangs(one)]
            if awaited and (wait([one.future for one in awaited], _LOOK, FIRST_COMPLETED).done or not STARTS.idle):
                continue
            if self._slower():
                return
            done = [one.future.result() for one in self._running.values() if one.future.done()]
            news = [over for over in done if not over.short and over.story.name not in given]
            given.update(over.story.name for over in news)
            if news:
                yield news
            if not awaited:
                return

    def _hangs(self, one: _Running) -> bool:
        """Whether a client called, and should have ended by now."""
        limit = self._lab.pace.limit_for(one.story) + GRACE
        return one.seen.first is not None and wall().at - one.seen.first > limit * RUNS.get(one.story.flow, 1)

    def repeat(self) -> list[Ended]:
        """All cases, once those are repeated whose client had too little time: alone, so that nothing else takes it.

        Where the first guess at its pace was wrong, they are side by side first.
        """
        found = [one.future.result() for one in self._running.values()]
        short = [over for over in found if over.short]
        ended = [over for over in found if not over.short]
        slower = self._slower()
        if slower and short:
            self._lab.pace = self._lab.pace.with_pause(slower)
            with Scheduler(self._lab, self._adapter, self._tell) as again:
                again.start(over.story for over in short)
            return [*ended, *again.repeat()]
        until = wall().at + AGAIN
        with ThreadPoolExecutor(_AFRESH) as pool:
            for over in pool.map(lambda over: self._afresh(over, until), short):
                ended.append(over)
                self._tell(over)
        return ended

    def _afresh(self, over: Ended, until: float) -> Ended:
        """Run a case again whose client gave up for want of time; return the new one, or *over* where it was ended by force.

        After *until* none is run again: a client that never has enough time would go on for an hour.
        """
        again = over.short == "gave up" and wall().at < until and not self._lab.out_of_time
        return self._lab.run_story(over.story, self._adapter) if again else self._lab.keep(over)

    def _run(self, story: Story, seen: Seen) -> Ended:
        over = self._lab.run_story(story, self._adapter, seen, final=False)
        if not over.short:
            self._tell(over)
        return over

    def _glimpsed(self, scout: Story) -> float | None:
        """Seconds between the first reads of *scout*; None where they are too far apart to wait for."""
        one, watch = self._running[scout.name], self._lab.fake.watch
        watch.until(lambda: bool(one.seen.calls) or one.future.done(), PATIENCE)
        watch.until(lambda: one.seen.pause is not None or one.future.done(), _GLIMPSE)
        return one.seen.pause

    def _slower(self) -> float | None:
        """Seconds between the client's reads, where the deadline was chosen for one that is faster."""
        if self._pause is None:
            return None
        hurried = (one for one in self._running.values() if _is_scout(one.story, self._lab.pace))
        pauses = [one.seen.pause for one in hurried if one.seen.pause is not None]
        slow = median(pauses) if pauses else 0.0
        return slow if slow > self._pause * _SLOWER else None

    def _keyless(self, over: Ended) -> None:
        """Note that the client's calls carry no key of the lab's.

        Raises:
            SetupError: it made no call at all.
        """
        if not self._lab.fake.watch.strays:
            raise SetupError(never_called(over, impersonate=self._lab.fake.impersonate))
        self.keyless = "the client's calls do not carry the key that it was given (CQ-01)"

    def _check(self) -> str:
        """Why webhook stories need not be tried, by the first story's create; empty when they must be.

        Raises:
            SetupError: the client did not call the lab at all.
        """
        canary = next((one for one in self._running.values() if one.story.canary), None)
        if canary is None:
            return ""
        path = self._lab.contract.named("createVideo").template
        self._lab.fake.watch.until(lambda: bool(canary.seen.posted(path)) or canary.future.done(), PATIENCE + GRACE)
        if canary.future.done():
            over = canary.future.result()
            if not over.called and not any(one.cannot for one in over.results):
                self._keyless(over)
            hooked = over.hooked
        else:
            hooked = any(body.get("callback_url") for body in _bodies(canary.seen, path))
        named = (self._lab.contract.other(body) for body in _bodies(canary.seen, path))
        self.model = next((model for model in named if model is not None), None)
        return "" if hooked else "the client registered no callback: its command names none"


def _bodies(seen: Seen, path: str) -> list[dict[str, Any]]:
    """The JSON objects that were posted to *path*."""
    bodies = (create["request"]["body"] for create in seen.posted(path))
    return [body for body in bodies if isinstance(body, dict)]


def _is_scout(story: Story, pace: Pace) -> bool:
    """Whether a client that can hurry does so in *story*, and reads its task more than once while nothing is wrong."""
    hurries = (
        not story.min_poll_at_least
        and pace.for_story(story) == pace.hurried
        and not story.needs
        and story.flow == "once"
    )
    return hurries and story.scenario == "poll-paced" and sum(story.params.values()) > 1


def _is_brief(story: Story) -> bool:
    """Whether a client is through with *story* as soon as it has started, and needs no pace for it: the first verdict of a run."""
    return story.right.says == ("refused",) and story.base == "fake" and not story.needs


def never_called(over: Ended, *, impersonate: bool = False) -> str:
    """What to say of a client that made no call, and how to lead it to the lab."""
    results = over.results[0]
    if results.ended == "flood":
        return "the client never called the lab: it flooded its output and was stopped"
    how = (
        f"exit code {results.exit}"
        if results.exit is not None
        else f"signal {results.signal}"
        if results.signal
        else results.broken
    )
    if results.ended == "deadline":
        how = "stopped at its deadline"
    visited = dict.fromkeys(origin_in(event.url) for event in over.events if isinstance(event, Exchange))
    went = f", but {' and '.join(visited)}" if visited else ""
    said = (results.stderr.strip() or results.stdout.strip())[-_SAID:]
    way_out = WAYS_IMPERSONATED if impersonate else WAYS
    return f"the client never called the lab{went} ({how}){f'; it said: {said}' if said else ''}; {way_out}"
