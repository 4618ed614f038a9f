"""Credits: reserved when a task is made, used or given back when it ends, and never twice."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_mock.core.prices import Prices

COST = 36
STORIES = [
    "completed queued=1 runs=4",
    "failed queued=1 runs=4",
    "cancelled queued=1 runs=4",
    "stuck",
    "instant",
    "poll-paced pending=0 processing=0",
]


def money(rig: Any, key: str = "sk-test") -> tuple[float, float]:
    """Balance and use of the account."""
    account = rig.account(key)
    return account.credits, account.used


@pytest.mark.parametrize(
    ("scenario", "balance", "used"),
    [
        ("completed queued=1 runs=4", 964, 36),
        ("failed queued=1 runs=4", 1000, 0),
        ("cancelled queued=1 runs=4", 1000, 0),
        ("stuck", 964, 0),
    ],
)
def test_credits_follow_the_outcome(rig: Any, scenario: str, balance: float, used: float) -> None:
    """Reserved at once; used on completion, given back on failure and cancellation, held while it runs."""
    rig.control("PUT", "/account", {"credits": 1000}, key="sk-test")
    rig.task(scenario)
    assert money(rig) == (964, 0)
    rig.advance(100_000)

    assert money(rig) == (balance, used)


def test_a_cancelled_task_gives_its_credits_back_once(rig: Any) -> None:
    """However often it is cancelled, and whatever time brings later."""
    rig.control("PUT", "/account", {"credits": 1000}, key="sk-test")
    task_id = rig.task()
    for _ in range(3):
        rig.control("POST", f"/tasks/{task_id}/cancel")
    rig.advance(1000)

    assert money(rig) == (1000, 0)


def test_the_balance_may_be_used_to_the_last_credit(rig: Any) -> None:
    """Equal is enough; a credit short is 402, and nothing is made or taken."""
    rig.control("PUT", "/account", {"credits": COST}, key="sk-test")
    assert rig.create().status_code == 200
    assert money(rig) == (0, 0)
    refused = rig.create()

    assert refused.status_code == 402
    assert money(rig) == (0, 0)
    assert len(rig.account().tasks) == 1


def test_what_a_failure_gives_back_can_be_spent(rig: Any) -> None:
    """As soon as the task has failed, a create sees it, even with nobody to move things on."""
    rig.control("PUT", "/account", {"credits": COST}, key="sk-test")
    rig.task("failed queued=1 runs=4")
    assert rig.create().status_code == 402
    rig.advance(5)
    assert rig.create().status_code == 200


def test_rates_are_choices(make: Callable[..., Any]) -> None:
    """One may be set and the other left; the least that a task costs is a setting of its own."""
    rig = make(service_settings={"credits_per_second": {"1080p": 2.5}})

    assert rig.create(quality="1080p", duration=4).json["usage"]["credits_reserved"] == 21.6
    assert rig.create(quality="1080p", duration=15).json["usage"]["credits_reserved"] == 37.5
    assert rig.create(quality="720p", duration=4).json["usage"]["credits_reserved"] == 28.8
    free = make(service_settings={"credits_per_second": {"720p": 0}, "minimum_credits": 0})
    assert free.create().json["usage"]["credits_reserved"] == 0


def test_prices_are_the_services(rig: Any) -> None:
    """7.2 credits a second, a quarter more for 1080p, 68 credits a dollar (price snapshot, C)."""
    paid = {(quality, seconds): rig.create(quality=quality, duration=seconds).json["usage"]["credits_reserved"]
            for quality in ("720p", "1080p") for seconds in (3, 5, 15)}  # fmt: skip
    assert paid == {
        ("720p", 3): 21.6, ("720p", 5): 36, ("720p", 15): 108,
        ("1080p", 3): 27, ("1080p", 5): 45, ("1080p", 15): 135,
    }  # fmt: skip
    task_id = rig.task("instant", duration=10)
    assert rig.shown(task_id)["usage"]["cost"] == {"credits": 72, "usd": round(72 / 68, 6)}


@pytest.mark.parametrize(
    ("rate", "seconds", "units", "cost"),
    [(0.00005, 3, 10_000, 0.0002), (0.5, 3, 1, 2), (0.25, 5, 2, 1.5), (1.1, 3, 10, 3.3), (0, 15, 10_000, 0)],
)
def test_half_a_unit_is_rounded_up(rate: float, seconds: int, units: int, cost: float) -> None:
    """Exactly, in decimals: half a unit goes up."""
    assert Prices({"720p": rate}, 0, units).cost("720p", seconds) == cost


def test_a_balance_is_exact(rig: Any) -> None:
    """Three times the price is enough for three tasks, though no binary fraction is a tenth."""
    rig.control("PUT", "/account", {"credits": 64.8}, key="sk-test")
    assert [rig.create(duration=3).status_code for _ in range(4)] == [200, 200, 200, 402]
    assert money(rig) == (0, 0)


def test_a_task_that_is_read_to_its_end_is_settled_with_that_read(rig: Any) -> None:
    """Poll-paced: the read that shows it completed has used the credits."""
    rig.control("PUT", "/account", {"credits": 1000}, key="sk-test")
    task_id = rig.task("poll-paced pending=0 processing=1")
    rig.shown(task_id)
    assert rig.shown(task_id)["status"] == "completed"
    rig.advance(0)

    assert money(rig) == (964, 36)


@settings(max_examples=30, deadline=None)
@given(story=st.lists(st.tuples(st.sampled_from(STORIES), st.integers(3, 15), st.integers(0, 8)), max_size=12))
def test_no_credit_is_ever_lost(new_rig: Callable[..., Any], story: list[tuple[str, int, int]]) -> None:
    """Balance, use and what running tasks hold add up to what there was, after any sequence of tasks, cancels and time."""
    rig = _shared(new_rig)
    rig.control("POST", "/reset")
    rig.control("PUT", "/account", {"credits": 1000}, key="sk-test")
    for scenario, seconds, passes in story:
        response = rig.create(headers={"X-Mock-Scenario": scenario}, duration=seconds)
        if response.status_code == 200 and passes % 3 == 0:
            rig.control("POST", f"/tasks/{response.json['id']}/cancel")
        rig.advance(passes)
        account = rig.account()
        held = sum(task.reserved for task in account.tasks.values() if not task.settled)
        assert round(account.credits + account.used + held, 6) == 1000
        assert account.credits >= 0


_kept: list[Any] = []


def _shared(new_rig: Callable[..., Any]) -> Any:
    """One rig for all examples of a property."""
    if not _kept:
        _kept.append(new_rig())
    return _kept[0]
