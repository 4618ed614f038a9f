"""Sends callbacks: each attempt in a thread of its own, and what became of those that end meanwhile is recorded together."""

import logging
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Protocol

from kling_common.bodies import Payload
from kling_common.targets import IPAddress
from kling_common.transport import Outcome
from kling_mock.core.callbacks import origin_of
from kling_mock.core.deliveries import Attempt, Delivery, attempt_facts, next_due
from kling_mock.core.tasks import Task
from kling_mock.service.views import Notice
from kling_mock.service.world import World
from kling_mock.store.interface import Account, StoreDown, Transaction
from kling_mock.store.journal import New

AT_ONCE, _IN_MEMORY = 128, 64
"""Attempts that a process makes at a time, of a store that processes share, and of the one in its memory.

Of the first, half are under way while the other half is taken or recorded.
"""
TAKEN = AT_ONCE // 2
"""Fewer attempts than that are taken in hand only after a moment: a take costs as much as a dozen of them."""
_MOMENT = 0.01
_TOGETHER = AT_ONCE
"""Attempts that are recorded in one transaction."""
_UNRECORDED = 2 * AT_ONCE
"""Attempts that have ended and are not recorded, beyond which no more is taken in hand."""

_log = logging.getLogger(__name__)


class Sender(Protocol):
    """The part of the transport that sends a callback; it never raises."""

    def post(
        self,
        url: str,
        body: Payload,
        headers: dict[str, str],
        timeout: float,
        relay: str | None = None,
        names: Mapping[str, Sequence[IPAddress]] = ...,
    ) -> Outcome:
        """POST *body* within *timeout* real seconds."""
        ...


@dataclass(slots=True)
class Owed:
    """An attempt that is to be made now; `extra`: it was asked for by hand."""

    account: Account
    delivery: Delivery
    task: Task
    due: float
    extra: bool = False


@dataclass(slots=True)
class Made:
    """An attempt that was made, and its number among those of its delivery."""

    attempt: Attempt
    number: int


Sending = Future[Made | None]
"""An attempt under way; None where its task was forgotten before it ended."""


@dataclass(slots=True)
class _Ended:
    """An attempt that has ended and is to be recorded."""

    owed: Owed
    attempt: Attempt
    notice: Notice
    headers: dict[str, str]
    seconds: float
    sending: Sending


class Senders:
    """Threads that send, and record how it ended."""

    def __init__(self, world: World, sender: Sender) -> None:
        self._world, self._store, self._sender = world, world.store, sender
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[str, set[Sending]] = {}
        self._guard = threading.Lock()
        self._freed = threading.Condition(self._guard)
        self._posting = 0
        self._ended: deque[_Ended] = deque()
        self._recording = threading.Lock()
        self._stopping = False

    def take_no_more(self) -> None:
        """Let whoever waits in `room` return."""
        with self._guard:
            self._stopping = True
            self._freed.notify_all()

    def stop(self) -> None:
        """End. With a store that outlives the process the attempts under way end and are recorded, none is left in doubt."""
        if self._pool is not None:
            self._pool.shutdown(wait=self._store.blocking, cancel_futures=not self._store.blocking)
        if not self._store.blocking:
            with self._guard:
                left = [one for several in self._under_way.values() for one in several]
            for one in left:
                one.cancel()

    def room(self) -> int:
        """Return how many attempts may be taken in hand, once there is room for one; none after `take_no_more`.

        Of a store that processes share no more than there are threads: another process would send again what waits here for long.
        """
        if not self._store.blocking:
            return sys.maxsize
        with self._guard:
            while not self._stopping:
                if self._free() >= TAKEN or (not self._freed.wait(_MOMENT) and self._free() > 0):
                    return self._free()
        return 0

    def _free(self) -> int:
        return AT_ONCE - self._posting if len(self._ended) < _UNRECORDED else 0

    # Who waits

    def names(self) -> list[str]:
        """Return the names of the accounts of which an attempt is under way."""
        with self._guard:
            return [*self._under_way]

    def wait_for(self, name: str, timeout: float | None = None) -> None:
        """Return when no attempt of the account is under way, or after *timeout* real seconds."""
        while under_way := self._under_way.get(name):
            ended, _ = wait(list(under_way), timeout)
            if not ended:
                return
            with self._guard:
                under_way.difference_update([future for future in under_way if future.done()])
                if not under_way:
                    self._under_way.pop(name, None)

    def _done(self, name: str, sending: Sending) -> None:
        with self._guard:
            under_way = self._under_way.get(name)
            if under_way is not None:
                under_way.discard(sending)
                if not under_way:
                    del self._under_way[name]

    # Sending

    def send(self, owed: Owed, *, here: bool = False) -> Sending:
        """Make an attempt: in a thread, or *here*, which takes half as long for who would only wait for it."""
        sending: Sending = Future()
        with self._guard:
            self._under_way.setdefault(owed.account.name, set()).add(sending)
            self._posting += 1
            if not here:
                if self._pool is None:
                    threads = AT_ONCE if self._store.blocking else _IN_MEMORY
                    self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sender")
                self._pool.submit(self._attempt_in_turn, owed, sending)
        sending.add_done_callback(lambda done: self._done(owed.account.name, done))
        if here:
            self._attempt_in_turn(owed, sending)
        return sending

    def send_now(self, owed: Owed) -> Made | None:
        """Make an attempt, and return when it is recorded."""
        sending: Sending = Future()
        self._note_end(self._attempted(owed, sending))
        return sending.result()

    def _attempt_in_turn(self, owed: Owed, sending: Sending) -> None:
        ended = self._attempted(owed, sending) if sending.set_running_or_notify_cancel() else None
        with self._guard:
            self._posting -= 1
            if self._posting == AT_ONCE - TAKEN:
                self._freed.notify()
        self._note_end(ended)

    def _attempted(self, owed: Owed, sending: Sending) -> _Ended | None:
        """Make an attempt; None where there is nothing to record."""
        try:
            ended = self._post(owed, sending)
            if ended is None:
                sending.set_result(None)
            return ended
        except BaseException as error:
            sending.set_exception(error)
            return None

    def _post(self, owed: Owed, sending: Sending) -> _Ended | None:
        """Make an attempt; None where its task was forgotten meanwhile."""
        world, delivery, account = self._world, owed.delivery, owed.account
        if not self._store.blocking:  # in others it has just been recorded as begun
            account = self._store.refresh(account)
            if self._store.task(account, owed.task.id) is None or self._store.delivery(account, delivery.id) is None:
                return None
        sent = account.clock.now()
        notice = world.views.callback(account, owed.task, delivery)
        headers = {"content-type": notice.content_type}
        relay = account.relays.get(origin_of(delivery.url))
        patience = account.clock.real_seconds(world.contract.delivery.timeout)
        outcome = self._sender.post(delivery.url, notice.body, headers, patience, relay, account.names)
        world.measures.attempt(outcome.kind, sent - owed.due)
        ended = account.clock.now()
        attempt = Attempt(owed.due, sent, ended, outcome.kind, outcome.status, outcome.detail, owed.extra)
        return _Ended(owed, attempt, notice, headers, outcome.seconds, sending)

    # Recording

    def _note_end(self, ended: _Ended | None) -> None:
        if ended is not None:
            self._ended.append(ended)
            self._record()

    def _record(self) -> None:
        """Record what has ended, where no other thread is doing so; that one goes on until nothing is left."""
        while self._ended and self._recording.acquire(blocking=False):
            try:
                together = [self._ended.popleft() for _ in range(min(len(self._ended), _TOGETHER))]
                self._record_together(together)
            finally:
                self._recording.release()

    def _record_together(self, together: Sequence[_Ended]) -> None:
        try:
            made = self._recorded(together)
            self._world.journal.add_all([_entry(one, its) for one, its in zip(together, made, strict=True)])
        except BaseException as error:
            if not isinstance(error, StoreDown):
                _log.exception("%d attempts could not be recorded", len(together))
            for one in together:
                one.sending.set_exception(error)
        else:
            for one, its in zip(together, made, strict=True):
                one.sending.set_result(its)

    def _recorded(self, together: Sequence[_Ended]) -> list[Made]:
        """Keep attempts that have ended, and put the next one on the agenda where one is owed; return them in order."""
        if len(together) == 1 and not self._store.blocking:  # as with a manual clock, for thousands in a row
            with self._store.begin(together[0].owed.account) as own:
                return [self._kept(own, together[0])]
        accounts = {one.owed.account.name: one.owed.account for one in together}
        with self._store.begin_all([*accounts.values()], [one.owed.delivery.id for one in together]) as several:
            facts = dict(zip(accounts, several, strict=True))
            return [self._kept(facts[one.owed.account.name], one) for one in together]

    def _kept(self, facts: Transaction, one: _Ended) -> Made:
        owed, attempt = one.owed, one.attempt
        if owed.account.clock.mode == "manual" and attempt.ended != facts.now():  # it was moved meanwhile
            attempt = replace(attempt, ended=facts.now())
        kept = facts.delivery(owed.delivery.id)
        if kept is None:  # a reset came meanwhile
            return Made(attempt, len(owed.delivery.attempts) + 1)
        facts.end_attempt(kept, attempt)
        again = None if attempt.extra else next_due(kept, self._world.contract.delivery)
        if again is not None:
            facts.schedule(again, kept)
        return Made(attempt, len(kept.attempts))


def _entry(one: _Ended, made: Made) -> New:
    """Return what the journal has of an attempt; one that was asked for by hand is marked, and a body of which it keeps the start."""
    owed, attempt, body = one.owed, made.attempt, one.notice.body
    more = {"delivery_id": owed.delivery.id, "attempt": made.number, **attempt_facts(attempt)}
    if attempt.extra:
        more["resent"] = True
    if not isinstance(body, bytes):
        more["request_body_bytes"] = len(body)
    facts = {
        "method": "POST",
        "url": owed.delivery.url,
        "request_headers": one.headers,
        "request_body": body if isinstance(body, bytes) else body.start,
        "status": attempt.status,
        "seconds": one.seconds,
        "task_id": owed.task.id,
        "scenario": owed.task.scenario,
        "fault": one.notice.fault,
        "more": more,
    }
    return attempt.sent, owed.account.name, "attempt", facts
