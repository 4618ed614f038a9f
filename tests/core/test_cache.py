"""The cache bounded by bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_mock.media.cache import ByteCache


@given(limit=st.integers(0, 60), asked=st.lists(st.integers(0, 8), max_size=60))
def test_it_agrees_with_a_plain_model_and_never_passes_its_bound(limit, asked):
    """Whatever is asked in whatever order: right values, least recently used dropped first, never above the limit."""
    cache: ByteCache[int, bytes] = ByteCache(limit, len)
    model: OrderedDict[int, int] = OrderedDict()
    for key in asked:
        size = key * 5
        made = []

        assert cache.get(key, lambda size=size, made=made: made.append(1) or bytes(size)) == bytes(size)

        assert bool(made) == (key not in model)
        if key in model:
            model.move_to_end(key)
        elif size <= limit:
            model[key] = size
            while sum(model.values()) > limit:
                model.popitem(last=False)
        assert cache.kept_bytes == sum(model.values()) <= limit
        assert len(cache) == len(model)
        assert all(each in cache for each in model)


class Seat:
    """A key that is equal to its like and tells when the cache has looked at it."""

    def __init__(self, look: Callable[[], None]) -> None:
        self.look = look

    def __hash__(self) -> int:
        self.look()
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seat)


@pytest.mark.parametrize("limit", [0, 1000])
def test_many_who_want_one_missing_value_compute_it_once(limit):
    """Eight threads are in the cache together; one computes, and all get that very object, kept or not."""
    cache: ByteCache[Seat, bytes] = ByteCache(limit, len)
    inside, all_inside = set(), threading.Event()
    made, got = [], []

    def look() -> None:
        inside.add(threading.get_ident())
        if len(inside) == 8:
            all_inside.set()

    def make() -> bytes:
        made.append(threading.get_ident())
        assert all_inside.wait(10)
        return bytes(10)

    def ask() -> None:
        got.append(cache.get(Seat(look), make))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(made) == 1
    assert len(got) == 8
    assert all(value is got[0] for value in got)
    assert len(cache) == (1 if limit else 0)


def test_a_slow_value_keeps_nobody_from_another():
    """While one thread computes, others read and compute different keys."""
    cache: ByteCache[str, bytes] = ByteCache(1000, len)
    started, go = threading.Event(), threading.Event()

    def slow() -> bytes:
        started.set()
        assert go.wait(10)
        return b"slow"

    thread = threading.Thread(target=cache.get, args=("slow", slow))
    thread.start()
    assert started.wait(10)
    assert cache.get("quick", lambda: b"quick") == b"quick"
    assert "slow" not in cache
    go.set()
    thread.join(10)
    assert "slow" in cache


def test_an_error_is_told_and_forgotten():
    """The error reaches the caller, and the next call tries again."""
    cache: ByteCache[str, bytes] = ByteCache(1000, len)

    def broken() -> bytes:
        raise OSError("no")

    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            cache.get("key", broken)
    assert cache.get("key", lambda: b"fine") == b"fine"


def test_clearing_forgets_everything():
    """After clear the next call computes again."""
    cache: ByteCache[str, bytes] = ByteCache(1000, len)
    cache.get("key", lambda: b"one")
    cache.clear()

    assert (len(cache), cache.kept_bytes) == (0, 0)
    assert cache.get("key", lambda: b"two") == b"two"


def test_a_negative_limit_is_refused():
    """A bound below nothing is a mistake of the caller."""
    with pytest.raises(ValueError, match="-1"):
        ByteCache(-1, len)
