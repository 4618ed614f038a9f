"""A whole run of the lab ends at its bound, with clients that hang still running."""

import sys
from pathlib import Path

import pytest

from kling_contract.history.events import Exchange, Recorder
from kling_contract.judging import judge_history
from kling_contract.lab.adapters.command import CommandAdapter
from kling_contract.lab.pace import Pace
from kling_contract.lab.run import run
from kling_contract.lab.stories import load
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import Choice, Result

pytestmark = pytest.mark.e2e

CLIENT = """
import json, os, pathlib, sys, threading, urllib.request
base, key, marks = sys.argv[1:]
body = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.jpg"}
headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(base + "/v1/videos/generations", json.dumps(body).encode(), headers)).read()
pathlib.Path(marks, str(os.getpid())).touch()
try:
    pathlib.Path(marks, "first").mkdir()
except FileExistsError:
    threading.Event().wait()
"""
"""Creates a task and says so in a file; the first one then ends, every other one hangs."""
NAMES = ("happy", "unknown-field", "stuck")


def test_what_hangs_at_the_bound_is_left_out(tmp_path: Path) -> None:
    """
    Once every client has called, the time of the run is over: those that hang are ended, nothing of them is judged, and a rule
    that only they could show says why it was not run.
    """
    every, recorder = load(shipped()), Recorder()
    command = [sys.executable, "-c", CLIENT, "{base_url}", "{api_key}", str(tmp_path)]

    def bound(_: Pace) -> float:
        """Nothing is left once all have called; else a little more than what has gone by."""
        return 0.0 if len([*tmp_path.iterdir()]) > len(NAMES) else recorder.mono() + 0.05

    chosen = [every[name] for name in NAMES]
    ended, _ = run(
        chosen, shipped(), recorder, lambda *_: CommandAdapter(command, shipped()), Pace(0.2, 0.2, 60.0), bound=bound
    )
    verdicts = judge_history(recorder.events, Choice(), str).verdicts
    left_out = {over.story.name: over.left_out for over in ended if over.left_out}
    missing = {rule for name in left_out for rule in every[name].rules}
    not_run = {verdict.rule.id: verdict.reason for verdict in verdicts if verdict.result is Result.NOT_RUN}

    assert len(left_out) == len(NAMES) - 1
    assert all("s of a whole run were over" in why for why in left_out.values())
    assert {not_run[rule] for rule in missing & set(not_run)} == set(left_out.values())
    assert not {event.case for event in recorder.events if isinstance(event, Exchange)} & set(left_out)
