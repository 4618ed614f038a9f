"""All stories side by side, and what could not be shown."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from contract_tests.contract import Contract
from contract_tests.history import Recorder
from contract_tests.lab.fake import Fake
from contract_tests.lab.lab import GRACE, Ended, Lab
from contract_tests.lab.pace import PATIENCE, Pace, told
from contract_tests.lab.stories import Story
from contract_tests.lab.told import Adapter
from contract_tests.lab.watch import Seen
from contract_tests.labels import Topic
from contract_tests.verdicts import SetupError

CANARY = "happy"
"""The story that shows whether the client calls the lab at all, and whether it registers callbacks."""
NEED_A_WORD = ("CM-07", "CQ-06")
"""Rules that only a client's own word shows."""
AT_ONCE = 64
"""Cases side by side: most of their time they sleep."""
_FIRST = 3
"""Cases that begin while nobody knows yet whether there is a client at all."""
_GLIMPSE = 3.0
"""Seconds from its first call in which a client that hurries has read twice."""
_SLOWER = 1.3
"""How much slower a client is than was guessed, when its cases are worth repeating with more time."""
_WAIT = 0.02
_IMPERSONATED = "a client with built-in addresses cannot be led to another base URL"

MakeAdapter = Callable[[Path], Adapter]
Tell = Callable[[Ended], None]


def run(
    stories: Sequence[Story],
    contract: Contract,
    recorder: Recorder,
    make: MakeAdapter,
    pace: Pace,
    *,
    impersonate: bool = False,
    tell: Tell = lambda _: None,
) -> list[Ended]:
    """Put one client through *stories*, writing everything into *recorder*.

    make: makes the adapter, given a folder to work in. tell: told of each case that is over.

    Raises:
        SetupError: the fake or the client cannot be started, or the client never called the lab.
    """
    with tempfile.TemporaryDirectory(prefix="kling-lab-") as name:
        folder = Path(name)
        with Fake(contract, folder, impersonate=impersonate) as fake:
            adapter = make(folder)
            if adapter.min_poll is not None and not pace.told:
                pace = told(contract, adapter.min_poll, pace.deadline)
            lab = Lab(fake, contract, recorder, folder, pace)
            try:
                with _noise(recorder):
                    ended, unable = _all(stories, lab, adapter, tell, impersonate=impersonate)
                lab.strays()
            finally:
                adapter.close()
    _note(recorder, stories, ended, unable)
    return ended


@contextmanager
def _noise(recorder: Recorder) -> Iterator[None]:
    """Measure how late this machine is while the block runs, and say so: nine of ten short waits were less late."""
    over, late = threading.Event(), [0.0]

    def watch() -> None:
        while not over.is_set():
            began = time.perf_counter()
            over.wait(_WAIT)
            late.append(time.perf_counter() - began - _WAIT)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        recorder.note(Topic.NOISE, seconds=round(max(0.0, sorted(late)[len(late) * 9 // 10]), 4))


def _all(
    stories: Sequence[Story], lab: Lab, adapter: Adapter, tell: Tell, *, impersonate: bool
) -> tuple[list[Ended], dict[str, str]]:
    """Run what can be run; answers the cases, and why the other stories were left out."""
    unable = {story.name: why for story in stories if (why := _unable(story, adapter, impersonate=impersonate))}
    able = sorted((story for story in stories if story.name not in unable), key=_turn)
    with _Party(lab, adapter, tell) as party:
        silent = party.begin(able)
        if silent:
            unable |= {story.name: silent for story in able if "webhook" in story.needs}
        party.start(story for story in able if story.name not in unable)
    ended = party.repeat()
    if ended and not any(over.called for over in ended) and not all(over.story.base != "fake" for over in ended):
        raise SetupError(_never_called(ended[0]))
    return ended, unable


def _turn(story: Story) -> tuple[bool, ...]:
    """What comes first: the story that shows whether there is a client at all, then what takes long."""
    return story.name != CANARY, not story.first, "webhook" not in story.needs


@dataclass(slots=True)
class _Running:
    """A story under way."""

    story: Story
    seen: Seen
    future: Future[Ended]


class _Party:
    """`with _Party(...) as party`: stories side by side; the block ends when all of them have."""

    def __init__(self, lab: Lab, adapter: Adapter, tell: Tell) -> None:
        self._lab, self._adapter, self._tell = lab, adapter, tell
        self._running: dict[str, _Running] = {}
        self._pause: float | None = None
        """Seconds between reads by which the deadline was chosen; None where somebody told it."""
        self._pool = ThreadPoolExecutor(min(AT_ONCE, adapter.parallel))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)

    def start(self, stories: Iterable[Story]) -> None:
        """Start those of *stories* that are not under way yet."""
        for story in stories:
            if story.name not in self._running:
                seen = Seen()
                self._running[story.name] = _Running(story, seen, self._pool.submit(self._run, story, seen))

    def begin(self, stories: Sequence[Story]) -> str:
        """Start the first of *stories*, and learn from them how fast the client is, where nobody told it.

        Answers why webhook stories need not be tried; empty when they must be.

        Raises:
            SetupError: the client did not call the lab at all, so nothing else needs to be tried.
        """
        if self._lab.pace.deadline is not None:
            self.start(stories[:_FIRST])
            return self._check()
        scout = next((story for story in stories if _is_scout(story, self._lab.pace)), None)
        self.start([*(story for story in stories if story.name == CANARY), *([scout] if scout else [])])
        silent = self._check()
        self._pause = (self._glimpsed(scout) if scout else None) or self._lab.pace.min_poll
        self._lab.pace = self._lab.pace.with_pause(self._pause)
        return silent

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
            with _Party(self._lab, self._adapter, self._tell) as again:
                again.start(over.story for over in short)
            return [*ended, *again.repeat()]
        for over in short:
            gave_up = over.short == "gave up"
            ended.append(self._lab.run_story(over.story, self._adapter) if gave_up else self._lab.keep(over))
            self._tell(ended[-1])
        return ended

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

    def _check(self) -> str:
        """Why webhook stories need not be tried, by the first story's create; empty when they must be.

        Raises:
            SetupError: the client did not call the lab at all.
        """
        canary = self._running.get(CANARY)
        if canary is None:
            return ""
        self._lab.fake.watch.until(lambda: bool(canary.seen.creates) or canary.future.done(), PATIENCE + GRACE)
        if canary.future.done():
            over = canary.future.result()
            if not over.called and not any(one.cannot for one in over.told):
                raise SetupError(_never_called(over))
            hooked = over.hooked
        else:
            hooked = any((create["request"]["body"] or {}).get("callback_url") for create in canary.seen.creates)
        return "" if hooked else "the client registered no callback: its command names none"


def _is_scout(story: Story, pace: Pace) -> bool:
    """Whether a client that can hurry does so in *story*, and reads its task more than once while nothing is wrong."""
    hurries = pace.for_story(story) == pace.hurried and not story.needs and story.flow == "once"
    return hurries and story.scenario == "poll-paced" and sum(story.params.values()) > 1


def _unable(story: Story, adapter: Adapter, *, impersonate: bool) -> str:
    if impersonate and "base-url" in story.needs:
        return _IMPERSONATED
    return adapter.unable(story)


def _never_called(over: Ended) -> str:
    told = over.told[0]
    how = f"exit code {told.exit}" if told.exit is not None else f"signal {told.signal}" if told.signal else told.broken
    if told.ended == "deadline":
        how = "stopped at its deadline"
    said = (told.stderr.strip() or told.stdout.strip())[-400:]
    return f"the client never called the lab ({how}){f'; it said: {said}' if said else ''}"


def _note(recorder: Recorder, stories: Sequence[Story], ended: Sequence[Ended], unable: Mapping[str, str]) -> None:
    """Say of each rule that no story could show why that is so."""
    reasons = dict(unable)
    spoiled = {}
    for over in ended:
        if over.unable:
            reasons[over.story.name] = over.unable
        elif any(told.ended == "flood" for told in over.told):
            spoiled[over.story.name] = "the client flooded its output and was stopped"
    if ended and not any(told.said for over in ended for told in over.told):
        for rule in NEED_A_WORD:
            recorder.note(
                Topic.NOT_RUN, rule=rule, reason="the client writes no KLING_RESULT, and an exit code cannot tell"
            )
    for rule in sorted({rule for story in stories for rule in story.rules}):
        mine = [story.name for story in stories if rule in story.rules]
        if all(name in reasons for name in mine):
            recorder.note(Topic.NOT_RUN, rule=rule, reason=f"{mine[0]}: {reasons[mine[0]]}")
        elif all(name in reasons or name in spoiled for name in mine):
            name = next(name for name in mine if name in spoiled)
            recorder.note(Topic.UNTESTABLE, rule=rule, reason=f"{name}: {spoiled[name]}")
