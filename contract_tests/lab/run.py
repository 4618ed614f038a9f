"""All stories side by side, and what could not be shown."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from contract_tests.contract import Contract
from contract_tests.history import Exchange, Recorder
from contract_tests.lab.fake import Fake
from contract_tests.lab.lab import Ended, Lab, Pace
from contract_tests.lab.stories import Story
from contract_tests.lab.told import Adapter
from contract_tests.labels import Topic
from contract_tests.verdicts import SetupError

CANARY = "happy"
"""The story that shows whether the client calls the lab at all, and whether it registers callbacks."""
NEED_A_WORD = ("CM-07", "CQ-06")
"""Rules that only a client's own word shows."""
AT_ONCE = 32
"""Cases side by side: most of their time they sleep."""
_STARTS, _READS = 6.0, 8.0
"""The deadline where nobody gave one: seconds to start and end, and so many pauses between reads."""
_WAIT = 0.02
_IMPERSONATED = "a client with built-in addresses cannot be led to another base URL"

MakeAdapter = Callable[[Path], Adapter]
Tell = Callable[[Ended], None]


def deadline(pause: float) -> float:
    """The deadline that leaves a client with that pause between reads enough time for a story."""
    return round(_STARTS + _READS * pause, 1)


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
            lab = Lab(fake, contract, recorder, folder, pace)
            adapter = make(folder)
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
    able = sorted((story for story in stories if story.name not in unable), key=lambda story: not story.first)
    plain = [story for story in able if "webhook" not in story.needs]
    hooks = [story for story in able if "webhook" in story.needs]
    plain.sort(key=lambda story: story.name != CANARY)
    ended: list[Ended] = []
    repeats: list[Story] = []

    def one(story: Story) -> Ended:
        over = lab.run_story(story, adapter, final=False)
        if over.hurried:
            repeats.append(story)
        else:
            ended.append(over)
            tell(over)
        return over

    canary: Ended | None = None
    if lab.pace.deadline is None and plain and plain[0].name == CANARY:
        canary = one(plain.pop(0))
        lab.pace = Pace(lab.pace.min_poll, deadline(_pause(canary, lab.pace)))
    with ThreadPoolExecutor(min(AT_ONCE, adapter.parallel)) as pool:
        running = [pool.submit(one, story) for story in plain]
        try:
            if canary is None and plain and plain[0].name == CANARY:
                canary = running[0].result()
            silent = _check(canary) if canary is not None else ""
            if silent:
                unable |= {story.name: silent for story in hooks}
                hooks = []
            running += [pool.submit(one, story) for story in hooks]
            for future in running:
                future.result()
        except BaseException:
            _cancel(running)
            raise
    # On a machine with more to do than it can, a good client runs out of time; one that is bad does so alone as well.
    for story in repeats:
        ended.append(lab.run_story(story, adapter))
        tell(ended[-1])
    if ended and not any(over.called for over in ended) and not all(over.story.base != "fake" for over in ended):
        raise SetupError(_never_called(ended[0]))
    return ended, unable


def _pause(canary: Ended, told: Pace) -> float:
    """Seconds between the reads of the first story; what the client was told where it read too little."""
    reads = [event.mono for event in canary.events if isinstance(event, Exchange) and event.method == "GET"]
    waits = [later - sooner for sooner, later in pairwise(reads)]
    return median(waits) if waits else told.min_poll


def _cancel(running: Iterable[Future[Ended]]) -> None:
    for future in running:
        future.cancel()


def _unable(story: Story, adapter: Adapter, *, impersonate: bool) -> str:
    if impersonate and "base-url" in story.needs:
        return _IMPERSONATED
    return adapter.unable(story)


def _check(canary: Ended) -> str:
    """Why webhook stories need not be tried; empty when they must be.

    Raises:
        SetupError: the client did not call the lab at all, so nothing else needs to be tried.
    """
    if not canary.called and not any(told.cannot for told in canary.told):
        raise SetupError(_never_called(canary))
    return "" if canary.hooked else "the client registered no callback: its command names none"


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
