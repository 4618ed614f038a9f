"""Accounts that hold nothing: callers may invent any number of keys, and every store keeps a bounded number of them."""

import threading
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest

from kling_mock.clock import Clock
from kling_mock.core.tasks import Frame, Plan, Status, Task
from kling_mock.store.interface import Queued, Remembered, Store, StoredFile
from kling_mock.store.journal import Journal
from kling_mock.store.memory import MemoryStore
from kling_mock.store.sql.store import SqlStore

START = 1_757_169_743.0
MOST = 6
MANY = 4 * MOST
ROUNDS = 8


def opened(url: str) -> Any:
    """Return a store that keeps six accounts that hold nothing."""

    def clock() -> Clock:
        return Clock("manual", now=START)

    if url == "memory":
        return MemoryStore(clock, 1000.0, Journal(), most_untouched=MOST)
    return SqlStore(url, clock, 1000.0, entries=100, most_untouched=MOST)


@pytest.fixture
def store(any_url: str) -> Iterator[Store]:
    """One of each kind."""
    with closing(opened(any_url)) as made:
        yield made


def invent(store: Store, count: int, prefix: str = "sk-invented-") -> None:
    """See so many keys."""
    for number in range(count):
        store.seen(f"{prefix}{number}")


def kept(store: Store) -> set[str]:
    """Return the keys of the accounts that there are."""
    return {account.key for account in store.accounts()}


def test_invented_keys_do_not_add_up(store: Store) -> None:
    """However many keys are seen, no more accounts are kept than the stated number, and time and again nearly so many."""
    sizes = []
    for number in range(MANY):
        store.seen(f"sk-{number}")
        sizes.append(len(store.accounts()))

    assert MOST - 1 <= max(sizes[-MOST:]) <= max(sizes) <= MOST
    assert store.accounts()[-1].key == f"sk-{MANY - 1}", "the newest are kept"


def a_task(number: int) -> Task:
    """Return a task that is over at once."""
    plan = Plan(Status.COMPLETED, 0.0, 0.0)
    return Task(f"task-{number}", number, START, "m", "i", Frame(1, 1), 720, 5, None, 1.0, 1.0, "completed", plan, "")


def touch(store: Store, account: Any, how: str) -> None:
    """Do one of the things that leave something in an account."""
    blob = store.keep(BytesIO(b"x")) if how == "file" else None
    with store.begin(account) as facts:
        if how == "task":
            facts.add_task(a_task(facts.next_number()))
        elif blob is not None:
            facts.add_file(StoredFile("f", "f", "f", "image/png", blob, START, START + 1))
        elif how == "number":
            facts.next_number()
        elif how == "count":
            facts.count("upload")
        elif how == "credits":
            facts.credits = 5.0
        elif how == "used":
            facts.used = 5.0
        elif how == "idempotency":
            facts.remember("a" * 16, Remembered("body", START + 1, "task"))
    doings: dict[str, Any] = {
        "models": lambda: store.configure(account, {"models": frozenset({"m"})}),
        "rate": lambda: store.configure(account, {"rate_limit": 5}),
        "requests": lambda: count_a_request(store, account),
        "relays": lambda: store.set_relays(account, {"https://a.example": "http://127.0.0.1:1"}),
        "names": lambda: store.set_names(account, {"a.example": []}),
        "queue": lambda: store.queue(account, Queued("failed", {}, 1)),
        "clock": lambda: store.clocks(account),
        "reset": lambda: store.reset(account),
    }
    doings.get(how, lambda: None)()


def count_a_request(store: Store, account: Any) -> None:
    """Count one, under a limit that is lifted again."""
    store.configure(account, {"rate_limit": 5})
    store.count_request(account, 60.0)
    store.configure(account, {"rate_limit": None})


WAYS = (
    *("task", "file", "number", "count", "credits", "used", "idempotency", "models", "rate", "requests"),
    *("relays", "names", "queue", "clock", "reset"),
)


def test_what_holds_something_is_kept(store: Store) -> None:
    """Anything a caller has done to an account keeps it, a clock of its own included."""
    for how in WAYS:
        touch(store, store.seen(f"sk-{how}"), how)
    mine = [store.refresh(store.seen(f"sk-{how}")) for how in WAYS]
    held = [facts_of(store, account) for account in mine]
    invent(store, MANY)

    assert kept(store) > {account.key for account in mine}
    assert [account.name for account in mine if store.named(account.name) is None] == []
    assert [facts_of(store, account) for account in mine] == held


def facts_of(store: Store, account: Any) -> Any:
    """Return what shows whether an account is another one: its settings, and how often a caller changed it."""
    now = store.refresh(account)
    settings = (now.credits, now.used, now.models, now.rate_limit, dict(now.relays), dict(now.names))
    queued = [(one.name, one.used) for one in store.queued(now)]
    with store.begin(now) as facts:
        files = [one.id for one in facts.files()]
    return settings, queued, files, [one.id for one in store.tasks(now)], now.clock.now()


def test_what_is_written_to_while_it_is_forgotten_comes_back(store: Store) -> None:
    """A request under way may still hold an account that was forgotten: nothing that it writes is lost."""
    mine = []
    for how in WAYS:
        touch(store, store.seen(f"sk-{how}-other"), how)
        mine.append(store.seen(f"sk-{how}"))
    invent(store, MANY)
    assert not kept(store) & {account.key for account in mine}

    for how, account in zip(WAYS, mine, strict=True):
        touch(store, account, how)

    assert kept(store) > {account.key for account in mine}
    for how, account in zip(WAYS, mine, strict=True):
        assert facts_of(store, account) == facts_of(store, store.seen(f"sk-{how}-other")), how
    invent(store, MANY, "sk-more-")
    assert kept(store) > {account.key for account in mine}


def test_an_account_in_use_is_not_made_twice(store: Store) -> None:
    """As long as somebody holds a forgotten account, its key leads to the same one."""
    account = store.seen("sk-mine")
    invent(store, MANY)
    assert store.changes(account) == 0
    assert store.earliest(account, [(store.clock, START + 1)]) is None
    assert store.refresh(account).key == "sk-mine"

    again = store.seen("sk-mine")
    with store.begin(account) as facts:
        facts.credits = 5.0

    assert store.refresh(again).credits == 5.0
    assert store.refresh(account).credits == 5.0
    assert "sk-mine" in kept(store)


def test_those_that_are_seen_again_count_too(store: Store) -> None:
    """However many come back at once, and whenever: afterwards no more are kept than the stated number."""
    for many in (2, 3):
        held = [store.seen(f"sk-{many}-held-{number}") for number in range(many)]
        invent(store, MOST, f"sk-{many}-invented-")
        for number in range(MOST):
            store.seen(f"sk-{many}-between-{number}")
            for account in held:
                store.seen(account.key)

        invent(store, MOST, f"sk-{many}-more-")
        assert len(store.accounts()) <= MOST


def test_new_ones_are_like_those_that_were_forgotten(store: Store) -> None:
    """What was set for all accounts holds for one that is seen again, too."""
    store.configure(None, {"credits": 7.0})
    store.set_relays(None, {"https://a.example": "http://127.0.0.1:1"})
    name = store.seen("sk-mine").name
    invent(store, MANY)
    assert store.named(name) is None

    again = store.seen("sk-mine")

    assert (again.name, again.credits) == (name, 7.0)
    assert again.relays == {"https://a.example": "http://127.0.0.1:1"}
    assert len(store.accounts()) <= MOST


def test_no_task_is_lost_among_invented_keys(store: Store, any_url: str) -> None:
    """Threads of two processes that create tasks while others invent keys: each task is in the account of its key."""
    with closing(store if any_url == "memory" else opened(any_url)) as second:
        found: list[Any] = []

        def create(thread: int) -> None:
            mine, theirs = (store, second) if thread % 2 else (second, store)
            for number in range(ROUNDS):
                account = mine.seen(f"sk-{thread}-{number}")
                invent(theirs, MOST, f"sk-{thread}-{number}-")
                with mine.begin(account) as facts:
                    facts.add_task(a_task(facts.next_number()))
                found.append(account)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) == 4 * ROUNDS
        assert kept(store) >= {account.key for account in found}
        assert [len(store.tasks(store.seen(account.key))) for account in found] == [1] * len(found)
        assert len(store.accounts()) <= len(found) + MOST
