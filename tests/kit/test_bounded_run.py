"""A run does not wait for what can never come, and says what is missing before it sends anything."""

from collections.abc import Iterator

import pytest

from kling_contract.driving.drivers import running
from kling_contract.driving.drivers.run_context import Options
from kling_contract.driving.drivers.running import Wanted, make_history
from kling_contract.driving.target import Asked
from kling_contract.history.events import Exchange
from kling_contract.mutants.mutant import Mutant, broken
from kling_contract.mutants.serving import fake, served
from kling_contract.mutants.switches import READ, answers, ok, setting, shows
from kling_contract.rules.verdicts import Choice, SetupError

SCRIPTS = frozenset({"lifecycle", "failures", "callback", "callback-failed", "billing", "links"})


@pytest.fixture(scope="module")
def correct() -> Iterator[str]:
    """A fake that the servers of this module stand in front of."""
    with fake() as url:
        yield url


def reads(url: str, seed: int) -> int:
    """How many reads of tasks a run sends."""
    wanted = Wanted(Asked(url=url, key=f"sk-bound-{seed}"), Options(seed=seed, quick=True, scripts=SCRIPTS))
    events = make_history(wanted, Choice()).recorder.events
    return sum(
        isinstance(event, Exchange) and event.method == "GET" and "/v1/tasks/task-" in event.url for event in events
    )


STRANGE = broken("SW-09", "strange", "has statuses of its own", shows(setting(status="rendering"), at=(READ,)))
WRAPPED = broken(
    "SW-04", "wrapped", "wraps the task", answers(ok("getTask"), lambda answer: answer.becomes({"data": answer.json}))
)


@pytest.mark.e2e
@pytest.mark.parametrize("mutant", [STRANGE, WRAPPED], ids=lambda mutant: mutant.name)
def test_a_state_that_cannot_come_is_not_waited_for(mutant: Mutant, correct: str) -> None:
    """
    Statuses that are not the contract's, or a task inside another object: fewer reads than a good server gets, not hundreds.
    """
    good = reads(correct, 9_100)
    with served(mutant, correct) as there:
        assert reads(there.url, 9_101) <= good


def test_what_is_not_installed_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the extra a run that would draw is refused before a byte is sent; the scripted part needs nothing more.
    """
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"hypothesis and schemathesis not installed: pip install 'klingkit\[kit\]'"):
        make_history(Wanted(Asked(url="http://127.0.0.1:1", key="sk-a")), Choice())
    with pytest.raises(SetupError, match="refused"):
        make_history(Wanted(Asked(url="http://127.0.0.1:1", key="sk-a"), Options(quick=True)), Choice())
