"""All stories side by side, and what could not be shown."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

from kling_contract.history.events import Recorder
from kling_contract.history.labels import Topic
from kling_contract.history.noise import measured
from kling_contract.lab.confirming import confirm
from kling_contract.lab.environment import lasting
from kling_contract.lab.fake import Fake, Running
from kling_contract.lab.lab import Ended, Lab
from kling_contract.lab.pace import FORCED, GRACE, Pace, pace_for
from kling_contract.lab.results import Adapter
from kling_contract.lab.scheduler import Report, Scheduler, never_called
from kling_contract.lab.stories import Story
from kling_contract.reading.contract import Contract, shipped
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import SetupError

NOT_THE_FAKE = ("plain-http", "untrusted")
"""Bases at which the fake is not called by rights."""
NEED_A_WORD = ("CM-07", "CQ-06")
"""Rules that only a client's own word shows."""
_TIMES = 5
_IMPERSONATED = "a client with built-in addresses cannot be led to another base URL"

MakeAdapter = Callable[[Path, Mapping[str, str]], Adapter]
"""Makes an adapter, given a folder to work in and the environment of a program that is there for all cases."""
Bound = Callable[[Pace], float]
"""Gives the seconds after which the rest of a run is left out."""


def run(
    stories: Sequence[Story],
    contract: Contract,
    recorder: Recorder,
    make: MakeAdapter,
    pace: Pace,
    *,
    impersonate: bool = False,
    running: Running | None = None,
    report: Report = lambda _: None,
    bound: Bound | None = None,
) -> tuple[list[Ended], Pace]:
    """Put one client through *stories*, writing everything into *recorder*; return the cases, and the pace that was found.

    running: a fake to use that is there already. report: called with each case that is over. bound: gives the seconds of the whole
    run at a pace; None for `bound_of`.

    Raises:
        SetupError: the fake or the client cannot be started, or the client never called the lab.
    """
    with tempfile.TemporaryDirectory(prefix="kling-lab-") as name:
        folder = Path(name)
        with Fake(contract, folder, impersonate=impersonate, running=running) as fake:
            adapter = make(folder, lasting(folder, fake.variables))
            if adapter.min_poll is not None and not pace.given:
                pace = pace_for(contract, adapter.min_poll, pace.deadline)
            lab = Lab(fake, contract, recorder, folder, pace)
            try:
                with measured(recorder), _bounded(lab, bound or bound_of):
                    ended, unable = _all(stories, lab, adapter, report, impersonate=impersonate)
                lab.strays()
            except BaseException:
                lab.abort()
                raise
            finally:
                adapter.close()
    _note(recorder, stories, ended, unable)
    _too_quick(recorder, stories, lab.pace)
    return ended, lab.pace


def _all(
    stories: Sequence[Story], lab: Lab, adapter: Adapter, report: Report, *, impersonate: bool
) -> tuple[list[Ended], dict[str, str]]:
    """Run what can be run; return the cases, and why the other stories were left out."""
    unable = {story.name: why for story in stories if (why := _unable(story, adapter, impersonate=impersonate))}
    able = sorted((story for story in stories if story.name not in unable), key=attrgetter("turn"))
    with Scheduler(lab, adapter, report) as scheduler:
        silent = scheduler.begin(able)
        if scheduler.keyless:
            unable |= {story.name: scheduler.keyless for story in able if not scheduler.runs(story)}
        elif silent:
            unable |= {story.name: silent for story in able if "webhook" in story.needs}
        unable |= {story.name: why for story in able if (why := scheduler.lacks(story)) and not scheduler.runs(story)}
        scheduler.start(story for story in able if story.name not in unable)
        # Clients that wait, or hang, are waited for meanwhile, where the adapter takes more cases at once than there are.
        early = scheduler.settled() if adapter.parallel > len(able) else ()
        repeated = {over.story.name for some in early for over in confirm(lab, adapter, some)}
    ended = scheduler.repeat()
    called = any(over.called for over in ended) or lab.fake.watch.strays
    if ended and not called and not all(over.story.base in NOT_THE_FAKE for over in ended):
        raise SetupError(never_called(ended[0], impersonate=impersonate))
    confirm(lab, adapter, [over for over in ended if over.story.name not in repeated])
    return ended, unable


def bound_of(pace: Pace) -> float:
    """Return the seconds of a whole run: so many times what one client may take, since stories are side by side, and repeated."""
    return _TIMES * max(FORCED, (pace.deadline or 0.0) + GRACE)


@contextmanager
def _bounded(lab: Lab, bound: Bound) -> Iterator[None]:
    """Leave out what does not fit into the time of a whole run, which grows with the pace that the client turns out to keep."""
    over, began = threading.Event(), lab.recorder.mono()

    def watch() -> None:
        while (left := began + bound(lab.pace) - lab.recorder.mono()) > 0:
            if over.wait(left):
                return
        lab.end_for_time(f"the {bound(lab.pace):.0f} s of a whole run were over; --only RULE plays what shows one rule")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _unable(story: Story, adapter: Adapter, *, impersonate: bool) -> str:
    if impersonate and "base-url" in story.needs:
        return _IMPERSONATED
    return adapter.unable(story)


def _note(recorder: Recorder, stories: Sequence[Story], ended: Sequence[Ended], unable: Mapping[str, str]) -> None:
    """Say of each rule that no story could show why that is so."""
    reasons = dict(unable)
    spoiled = {}
    for over in ended:
        if over.unable:
            reasons[over.story.name] = over.unable
        elif any(results.ended == "flood" for results in over.results):
            spoiled[over.story.name] = "the client flooded its output and was stopped"
    if ended and not any(results.said for over in ended for results in over.results):
        for rule in NEED_A_WORD:
            recorder.note(
                Topic.NOT_RUN, rule=rule, reason="the client writes no KLING_RESULT, and an exit code cannot tell"
            )
    for rule in sorted({rule for story in stories for rule in story.rules}):
        mine = [story.name for story in stories if rule in story.rules]
        if all(name in reasons for name in mine):
            recorder.note(Topic.NOT_RUN, rule=rule, reason=reasons[mine[0]])
        elif all(name in reasons or name in spoiled for name in mine):
            name = next(name for name in mine if name in spoiled)
            recorder.note(Topic.UNTESTABLE, rule=rule, reason=f"{name}: {spoiled[name]}")


def _too_quick(recorder: Recorder, stories: Sequence[Story], pace: Pace) -> None:
    """Say of each rule that no sample at this pace can decide which option would."""
    for rule in rules(shipped()).values():
        least = rule.params.get("pause") if rule.for_clients else None
        mine = [story for story in stories if rule.id in story.rules]
        if least and mine and all(pace.for_story(story) < least for story in mine):
            reason = f"waits this short cannot show it; --min-poll {least:g} or more can"
            recorder.note(Topic.NOT_RUN, rule=rule.id, reason=reason)
