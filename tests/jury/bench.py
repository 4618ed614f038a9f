"""The jury's clients side by side on one fake, each in the stories that are about it: what CI plays."""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.jury.playing import KEYS, Member, Played, play, serving

from kling_contract.driving.drivers.run_context import Options
from kling_contract.driving.drivers.running import Wanted, make_history
from kling_contract.driving.target import Asked
from kling_contract.history.events import Note, Recorder
from kling_contract.history.labels import Topic
from kling_contract.judging import judge_history
from kling_contract.lab.adapters.command import CommandAdapter
from kling_contract.lab.confirming import confirm
from kling_contract.lab.fake import Fake
from kling_contract.lab.lab import Lab
from kling_contract.lab.pace import Pace, pace_for
from kling_contract.lab.stories import load
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import CLIENT, Choice, Run

AT_ONCE, SERVERS_AT_ONCE = 10, 6
KEYLESS = ("CQ-01",)
"""Rules whose breach only a fake of its own can tell: calls without a key could be any member's."""


def quick(jury: Sequence[Member]) -> list[Played]:
    """Play each of *jury*, at once; in their order."""
    contract, stories = shipped(), load(shipped())
    pace = pace_for(contract, None, None).with_pause(0.2)
    with tempfile.TemporaryDirectory(prefix="jury-") as name, Fake(contract, Path(name)) as fake:

        def one(member: Member) -> Played:
            if member.names == KEYLESS:
                return play(member, member.stories)
            return _played(member, fake, Path(name) / member.name, pace)

        def _played(member: Member, fake: Fake, folder: Path, pace: Pace) -> Played:
            began = time.perf_counter()
            recorder = Recorder()
            recorder.add(Note(topic=Topic.RUN, data={"target": member.name, "mode": CLIENT}))
            folder.mkdir()
            lab = Lab(fake, contract, recorder, folder, pace)
            adapter = CommandAdapter(member.command, contract)
            with ThreadPoolExecutor(len(member.stories)) as pool:
                ended = list(pool.map(lambda story: lab.run_story(stories[story], adapter), member.stories))
            confirm(lab, adapter, ended)
            return _noted(member, judge_history(recorder.events, Choice(), str, contract), began)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, jury))


def _noted(member: Member, run: Run, began: float) -> Played:
    played = Played(member, seconds=time.perf_counter() - began)
    for verdict in run.verdicts:
        rule = verdict.rule.id
        played.verdicts[rule] = str(verdict.result)
        played.levels[rule], played.seen[rule] = str(verdict.rule.level), verdict.seen
    return played


def quick_servers(jury: Sequence[Member]) -> list[Played]:
    """Drive each of *jury* by the scripts that are about it, some at once; in their order."""

    def one(member: Member) -> Played:
        began = time.perf_counter()
        with serving(member) as url:
            asked = Asked(url=url, key=KEYS[0], second_key=KEYS[1])
            wanted = Wanted(asked, Options(seed=1, quick=True, scripts=frozenset(member.stories)))
            made = make_history(wanted, Choice())
        return _noted(member, judge_history(made.recorder.events, Choice(), str), began)

    with ThreadPoolExecutor(SERVERS_AT_ONCE) as pool:
        return list(pool.map(one, jury))
