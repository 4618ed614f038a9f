"""Hearing callbacks: a WSGI application that answers at once, trusts nothing, and acts once.

Deliveries are unsigned (D: the document names no signature), so a callback is a hint and no more: what it says of the task
is never used, only its id, and the task is read with the key before anything happens. No URL in it is ever fetched.
"""

import contextlib
import hmac
import json
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kling_client import timing
from kling_client.errors import ApiError, NetworkError, RateLimited, ServerError
from kling_client.settings import check_seconds, check_whole
from kling_client.tasks import Task, is_usable_id
from kling_client.timing import Sleep

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
log = logging.getLogger("kling_client.webhook")

MAX_BODY_BYTES = 1 << 20
# Read and dropped beyond that, so that the sender sees the answer and not a cut connection.
_DRAINED_BYTES = 16 << 20
_CHUNK = 1 << 16
_LONGEST_WAIT = 600.0
"""Seconds: a service that asks for a longer pause is not waited for; polling finds the task later."""
_PARALLEL = 16
"""Tasks that are confirmed and acted on at the same time: one that takes long delays no other."""


class Once:
    """A ledger of effects: each key's effect happens once, however many see the occasion at the same time.

    Args:
        folder: keeps the ledger over restarts, as one empty file a key; None keeps it in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._done: set[str] = set()
        self._guard = threading.Lock()
        self._running: dict[str, threading.Lock] = {}

    def run(self, key: str, effect: Callable[[], Any]) -> bool:
        """Run *effect* unless it ran for *key* before; whoever comes while it runs waits. True when it ran now.

        An effect that raises has not happened: the error goes on, and the next call runs it again.
        """
        with self._guard:
            turn = self._running.setdefault(key, threading.Lock())
        with turn:
            if self.has(key):
                return False
            effect()
            self._mark(key)
            return True

    def has(self, key: str) -> bool:
        """Whether the effect of *key* has happened."""
        return key in self._done or (self._folder is not None and self._file(self._folder, key).exists())

    def count(self) -> int:
        """How many effects have happened in this process."""
        return len(self._done)

    def _mark(self, key: str) -> None:
        """Remember *key*, on disk first."""
        if self._folder is not None:
            self._file(self._folder, key).touch()
        self._done.add(key)

    @staticmethod
    def _file(folder: Path, key: str) -> Path:
        """The file of *key*; no key can lead out of the folder."""
        return folder / f"{quote(key, safe='')}.done"


class Watch:
    """A caller that waits for news of one task."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def wait(self, seconds: float, sleep: Sleep) -> bool:
        """Wait for so many seconds; True when news came, which is then used up."""
        if sleep is timing.sleep:
            self.event.wait(seconds)
        elif not self.event.is_set():
            sleep(seconds)
        heard = self.event.is_set()
        self.event.clear()
        return heard


class Receiver:
    """A WSGI application for callbacks.

    Args:
        read: reads a task with the key, as `Client.get`; None when only `watch` is used.
        effect: called once for each finished task that *read* confirms, in a thread of its own.
        path: where callbacks come in, a query string included if it has one. A secret in it keeps others out.
        known: whether a task id is one of ours. News of others is kept until `expect` names them. None: ask *read*, which
            does not find what is not ours.
        store: keeps the callback's JSON before it is answered; when it raises, the sender hears 500 and tries again.
        once: the ledger, shared with whoever else may see the same task finish.
        backlog: how many confirmations may wait, and how many early callbacks are kept; beyond that the sender hears 503.
        attempts: how often a confirmation or an effect that fails is tried.
        retry_wait: seconds before the second attempt, doubled before each further one.
        sleep: how to wait between attempts.
    """

    def __init__(
        self,
        read: Callable[[str], Task] | None = None,
        effect: Callable[[Task], Any] | None = None,
        *,
        path: str = "/",
        known: Callable[[str], bool] | None = None,
        store: Callable[[dict[str, Any]], Any] | None = None,
        once: Once | None = None,
        backlog: int = 1000,
        attempts: int = 5,
        retry_wait: float = 1.0,
        sleep: Sleep = timing.sleep,
    ) -> None:
        check_whole("backlog", backlog, 1)
        check_whole("attempts", attempts, 1)
        check_seconds("retry_wait", retry_wait, zero=True)
        self.once = once or Once()
        self._read, self._effect = read, effect
        self._target = path.encode()
        self._known, self._store = known, store
        self._attempts, self._retry_wait, self._sleep = attempts, retry_wait, sleep
        self._backlog, self._parallel = backlog, min(backlog, _PARALLEL)
        self._guard = threading.Lock()
        self._watches: dict[str, list[Watch]] = {}
        self._early: OrderedDict[str, None] = OrderedDict()
        self._queued: set[str] = set()
        self._active: set[str] = set()
        self._again: set[str] = set()
        self._queue: queue.Queue[str | None] = queue.Queue(backlog)
        self._workers: list[threading.Thread] = []
        self._idle = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Nothing slow happens here."""
        status, headers = self._answer(environ)
        empty = [] if status.startswith("204") else [("Content-Type", "text/plain"), ("Content-Length", "0")]
        start_response(status, [*headers, *empty])
        return [b""]

    @contextlib.contextmanager
    def watch(self, task_id: str) -> Iterator[Watch]:
        """Hear news of *task_id*; whoever watches confirms and acts himself. News that came early counts at once."""
        watch = Watch()
        with self._guard:
            self._watches.setdefault(task_id, []).append(watch)
            if task_id in self._early:
                del self._early[task_id]
                watch.event.set()
        try:
            yield watch
        finally:
            with self._guard:
                self._watches[task_id].remove(watch)
                if not self._watches[task_id]:
                    del self._watches[task_id]

    def expect(self, task_id: str) -> None:
        """*task_id* is ours, as its create's response has just said: news that came before that is looked at now."""
        with self._guard:
            early = task_id in self._early
            if early:
                del self._early[task_id]
        if early:
            self._enqueue(task_id)

    def drain(self) -> None:
        """Wait until everything heard so far has been confirmed and acted on, or given up."""
        self._queue.join()

    def close(self) -> None:
        """Finish what is queued, then stop the threads."""
        with self._guard:
            workers, self._workers = self._workers, []
        for _worker in workers:
            self._queue.put(None)
        for worker in workers:
            worker.join()

    def _answer(self, environ: Environ) -> tuple[str, list[tuple[str, str]]]:
        """Status line and headers for one request."""
        if not self._is_ours(environ):
            return "404 Not Found", []
        if environ.get("REQUEST_METHOD") != "POST":
            return "405 Method Not Allowed", [("Allow", "POST")]
        length = str(environ.get("CONTENT_LENGTH") or "")
        if not (length.isascii() and length.isdigit()):
            return "411 Length Required", []
        if int(length) > MAX_BODY_BYTES:
            _drop(environ["wsgi.input"], min(int(length), _DRAINED_BYTES))
            return "413 Content Too Large", []
        body = _callback(environ["wsgi.input"].read(int(length)))
        if body is None:
            return "400 Bad Request", []
        return self._accept(body), []

    def _accept(self, body: dict[str, Any]) -> str:
        """Keep a callback and see to it later; the status line says whether that worked."""
        try:
            if self._store is not None:
                self._store(body)
            self._take(body["id"])
        except queue.Full:
            return "503 Service Unavailable"
        except Exception:
            log.exception("a callback could not be kept")
            return "500 Internal Server Error"
        return "204 No Content"

    def _take(self, task_id: str) -> None:
        """News of a task: to whoever watches it, to the thread, or kept until it is known."""
        with self._guard:
            watches = self._watches.get(task_id, ())
            for watch in watches:
                watch.event.set()
            if watches:
                return
            if self.once.has(task_id):
                return
            ours = self._effect is not None and (self._known is None or self._known(task_id))
            if not ours:
                self._keep_early(task_id)
        if ours:
            self._enqueue(task_id)

    def _keep_early(self, task_id: str) -> None:
        """Remember news of a task that is not known yet; the oldest give way."""
        self._early[task_id] = None
        self._early.move_to_end(task_id)
        while len(self._early) > self._backlog:
            self._early.popitem(last=False)

    def _enqueue(self, task_id: str) -> None:
        """Have *task_id* confirmed, once for any number of callbacks that wait. Raises queue.Full."""
        with self._guard:
            if task_id in self._queued or task_id in self._again:
                return
            self._queue.put_nowait(task_id)
            self._queued.add(task_id)
            if self._idle < len(self._queued) and len(self._workers) < self._parallel:
                worker = threading.Thread(target=self._work, name="kling-receiver", daemon=True)
                self._workers.append(worker)
                self._idle += 1
                worker.start()

    def _work(self) -> None:
        """Confirm and act, one task after the other; other threads do so for other tasks."""
        while True:
            task_id = self._queue.get()
            with self._guard:
                self._idle -= 1
                self._queued.discard(task_id or "")
            try:
                if task_id is None:
                    return
                self._see_to_in_turn(task_id)
            finally:
                with self._guard:
                    self._idle += task_id is not None
                self._queue.task_done()

    def _see_to_in_turn(self, task_id: str) -> None:
        """See to a task in one thread at a time: however many callbacks come meanwhile, it is read once more."""
        with self._guard:
            if task_id in self._active:
                self._again.add(task_id)
                return
            self._active.add(task_id)
        again = True
        while again:
            try:
                self._see_to(task_id)
            except BaseException:
                # Whatever an effect or a log raises, SystemExit included, the next task has its turn.
                with contextlib.suppress(Exception):
                    log.exception("the effect of %s failed", task_id)
            with self._guard:
                again = task_id in self._again
                self._again.discard(task_id)
                if not again:
                    self._active.discard(task_id)

    def _see_to(self, task_id: str) -> None:
        """Try to confirm and act, within the attempts. A callback that the service does not confirm has no effect."""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(self._retry_wait * 2 ** (attempt - 1))
            try:
                return self._confirm(task_id)
            except (NetworkError, ServerError) as error:
                log.warning("%s could not be confirmed: %s", task_id, error)
            except ApiError as error:
                asked = error.retry_after or 0.0
                if not (asked or isinstance(error, RateLimited)) or asked > _LONGEST_WAIT:
                    return log.warning("a callback for %s was not confirmed: %s", task_id, error)
                self._sleep(asked)
            except Exception:
                log.exception("the effect of %s failed", task_id)
        return log.error("%s was given up after %d attempts", task_id, self._attempts)

    def _confirm(self, task_id: str) -> None:
        """Read the task, and act if it is finished. What the callback said of it does not matter."""
        if self.once.has(task_id) or self._read is None or self._effect is None:
            return
        task, effect = self._read(task_id), self._effect
        if task.finished:
            self.once.run(task.id, lambda: effect(task))

    def _is_ours(self, environ: Environ) -> bool:
        """Whether the request is for the receiver's path; compared in constant time, for it may be a secret."""
        query = environ.get("QUERY_STRING") or ""
        path = quote(
            environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), encoding="latin-1", safe="/%:@!$&'()*+,;=~"
        )
        asked = f"{path or '/'}?{query}" if b"?" in self._target else path or "/"
        return hmac.compare_digest(asked.encode(), self._target)


def _callback(content: bytes) -> dict[str, Any] | None:
    """The JSON object with a task id in *content*, None when it is anything else."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    has_id = isinstance(body, dict) and isinstance(body.get("id"), str) and is_usable_id(body["id"])
    return body if has_id else None


def _drop(stream: Any, size: int) -> None:
    """Read *size* bytes and forget them."""
    while size > 0:
        data = stream.read(min(size, _CHUNK))
        if not data:
            return
        size -= len(data)
