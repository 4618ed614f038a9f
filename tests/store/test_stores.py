"""What every store does when it is asked directly, and how a fake opens one."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from typing import Any

import pytest
from sqlalchemy import text

from kling_mock import app as app_module
from kling_mock import clock as clocks
from kling_mock.config import BadSetting, settings
from kling_mock.core.tasks import Frame, Plan, Status, Task
from kling_mock.store.memory import MemoryStore
from kling_mock.store.sql import database
from kling_mock.store.sql.store import SqlStore

START = 1_757_169_743.0
AGES = [(-inf, 4), (START - 1, 4), (START, 3), (START + 9.5, 3), (START + 10, 1), (START + 20, 0), (inf, 0)]


def a_task(number: int, created_at: float) -> Task:
    """Return a task that is over at once."""
    plan = Plan(Status.COMPLETED, 0.0, 0.0)
    return Task(f"task-{number}", number, created_at, "m", "i", Frame(1, 1), 720, 5, None, 1.0, 1.0, "completed", plan)


def test_tasks_are_counted_by_age(any_url: str, process: Callable[..., Any]) -> None:
    """Those created after a moment, that moment itself not included; of this account alone."""
    store = process(any_url).fake.world.store
    account, other = store.seen("sk-test"), store.seen("sk-other")
    with store.begin(account) as facts:
        for seconds in (0, 10, 10, 20):
            facts.add_task(a_task(facts.next_number(), START + seconds))
    with store.begin(other) as facts:
        for created_at in (-86_400.0, 0.0, START + 30):  # a clock may be started in any year
            facts.add_task(a_task(facts.next_number(), created_at))

    assert [(since, store.count_tasks(account, since)) for since, _ in AGES] == AGES
    assert (store.count_tasks(account), store.count_tasks(other)) == (4, 3)


def test_tasks_are_numbered_from_one(any_url: str, process: Callable[..., Any]) -> None:
    """In each account, and again after a reset: with a seed, ids and plans are drawn by these numbers."""
    store = process(any_url).fake.world.store
    for _ in range(2):
        for key in ("sk-test", "sk-other"):
            with store.begin(store.seen(key)) as facts:
                assert [facts.next_number() for _ in range(3)] == [1, 2, 3]
        store.reset(None)


def test_requests_are_counted_in_a_window_that_slides(any_url: str, process: Callable[..., Any]) -> None:
    """A request leaves it at its very end; a limit that is lowered below what was counted holds at once."""
    fake = process(any_url)
    store = fake.fake.world.store
    account = store.seen("sk-test")

    def waits(*moments: float) -> list[float | None]:
        found = []
        for moment in moments:
            fake.advance(moment - (store.refresh(account).clock.now() - START))
            found.append(store.count_request(store.refresh(account), 60.0))
        return found

    store.configure(account, {"rate_limit": 3})
    assert waits(0, 10, 25, 30, 59.5) == [None, None, None, 30.0, 0.5]
    assert waits(60, 60, 69.5, 70, 70) == [None, 10.0, 0.5, None, 15.0]
    store.configure(account, {"rate_limit": 1})
    assert waits(71, 85, 119.5, 120, 130, 130) == [14.0, 35.0, 0.5, 10.0, None, 60.0]
    assert waits(1000, 1000, 1100) == [None, 60.0, None]


def test_what_is_due_first_happens_first_whoever_has_it(any_url: str, process: Callable[..., Any]) -> None:
    """Moving every clock: accounts take turns by the moments of what is theirs."""
    fake = process(any_url)
    for key, (queued, runs) in {"sk-a": (4, 8), "sk-b": (2, 12), "sk-c": (1, 1), "sk-d": (6, 2)}.items():
        fake.create(f"completed queued={queued} runs={runs}", key=key)

    fired = fake.advance(100, key=None)

    assert [one["at"] - START for one in fired] == [1, 2, 2, 4, 6, 8, 12, 14]
    assert fake.control("GET", "/clock", key=None)["now"] == START + 100


def test_a_wait_ends_with_a_change(any_url: str, process: Callable[..., Any]) -> None:
    """At once where there has been one since; not before there is one."""
    store = process(any_url).fake.world.store
    account = store.seen("sk-test")
    before = store.changes(account)
    waiting = threading.Thread(target=store.wait, args=(account, before, 1000.0), daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()

    with store.begin(account) as facts:
        task = a_task(facts.next_number(), START)
        facts.add_task(task)
        facts.save(task)

    waiting.join()
    assert store.changes(account) != before
    store.wait(account, before, 1000.0)


def test_a_list_counts_what_can_be_read(any_url: str, process: Callable[..., Any]) -> None:
    """The total of a list has no task that is past its retention."""
    fake = process(any_url, service_settings={"task_retention_seconds": 100})
    for _ in range(3):
        assert fake.create()[0] == 200
        fake.advance(40)

    shown = fake.call("GET", "/v1/tasks")[1]
    assert (shown["total"], len(shown["data"])) == (2, 2)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The stores that were closed."""
    found: list[Any] = []
    for kind in (MemoryStore, SqlStore):
        close = kind.close
        monkeypatch.setattr(kind, "close", lambda self, close=close: (found.append(self), close(self)))
    return found


def test_a_fake_that_does_not_start_closes_its_store(any_url: str, closed: list[Any]) -> None:
    """A setting that turns out wrong once the store is open leaves no connection behind."""
    with pytest.raises(BadSetting, match="--scenario"):
        app_module.build(settings(store=any_url, scenario="no-such-scenario"))

    assert len(closed) == 1


@pytest.mark.parametrize("keeps", [False, True], ids=["from the pool", "kept"])
def test_what_comes_back_after_the_end_is_closed(url: str, keeps: bool) -> None:
    """A thread that is still at it when a store is closed leaves no connection open."""
    opened = database.Database(url)
    with ExitStack() as held:
        if keeps:
            held.enter_context(opened.held())
        with opened.reading() as connection:
            connection.execute(text("SELECT 1"))
            driver: Any = connection.connection.driver_connection
            opened.close()

    with pytest.raises(Exception, match="closed"):
        driver.cursor().execute("SELECT 1")


def test_a_fake_that_starts_keeps_its_store_open(any_url: str, closed: list[Any]) -> None:
    """And one that starts has it to itself."""
    fake = app_module.build(settings(store=any_url))

    assert not closed
    fake.world.store.close()


COST = 36


@pytest.mark.parametrize("then", ["completed", "no-such-scenario"])
def test_a_create_settles_what_has_ended_before_it(
    any_url: str, process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Credits for one task, which fails: the next create has them back. So it is when that one is refused."""
    fake = process(any_url, clock="real", start=None)
    store = fake.fake.world.store
    fake.control("PUT", "/account", {"credits": COST})
    assert fake.create("failed queued=1 runs=1")[0] == 200
    assert fake.create()[0] == 402
    monkeypatch.setattr(database, "_COMPARE", 1e9)  # else the database's clock, which has not moved, would win
    wall, monotonic = clocks.wall, clocks.monotonic
    monkeypatch.setattr(clocks, "wall", lambda: wall() + 60)
    monkeypatch.setattr(clocks, "monotonic", lambda: monotonic() + 60)

    refused = then == "no-such-scenario"
    assert fake.create(then)[0] == (400 if refused else 200)
    account = store.refresh(store.seen("sk-test"))
    assert account.credits == (COST if refused else 0)
    assert store.count_tasks(account) == (1 if refused else 2)


def test_a_courier_sleeps_until_it_is_woken(any_url: str, process: Callable[..., Any]) -> None:
    """Where nothing is due it is handed nothing, and it does not ask again and again."""
    store = process(any_url, clock="real", start=None).fake.world.store
    store.seen("sk-test")
    found: list[Any] = []

    def handed_out(seconds: float) -> list[Any]:
        with store.due(seconds, 8) as several:
            return list(several)

    sleeping = threading.Thread(target=lambda: found.append(handed_out(1000.0)), daemon=True)
    sleeping.start()
    sleeping.join(0.05)
    assert sleeping.is_alive()

    store.wake()

    sleeping.join()
    assert found == [[]]
    assert handed_out(0.01) == []


@pytest.mark.parametrize("up", [2.0, 100.0, 90 * 86_400.0])
def test_a_courier_sleeps_as_long_as_it_asks_to(
    process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, up: float
) -> None:
    """However long the machine has been up, and longer than a processor can wait: then it would fail every second."""
    store = process("memory", clock="real", start=None).fake.world.store
    now, slept = up, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    with monkeypatch.context() as patch:
        patch.setattr(clocks, "monotonic", lambda: now)
        patch.setattr(threading.Condition, "wait", lambda _, seconds: sleep(seconds))
        assert store.next_account(3600.0) is None

    assert slept == [3600.0]
