"""Turns of calls: none is lost, what they add to the journal is there before the response, and nobody waits for one without end."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, get_ident
from typing import Any

import pytest

from kling_mock.service.creating import Look
from kling_mock.serving import turns
from kling_mock.serving.turns import Turn, Turns
from kling_mock.web.http import ApiResponse

DONE = ApiResponse(200, b"done")


class Ledger:
    """A journal that keeps what it is given, and how often that was."""

    def __init__(self) -> None:
        self.left: list[Any] = []
        self.kept: list[list[Any]] = []

    @contextmanager
    def gathered(self) -> Iterator[Callable[[], Sequence[Any]]]:
        """Leave what is added to be kept."""

        def taken() -> Sequence[Any]:
            entries, self.left = self.left, []
            return entries

        yield taken

    def keep(self, entries: Sequence[Any]) -> None:
        """Keep entries."""
        self.kept.append(list(entries))


class Store:
    """A store that says what it holds."""

    def __init__(self, few: int = 1, most: int = 1) -> None:
        self.calls_at_once = few, most
        self.journal = Ledger()
        self.held_now = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold one thing."""
        self.held_now += 1
        try:
            yield
        finally:
            self.held_now -= 1


def through(store: Any, *calls: Generator[Look[Any], None, Any]) -> list[Any]:
    """What came of calls, in the order in which they ended; the threads have let go of the store."""

    async def run() -> list[Any]:
        came: list[Any] = []
        all_told = asyncio.Event()

        def tell(ended: Sequence[Turn]) -> None:
            written = [entry for entries in store.journal.kept for entry in entries]
            assert all(entry in written for turn in ended for entry in turn.entries)
            came.extend(turn.came for turn in ended)
            if len(came) == len(calls):
                all_told.set()

        of = Turns(store, threads, looking, tell)
        for number, steps in enumerate(calls):
            exchange: Any = number
            of.take(Turn(exchange, steps))
        await asyncio.wait_for(all_told.wait(), 30)
        return came

    with ThreadPoolExecutor(4) as threads, ThreadPoolExecutor(4) as looking:
        return asyncio.run(run())


def plain(response: ApiResponse, does: Callable[[], Any] = lambda: None) -> Generator[Look[Any], None, ApiResponse]:
    """A call that looks at nothing."""
    does()
    return response
    yield Look(lambda: None)


def test_calls_end_in_their_order_and_leave_nothing_held() -> None:
    """One thread goes through all of them; what one of them fails with is what came of it, and the next goes on."""
    store, threads = Store(), set[int]()
    responses = [ApiResponse(200, str(number).encode()) for number in range(40)]

    def fails() -> None:
        raise KeyError("no")

    def note() -> None:
        threads.add(get_ident())

    came = through(store, *(plain(it, note) for it in responses), plain(DONE, fails), plain(DONE))

    assert came[:40] == responses
    assert isinstance(came[40], KeyError)
    assert (came[41], store.held_now) == (DONE, 0)


def test_entries_are_written_together_and_before_their_responses() -> None:
    """So many calls at a time; `through` holds each response against what is written."""
    store = Store()

    def adds(number: int) -> Generator[Look[Any], None, ApiResponse]:
        return plain(DONE, lambda: store.journal.left.append(number))

    assert through(store, *map(adds, range(20))) == [DONE] * 20
    assert [entry for entries in store.journal.kept for entry in entries] == list(range(20))
    assert max(map(len, store.journal.kept)) <= turns._TOGETHER


def test_a_response_is_given_though_its_entry_could_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the log says so."""
    store = Store()
    monkeypatch.setattr(store.journal, "keep", lambda entries: {}[len(entries)])

    assert through(store, plain(DONE)) == [DONE]


def test_one_that_waits_for_the_next_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread goes on where none of the calls is begun, though the store likes one at a time."""
    monkeypatch.setattr(turns, "_STUCK", 0.0)
    met = Event()

    assert through(Store(), plain(DONE, lambda: met.wait(30)), plain(DONE, met.set)) == [DONE, DONE]


def test_what_has_ended_is_told_though_its_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call's response is there before the second ends, which waits for whoever reads it."""
    monkeypatch.setattr(turns, "_STUCK", 0.0)
    store, read = Store(), Event()

    def keep(entries: Sequence[Any]) -> None:
        store.journal.kept.append(list(entries))
        read.set()

    monkeypatch.setattr(store.journal, "keep", keep)

    assert through(store, plain(DONE), plain(DONE, lambda: read.wait(30))) == [DONE, DONE]


def test_more_threads_go_where_the_store_likes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that wait long for a server far away meet, three at a time."""
    monkeypatch.setattr(turns, "_SLOW", 0.0)
    together = [Event(), Event(), Event()]

    def meet(mine: int) -> None:
        together[mine].set()
        for other in together:
            other.wait(30)

    calls = [plain(DONE, lambda mine=mine: meet(mine)) for mine in range(3)]  # type: ignore[misc]

    assert through(Store(1, 3), *calls) == [DONE] * 3


def test_what_a_call_looks_at_keeps_no_other_from_its_turn() -> None:
    """The second call ends first; the first goes on once it has looked."""
    seen = Event()

    def looks() -> Generator[Look[Any], None, ApiResponse]:
        look = Look(lambda: seen.wait(30))
        yield look
        return ApiResponse(200, str(look.result()).encode())

    came = through(Store(), looks(), plain(DONE, seen.set))

    assert sorted(it.body for it in came) == [b"True", b"done"]
