"""The money guard by itself: what it lets pass, what it counts, and when it ends a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_contract.driving.guard import Guard, Price, Stopped
from kling_contract.reading.contract import shipped

CONTRACT = shipped()
PRICE = Price.of(CONTRACT, 0.1)


def guard(max_usd: float | None = 1.0, creates: int | None = 1) -> Guard:
    """A guard at ten cents a second."""
    return Guard(lambda body: PRICE.worst(body, CONTRACT), max_usd=max_usd, creates=creates)


def test_the_price_comes_from_the_contract_unless_the_user_knows_better() -> None:
    """Credits a second times dollars a credit; one price of the user's holds for every quality."""
    assumed = Price.of(CONTRACT)

    assert assumed.worst({"duration": 3, "quality": "720p"}, CONTRACT) == pytest.approx(0.3)
    assert assumed.worst({"duration": 3, "quality": "1080p"}, CONTRACT) == pytest.approx(0.48)
    assert Price.of(CONTRACT, 2.0).worst({"duration": 3, "quality": "1080p"}, CONTRACT) == pytest.approx(6.0)


@given(
    st.dictionaries(st.sampled_from(["duration", "quality", "prompt"]), st.none() | st.integers() | st.text())
    | st.text()
)
def test_no_body_is_cheaper_than_the_cheapest_task(body: object) -> None:
    """Whatever a body holds, the worst charge is never below that of the shortest task."""
    assert PRICE.worst(body, CONTRACT) >= CONTRACT.duration_min * 0.1 - 1e-9


def test_a_create_over_the_cap_is_not_sent() -> None:
    """What was spent and the worst of the next one together stay within the cap."""
    watch = guard(max_usd=0.5)
    watch.after("POST", watch.before("POST", {"duration": 3}), 200, expected=True)

    with pytest.raises(Stopped, match=r"\$0.30 of \$0.50 may be spent already"):
        watch.before("POST", {"duration": 3})
    assert watch.spent.accepted == 1
    assert watch.spent.sent == 1


def test_a_refused_create_costs_nothing() -> None:
    """Any number of refusals leaves the whole cap."""
    watch = guard(max_usd=0.3, creates=0)
    for _ in range(50):
        watch.after("POST", watch.before("POST", {"duration": 3}), 400, expected=False)

    assert watch.spent.usd == pytest.approx(0)
    assert watch.spent.sent == 50


def test_an_accepted_negative_ends_the_run_for_good() -> None:
    """Nothing that may cost money is sent after it."""
    watch = guard(max_usd=None, creates=0)
    with pytest.raises(Stopped, match="must be refused was accepted"):
        watch.after("POST", watch.before("POST", {"duration": 16}), 200, expected=False)

    with pytest.raises(Stopped):
        watch.before("POST", {"duration": 3})
    assert watch.before("GET", None) == 0


@pytest.mark.parametrize("status", [None, 500, 502])
def test_a_lost_reply_counts_as_charged_and_ends_the_run(status: int | None) -> None:
    """Nobody knows whether the create was taken."""
    watch = guard()
    with pytest.raises(Stopped, match="unknown; it may have cost"):
        watch.after("POST", watch.before("POST", {"duration": 3}), status, expected=True)

    assert watch.spent.usd == pytest.approx(0.3)
    with pytest.raises(Stopped):
        watch.before("POST", {"duration": 3})


def test_a_pause_is_granted_at_once() -> None:
    """A 429, even of a read, ends a run against a service that bills."""
    watch = guard()
    with pytest.raises(Stopped, match="429"):
        watch.after("GET", 0.0, 429, expected=True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "BREW"])
def test_every_method_but_the_safe_ones_may_create(method: str) -> None:
    """The guard does not trust a path or a verb to be harmless."""
    assert guard().before(method, {"duration": 3}) == pytest.approx(0.3)


def test_a_fake_is_not_guarded() -> None:
    """Without caps nothing is counted and nothing stops."""
    watch = guard(max_usd=None, creates=None)
    watch.after("POST", watch.before("POST", {}), None, expected=False)
    assert watch.free
