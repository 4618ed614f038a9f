"""What a courier owes the other processes on its store: who sends, how much it takes in hand, and what it writes down before it sends."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from kling_mock import clock as clocks
from kling_mock.store.sql import database

HOOK = "https://8.8.8.8/hook"
AT_ONCE = 64
"""How many callbacks a process sends at a time."""


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`later(60)`: what the clocks of this process show is a minute more."""
    monkeypatch.setattr(database, "_COMPARE", 1e9)  # else the database's clock, which has not moved, would win
    wall, monotonic, moved = clocks.wall, clocks.monotonic, [0.0]
    monkeypatch.setattr(clocks, "wall", lambda: wall() + moved[0])
    monkeypatch.setattr(clocks, "monotonic", lambda: monotonic() + moved[0])
    return lambda seconds: moved.__setitem__(0, moved[0] + seconds)


REQUESTS = {
    "a create": lambda fake: fake.create(),
    "a look": lambda fake: fake.control("GET", "/accounts"),
}


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=[*REQUESTS])
def test_on_a_clock_that_runs_a_request_sends_only_where_no_other_process_could(
    any_url: str, process: Callable[..., Any], later: Callable[[float], None], request_of: Callable[..., Any]
) -> None:
    """What processes share is left to the couriers' threads, so that no request waits for a receiver."""
    fake = process(any_url, clock="real", start=None)
    fake.create("completed queued=1 runs=1", callback_url=HOOK)
    later(60)

    request_of(fake)

    courier, store = fake.fake.courier, fake.fake.world.store
    courier.wait_for_senders(store.seen("sk-test"))
    assert len(fake.receiver.calls) == (0 if store.blocking else 1)
    courier.run_due(store.seen("sk-test"), store.seen("sk-test").clock.now())
    assert len(fake.receiver.calls) == 1


def test_no_more_is_taken_in_hand_than_there_are_senders(url: str, process: Callable[..., Any]) -> None:
    """What waits here while its lease runs out another process would send as well; so the rest is left for others."""
    fake, other = process(url), process(url)
    all_of_them = AT_ONCE + 8
    for _ in range(all_of_them):
        fake.create("completed queued=1 runs=1", callback_url=HOOK)
    fake.receiver.script += [500] * all_of_them
    fake.advance(2)  # now all of them fall due again at one moment, and nothing else with them
    together = threading.Barrier(AT_ONCE)
    left: list[int] = []

    def meanwhile() -> None:
        if len(fake.receiver.calls) <= all_of_them + AT_ONCE:
            together.wait(30)
            left.append(_left(other))

    fake.receiver.meanwhile = meanwhile
    fake.advance(100)

    assert left == [8] * AT_ONCE
    assert len(fake.receiver.calls) == 2 * all_of_them


class _Seen(Exception):
    """Ends a transaction that only looks."""


def _left(fake: Any) -> int:
    """Return how many callbacks a process could take now."""
    store = fake.fake.world.store
    account, found = store.seen("sk-test"), 0
    with suppress(_Seen), store.begin(account) as facts:
        while facts.pop_due(facts.now()) is not None:
            found += 1
        raise _Seen
    return found


def test_an_attempt_asked_for_by_hand_that_never_ended(
    url: str, process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written down before it is sent, as those of the schedule are: the receiver may have had it."""
    first = process(url)
    _, made = first.create("completed queued=1 runs=1", callback_url=HOOK)
    first.advance(5)
    (owed,) = first.control("GET", "/deliveries")["deliveries"]
    first.receiver.meanwhile = _die
    with pytest.raises(SystemExit):
        first.control("POST", f"/deliveries/{owed['id']}/resend")
    second = process(url)
    wall = clocks.wall
    monkeypatch.setattr(clocks, "wall", lambda: wall() + 120)

    second.control("POST", f"/deliveries/{owed['id']}/resend")

    (kept,) = second.control("GET", f"/deliveries?task_id={made['id']}")["deliveries"]
    assert [one["outcome"] for one in kept["attempts"]] == ["2xx", "unknown", "2xx"]


def _die() -> None:
    raise SystemExit
