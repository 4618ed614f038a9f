"""A cache bounded by bytes, in which two callers who want the same missing value wait for one computation."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Least recently used values are dropped as soon as the kept ones weigh more than *limit* bytes together.

    Safe for any number of threads. No lock is held while a value is made, so a slow one keeps nobody from the others.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        """Keep at most *limit* bytes as *weigh* counts them; with 0 nothing stays, though those who wait share it."""
        if limit < 0:
            raise ValueError(f"a cache keeps 0 bytes or more, not {limit}")
        self._limit = limit
        self._weigh = weigh
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._making: dict[K, Future[V]] = {}
        self._bytes = 0

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Value of *key*, computed by *make* where it is missing.

        An exception from *make* reaches every caller that waited for it and is not remembered: the next call tries
        again. A value heavier than the whole limit is returned and not kept.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
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
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def clear(self) -> None:
        """Forget what is kept; what is being made right now is kept when it is done."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes that the kept values weigh together."""
        return self._bytes

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
            weight = self._weigh(value)
        except BaseException as error:
            # Even a KeyboardInterrupt: whoever waits must not wait for ever.
            with self._lock:
                del self._making[key]
            future.set_exception(error)
            return
        with self._lock:
            del self._making[key]
            self._keep(key, value, weight)
        future.set_result(value)

    def _keep(self, key: K, value: V, weight: int) -> None:
        """Take *value* in and drop the oldest until the limit holds. Called with the lock held."""
        if weight > self._limit:
            return
        self._kept[key] = (value, weight)
        self._bytes += weight
        while self._bytes > self._limit:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped
