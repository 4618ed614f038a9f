"""What a run of the lab says while it lasts: the first rules that hold, and whatever looks broken, in a line for a story."""

from dataclasses import replace

from scene import BODY, BOOK, CONTRACT, Scene

from kling_contract.lab.lab import Ended
from kling_contract.lab.results import RunResult
from kling_contract.lab.so_far import SoFar
from kling_contract.lab.stories import load

STORIES = load(CONTRACT)
CLIENT = [rule for rule in BOOK.values() if rule.for_clients]


def ended(story: str, scene: Scene) -> Ended:
    """A case that came to what *scene* shows."""
    return Ended(STORIES[story], (RunResult(),), tuple(scene.recorder.events), called=True, hooked=False)


def refused(sent: bool) -> Ended:
    """The story about a quality that the contract does not have."""
    scene = Scene("CQ-10", story="refused-quality", completes=False, request={"quality": "4k"})
    return ended("refused-quality", (scene.create(400, sent={**BODY, "quality": "4k"}) if sent else scene).told(4))


def happy() -> Ended:
    """The story in which all is well."""
    return ended("happy", Scene("CQ-01", story="happy").create().done())


def test_the_first_rules_that_hold_are_said_at_once_and_once() -> None:
    """A user sees within seconds that there are verdicts; that more rules hold is left to the counts."""
    so_far = SoFar(CONTRACT, CLIENT)

    lines = [so_far.line(refused(sent=False)), so_far.line(happy())]

    assert lines == ["story refused-quality: CQ-10 holds so far", ""]
    assert int(so_far.counts.partition(" good so far")[0]) > 5


def test_what_looks_broken_is_said_once() -> None:
    """With what was seen; another story that shows the same rule broken says nothing new."""
    so_far = SoFar(CONTRACT, CLIENT)

    first, again = so_far.line(refused(sent=True)), so_far.line(refused(sent=True))

    assert first.startswith("story refused-quality: CQ-10 looks broken: sent, against the contract")
    assert again == ""
    assert so_far.counts.endswith(" good, 1 broken so far")


def test_only_chosen_rules_are_judged() -> None:
    """What is not to be judged is not spoken of."""
    so_far = SoFar(CONTRACT, [rule for rule in CLIENT if rule.id == "CQ-08"])

    assert so_far.line(refused(sent=True)) == ""


def test_a_case_that_shows_nothing_says_nothing() -> None:
    """One that the client cannot do, one that is to be run again with more time, and one that the lab stopped."""
    so_far = SoFar(CONTRACT, CLIENT)
    unable = replace(refused(sent=True), results=(RunResult(cannot="no quality"),))
    short = replace(refused(sent=True), short="gave up")
    stopped = replace(refused(sent=True), results=(RunResult(ended="on purpose"),))

    assert [so_far.line(over) for over in (unable, short, stopped)] == [""] * 3
    assert so_far.counts == "0 good so far"
