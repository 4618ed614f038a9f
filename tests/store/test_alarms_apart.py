"""When the courier is woken about an account of the memory store: seldom where nobody is called back, at once where much is due."""

from math import inf
from typing import Any

import pytest

from kling_mock import clock as clocks
from kling_mock.clock import Clock
from kling_mock.store import memory
from kling_mock.store.journal import Journal
from kling_mock.store.memory import MemoryStore


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds from now at which alarms are set; time stands still."""
    monkeypatch.setattr(clocks, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(clocks, "wall", lambda: 5_000_000.0)
    return []


@pytest.mark.parametrize(
    ("calls_back", "since", "due", "rings"),
    [
        (False, inf, 0.5, 0.5),
        (False, inf, -0.001, 0.0),
        (False, 0.0, 0.001, memory._LATER),
        (True, 0.0, 0.001, memory._SOON),
        (False, 0.0, -0.001, memory._LATER),
        (False, 0.0, -memory._LATER, 0.0),
        (True, 0.0, -memory._SOON, 0.0),
        (True, 0.0, 3.0, 3.0),
    ],
)
def test_alarms_have_their_distance(
    alarms: list[float], calls_back: bool, since: float, due: float, rings: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """*since*: seconds since the last alarm. What has been due for longer than that distance was left over, and does not wait again."""
    store = MemoryStore(lambda: Clock("real"), 100.0, Journal())
    account: Any = store.seen("sk-a")
    account.calls_back, account.rung = calls_back, 1000.0 - since
    monkeypatch.setattr(store._alarms, "set", lambda at, _: alarms.append(at - 1000.0))

    store.notice(account, 5_000_000.0 + due)

    assert alarms == [pytest.approx(rings)]


def test_an_account_calls_back_from_its_first_task_with_a_callback_on() -> None:
    """And no longer after a reset."""
    store = MemoryStore(lambda: Clock("manual"), 100.0, Journal())
    account: Any = store.seen("sk-a")
    seen = [account.calls_back]
    for url in (None, "https://hooks.example.com/done"):
        task: Any = type("Task", (), {"id": f"task-{url}", "callback_url": url})()
        account.add_task(task)
        seen.append(account.calls_back)
    store.reset(account)

    assert [*seen, account.calls_back] == [False, False, True, False]
