"""What a client that never called the lab is said to have done instead, and what its user should do."""

from dataclasses import replace

import pytest

from kling_contract.history.events import Exchange
from kling_contract.lab.lab import Ended
from kling_contract.lab.results import RunResult
from kling_contract.lab.scheduler import WAYS, WAYS_IMPERSONATED, never_called
from kling_contract.lab.stories import load
from kling_contract.reading.contract import shipped

SILENT = Ended(next(iter(load(shipped()).values())), (RunResult(exit=1, stderr="no route"),), (), False, False, "")
CALLS = (
    Exchange(method="CONNECT", url="https://api.evolink.ai"),
    Exchange(method="CONNECT", url="https://api.evolink.ai"),
    Exchange(method="GET", url="http://other.example:8080/v1/tasks/1"),
)


def test_a_real_host_is_named_with_the_option_that_leads_it_back() -> None:
    """Each host once, the exit code, the client's words, and what to add to the command."""
    said = never_called(replace(SILENT, events=CALLS))
    assert said == (
        "the client never called the lab, but https://api.evolink.ai and http://other.example:8080 (exit code 1); "
        f"it said: no route; {WAYS}"
    )
    assert "--impersonate" in WAYS
    assert "KLING_BASE_URL" in WAYS


@pytest.mark.parametrize(("impersonate", "way"), [(False, WAYS), (True, WAYS_IMPERSONATED)])
def test_one_that_called_nowhere_is_led_too(impersonate: bool, way: str) -> None:
    """Under impersonation the base URL is of no use, so it is not named."""
    said = never_called(SILENT, impersonate=impersonate)
    assert said == f"the client never called the lab (exit code 1); it said: no route; {way}"
