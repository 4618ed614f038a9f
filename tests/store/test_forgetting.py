"""Accounts that hold nothing: callers may invent any number of keys, and the memory store keeps a bounded number of them."""

import threading
from typing import Any

import pytest

from kling_mock.clock import Clock
from kling_mock.store.interface import Queued, Remembered
from kling_mock.store.journal import Journal
from kling_mock.store.memory import MemoryStore

START = 1_757_169_743.0
MOST = 10


@pytest.fixture
def store() -> MemoryStore:
    """A store that keeps ten accounts that hold nothing."""
    return MemoryStore(lambda: Clock("manual", now=START), 1000.0, Journal(), most_untouched=MOST)


def invent(store: MemoryStore, count: int, prefix: str = "sk-invented-") -> None:
    """See so many keys."""
    for number in range(count):
        store.seen(f"{prefix}{number}")


def test_invented_keys_do_not_add_up(store: MemoryStore) -> None:
    """However many keys are seen, no more accounts are kept than the stated number."""
    for number in range(20 * MOST):
        store.seen(f"sk-{number}")
        assert len(store.accounts()) <= MOST

    assert store.accounts()[-1].key == f"sk-{20 * MOST - 1}", "the newest are kept"


def touch(store: MemoryStore, account: Any, how: str) -> None:
    """Do one of the things that leave something in an account."""
    with store.begin(account) as facts:
        if how == "number":
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
        "relays": lambda: store.set_relays(account, {"https://a.example": "http://127.0.0.1:1"}),
        "names": lambda: store.set_names(account, {"a.example": []}),
        "queue": lambda: store.queue(account, Queued("failed", {}, 1)),
        "clock": lambda: store.clocks(account),
        "reset": lambda: store.reset(account),
    }
    doings.get(how, lambda: None)()


WAYS = (
    *("number", "count", "credits", "used", "idempotency", "models", "rate", "relays", "names", "queue", "clock"),
    "reset",
)


@pytest.mark.parametrize("how", WAYS)
def test_what_holds_something_is_kept(store: MemoryStore, how: str) -> None:
    """Anything a caller has done to an account keeps it, a clock of its own included."""
    account = store.seen("sk-mine")
    touch(store, account, how)
    invent(store, 20 * MOST)

    assert store.seen("sk-mine") is account
    assert account in store.accounts()
    assert store.named(account.name) is account


@pytest.mark.parametrize("how", WAYS)
def test_what_is_written_to_while_it_is_forgotten_comes_back(store: MemoryStore, how: str) -> None:
    """A request under way may still hold an account that was forgotten: nothing that it writes is lost."""
    account = store.seen("sk-mine")
    invent(store, 20 * MOST)
    assert account not in store.accounts()

    touch(store, account, how)

    assert account in store.accounts()
    assert store.named(account.name) is account
    assert store.seen("sk-mine") is account


def test_an_account_in_use_is_not_made_twice(store: MemoryStore) -> None:
    """As long as somebody holds a forgotten account, its key leads to the same one."""
    account = store.seen("sk-mine")
    invent(store, 20 * MOST)

    assert store.seen("sk-mine") is account
    assert account in store.accounts()


def test_new_ones_are_like_those_that_were_forgotten(store: MemoryStore) -> None:
    """What was set for all accounts holds for one that is seen again, too."""
    store.configure(None, {"credits": 7.0})
    store.set_relays(None, {"https://a.example": "http://127.0.0.1:1"})
    name = store.seen("sk-mine").name
    invent(store, 20 * MOST)
    assert store.named(name) is None

    again = store.seen("sk-mine")

    assert (again.name, again.credits) == (name, 7.0)
    assert again.relays == {"https://a.example": "http://127.0.0.1:1"}
    assert len(store.accounts()) <= MOST


def test_no_task_is_lost_among_invented_keys(store: MemoryStore) -> None:
    """Threads that create tasks while others invent keys: each task is in the account of its key."""
    found: list[Any] = []

    def create(thread: int) -> None:
        for number in range(50):
            account = store.seen(f"sk-{thread}-{number}")
            invent(store, MOST, f"sk-{thread}-{number}-")
            with store.begin(account) as facts:
                facts.next_number()
            found.append((account, store.seen(account.key)))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept = {account.key for account in store.accounts()}
    assert all(one is two and one.key in kept for one, two in found)
    assert len(found) == 200
