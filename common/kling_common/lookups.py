"""Name lookups in threads: the system's resolver takes no timeout, so a lookup that hangs is left behind.

At most so many run at once, and those who ask for the same host wait for the same one: a resolver that hangs costs a bounded number
of threads, however many requests come.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError

from kling_common.targets import IPAddress
from kling_common.wire import Deadline

Resolve = Callable[[str, int], Sequence[IPAddress]]

_AT_ONCE = 32


class Lookups:
    """Asks *resolve* for names. Safe to use from many threads."""

    def __init__(self, resolve: Resolve, at_once: int = _AT_ONCE) -> None:
        self._resolve = resolve
        self._room = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, int], Future[Sequence[IPAddress]]] = {}

    def ask(self, host: str, port: int, deadline: Deadline) -> Sequence[IPAddress] | Exception | None:
        """Return the addresses of *host*, or the exception of the resolver; None when neither came in time."""
        future = self._future(host, port, deadline)
        if future is None:
            return None
        try:
            return future.exception(deadline.left()) or future.result()  # type: ignore[return-value]
        except (LateError, TimeoutError):
            return None

    def _future(self, host: str, port: int, deadline: Deadline) -> "Future[Sequence[IPAddress]] | None":
        """Return the lookup of *host* that is under way, or a new one; None where there is no room for it in time."""
        with self._lock:
            if (host, port) in self._asked:
                return self._asked[host, port]
        if not self._room.acquire(timeout=deadline.left()):
            return None
        future: Future[Sequence[IPAddress]] = Future()
        with self._lock:
            self._asked[host, port] = future
        threading.Thread(target=self._look_up, args=(host, port, future), name="lookup", daemon=True).start()
        return future

    def _look_up(self, host: str, port: int, future: "Future[Sequence[IPAddress]]") -> None:
        try:
            future.set_result(self._resolve(host, port))
        except Exception as error:
            future.set_exception(error)
        finally:
            with self._lock:
                if self._asked.get((host, port)) is future:
                    del self._asked[host, port]
            self._room.release()
