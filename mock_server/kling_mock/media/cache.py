"""A cache bounded by bytes, in which two callers who want the same missing value wait for one computation."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Least recently used values are dropped as soon as the kept ones weigh more than *limit* bytes together.

    Safe for any number of threads. No lock is held while a value is made, so a slow one does not delay the others.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        """Keep at most *limit* bytes as *weigh* counts them; with 0 nothing stays, though those who wait share it."""
        if limit < 0:
            raise ValueError(f"a cache keeps 0 bytes or more, not {limit}")
        self._weigh = weigh
        self._lock = threading.Lock()
        self._kept: LRUCache[K, V] = LRUCache(limit, getsizeof=weigh)
        self._making: dict[K, Future[V]] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Value of *key*, computed by *make* where it is missing.

        An exception from *make* reaches every caller that waited for it and is not remembered: the next call tries
        again. A value heavier than the whole limit is returned and not kept.
        """
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            making = self._making.get(key)
            mine = making is None
            if making is None:
                making = self._making[key] = Future()
        if mine:
            self._make(key, make, making)
        return making.result()

    def peek(self, key: K) -> V | None:
        """Value of *key* if it is kept; nothing is computed."""
        with self._lock:
            return self._kept.get(key)

    def clear(self) -> None:
        """Forget what is kept; what is being made right now is kept when it is done."""
        with self._lock:
            self._kept.clear()

    @property
    def kept_bytes(self) -> int:
        """Bytes that the kept values weigh together."""
        return int(self._kept.currsize)

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._kept)

    def __contains__(self, key: object) -> bool:
        """Whether *key* is kept; asking does not count as a use."""
        return key in self._kept

    def _make(self, key: K, make: Callable[[], V], future: Future[V]) -> None:
        """Compute one value, keep it, and wake those who wait for it."""
        try:
            value = make()
            fits = self._weigh(value) <= self._kept.maxsize
        except BaseException as error:
            # Even a KeyboardInterrupt: whoever waits must not wait for ever.
            with self._lock:
                del self._making[key]
            future.set_exception(error)
            return
        with self._lock:
            del self._making[key]
            if fits:
                self._kept[key] = value
        future.set_result(value)
