"""What a call costs on a store that processes share: connections taken, transactions and statements, counted exactly."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event

from kling_mock.media.frames import Frames
from kling_mock.store.interface import Queued
from kling_mock.store.sql.database import Database

KEY = "sk-test"


class Counted:
    """Counts what a fake takes of its database from now on."""

    def __init__(self, fake: Any, patch: pytest.MonkeyPatch) -> None:
        self.taken: Counter[str] = Counter()
        database: Database = fake.fake.world.store.database
        for name in ("reading", "changing", "writing"):
            patch.setattr(database, name, partial(self._count, name, getattr(database, name)))
        event.listen(database.engine, "checkout", lambda *_: self.taken.update(["connection"]))

    def _count(self, name: str, take: Callable[[], Any]) -> Any:
        self.taken[name] += 1
        return take()

    def during(self, call: Callable[[], Any]) -> dict[str, int]:
        """Return what a successful call took."""
        self.taken.clear()
        assert call()[0] == 200
        return dict(self.taken)


def test_a_call_takes_one_connection(url: str, process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A create is one transaction, an idempotent one too; its account is read before, and its journal entry is written after it."""
    fake = process(url)
    made = fake.create()[1]["id"]
    counted = Counted(fake, monkeypatch)
    create = {"connection": 1, "reading": 1, "writing": 1, "changing": 1}

    assert counted.during(fake.create) == create
    assert counted.during(lambda: fake.create(again="a" * 16)) == create | {"reading": 2}
    assert counted.during(lambda: fake.create(again="a" * 16)) == create | {"reading": 2}
    assert counted.during(lambda: fake.call("GET", f"/v1/tasks/{made}")) == {
        "connection": 1,
        "reading": 1,
        "changing": 2,
    }


def test_nothing_is_held_while_an_image_is_looked_at(
    url: str, process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes, others have the connection meanwhile."""
    fake = process(url)
    pool, held = fake.fake.world.store.database.engine.pool, []
    judge = Frames.judge

    def looked(*given: Any) -> Any:
        held.append(pool.checkedout())
        return judge(*given)

    monkeypatch.setattr(Frames, "judge", looked)
    assert fake.create(image_start="https://image.test/641x481.png")[0] == 200
    assert held == [0]


def test_a_queued_scenario_is_seen_by_the_next_create(url: str, process: Callable[..., Any]) -> None:
    """The account's row says whether there is one to look for: its own, then the server's, then none."""
    fake = process(url)
    fake.create()
    store = fake.fake.world.store
    for account in (store.seen(KEY), None):
        store.queue(account, Queued("failed", {}, 1))

    found = [fake.create(scenario="")[1]["id"] for _ in range(3)]
    shown = {task["id"]: task["scenario"] for task in fake.control("GET", "/tasks")["tasks"]}
    assert [shown[one].split()[0] for one in found] == ["failed", "failed", "completed"]


def test_journal_numbers_go_on(url: str, process: Callable[..., Any]) -> None:
    """Whoever remembers a number misses nothing, though every entry was forgotten, or those of the account that came last."""
    fake = process(url)
    journal = fake.fake.world.journal
    for whose in (None, "a", "b"):
        for account in ("a", "b"):
            journal.add(1.0, account, "exchange")
        last = journal.next_seq
        journal.forget(whose)
        assert [one.account for one in journal.entries()] == [one for one in ("a", "b") if whose not in (None, one)]
        assert journal.next_seq == last
        journal.forget()
    journal.add(1.0, "a", "exchange")
    assert [one.seq for one in journal.entries()] == [last]


@pytest.mark.parametrize("name", ["task-\0", "task-\ud800", "täsk", ""])
def test_a_name_that_no_text_has_is_unknown(any_url: str, process: Callable[..., Any], name: str) -> None:
    """PostgreSQL keeps no NUL, and no database half a character pair: there is no such task, and the store is there."""
    store = process(any_url).fake.world.store
    account = store.seen(KEY)
    assert (store.task(account, name), store.delivery(account, name), store.owner(name)) == (None, None, None)
    assert store.read(account, name, 60.0) is None
    assert list(store.deliveries(account, name)) == []
    with store.begin(account) as facts:
        assert (facts.task(name), facts.delivery(name)) == (None, None)


def test_what_a_thread_leaves_to_be_written_is_masked_and_written_once(url: str, process: Callable[..., Any]) -> None:
    """By whoever keeps it, at the latest where the block ends; another thread's entries do not wait for it."""
    journal = process(url).fake.world.journal
    with journal.gathered() as taken:
        journal.add(1.0, "a", "exchange", url="/v1/tasks?api_key=sk-hidden-away")
        other = Thread(target=journal.add, args=(2.0, "b", "exchange"))
        other.start()
        other.join()
        left = taken()
        journal.add(3.0, "c", "exchange")
        assert [one.account for one in journal.entries()] == ["b"]
        journal.keep(left)
        assert [one.account for one in journal.entries()] == ["b", "a"]
    journal.add(4.0, "d", "exchange")

    assert [one.account for one in journal.entries()] == ["b", "a", "c", "d"]
    assert "sk-hidden-away" not in left[0].url


def test_many_entries_are_written_in_their_order(url: str, process: Callable[..., Any]) -> None:
    """However many statements that takes; whole moments and entries of no account among them."""
    journal = process(url).fake.world.journal
    journal.add_all(
        [(number, None if number % 3 else "a", "exchange", {"body": b"%d" % number}) for number in range(200)]
    )

    entries = journal.entries()
    assert [one.at for one in entries] == [*range(200)]
    assert [one.body for one in entries] == [b"%d" % number for number in range(200)]
    assert [one.account for one in entries[:3]] == ["a", None, None]
    assert [one.seq for one in entries] == sorted(one.seq for one in entries)
