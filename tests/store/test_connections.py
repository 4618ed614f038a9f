"""Connections that stay open between uses: never more than allowed, and none that is lost is used again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import TimeoutError as NoConnection

from kling_mock.store.sql import connections as module
from kling_mock.store.sql.connections import Connections

MOST, MOST_IDLE = 4, 2


@pytest.fixture
def opened() -> list[object]:
    """What the driver has opened."""
    return []


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[object]) -> Iterator[Connections]:
    """Four connections at most, two of them idle, and no patience."""
    monkeypatch.setattr(module, "MOST", MOST)
    monkeypatch.setattr(module, "MOST_IDLE", MOST_IDLE)
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    engine = create_engine(
        f"sqlite:///{tmp_path}/k.db", isolation_level="AUTOCOMMIT", pool_size=MOST_IDLE, max_overflow=MOST - MOST_IDLE
    )
    event.listen(engine, "connect", lambda found, _: opened.append(found))
    pool = Connections(engine)
    yield pool
    pool.close()


def works(connection: Connection) -> bool:
    """Whether it responds."""
    return bool(connection.exec_driver_sql("SELECT 1").scalar_one() == 1)


def test_the_last_used_is_used_next(pool: Connections, opened: list[object]) -> None:
    """One caller at a time needs one connection."""
    first = pool.take()
    pool.give(first)

    assert pool.take() is first
    assert len(opened) == 1


def test_no_more_than_allowed(pool: Connections) -> None:
    """Whoever comes when all are in use gets none; a place is free again once one is given back."""
    taken = [pool.take() for _ in range(MOST)]
    with pytest.raises(NoConnection, match="all 4 connections are in use"):
        pool.take()
    pool.give(taken.pop())

    assert works(pool.take())


def test_who_waits_gets_the_next(pool: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers beyond the limit wait until one is given back, and all of them are served."""
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    seen: list[int] = []

    def use(number: int) -> None:
        connection = pool.take()
        seen.append(number) if works(connection) else None
        pool.give(connection)

    taken = [pool.take() for _ in range(MOST)]
    with ThreadPoolExecutor(12) as threads:
        done = threads.map(use, range(100))
        for one in taken:
            pool.give(one)
        list(done)

    assert sorted(seen) == list(range(100))


def test_few_stay_open(pool: Connections) -> None:
    """After a crowd only so many are kept; the others are closed, and count no more."""
    taken = [pool.take() for _ in range(MOST)]
    for one in taken:
        pool.give(one)

    assert [one.closed for one in taken] == [False, False, True, True]
    assert all(works(pool.take()) for _ in range(MOST))


def test_one_that_fails_takes_the_idle_ones_with_it(pool: Connections) -> None:
    """They may be lost for the same reason; new ones take their places."""
    failed, idle = pool.take(), pool.take()
    pool.give(idle)
    pool.drop(failed)

    assert (failed.closed, idle.closed) == (True, True)
    assert all(works(pool.take()) for _ in range(MOST))


def test_a_lost_one_is_not_used_again(pool: Connections) -> None:
    """One that SQLAlchemy has found lost is closed when it is given back."""
    lost = pool.take()
    lost.invalidate()
    pool.give(lost)

    assert lost.closed
    assert works(pool.take())


def test_one_that_cannot_be_opened_takes_no_place(pool: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as it fails."""

    def fail() -> Connection:
        raise OSError("no more files")

    with monkeypatch.context() as patch:
        patch.setattr(pool.engine, "connect", fail)
        for _ in range(2 * MOST):
            with pytest.raises(OSError, match="no more files"):
                pool.take()

    assert all(works(pool.take()) for _ in range(MOST))
