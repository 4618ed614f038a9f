"""Makes time happen: one step settles what fell due in an account and sends the callbacks that are owed.

A thread takes that step for clocks that run; moving a manual clock takes it at each moment on the way. No transaction is open while
sending, because receivers read the task before they respond.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

from kling_common.bodies import Payload
from kling_common.targets import IPAddress
from kling_common.transport import Outcome
from kling_mock import clock as clocks
from kling_mock.core.callbacks import origin_of
from kling_mock.core.deliveries import Attempt, Delivery, attempt_facts, next_due
from kling_mock.core.moments import after
from kling_mock.service.timeline import Event
from kling_mock.service.world import World
from kling_mock.store.interface import Account, StoreDown, Transaction

_SENDERS = 32
_BATCH = 256
_LONG = 3600.0
_REST = 1.0
_PAUSE = 1.0

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


@dataclass(frozen=True, slots=True)
class Made:
    """An attempt that was made, and its number among those of its delivery."""

    attempt: Attempt
    number: int


Sending = Future[Made | None]
"""An attempt under way; None where its task was forgotten before it ended."""


class Courier:
    """Lets due things happen and sends what is owed."""

    def __init__(self, world: World, sender: Sender, *, sends: bool = True) -> None:
        """Without *sends* callbacks of clocks that run are left to the couriers of other processes."""
        self._world, self._store = world, world.store
        self._sends = sends
        self._sender = sender
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[str, set[Sending]] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False

    # The thread for clocks that run

    def start(self) -> None:
        """Follow every clock that runs, from a thread of its own; not where that is left to other processes."""
        if not self._sends:
            return
        self._thread = threading.Thread(target=self._follow, name="courier", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; attempts under way are left to end."""
        self._stopping = True
        self._store.wake()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        if self._pool is not None:
            # With a store that outlives the process the attempts under way end and are recorded, none is left in doubt.
            self._pool.shutdown(wait=self._store.blocking, cancel_futures=not self._store.blocking)

    def _follow(self) -> None:
        while not self._stopping:
            try:
                account = self._store.next_account(_LONG)
                if account is not None:
                    self._let_happen(account, account.clock.now())
            except StoreDown as error:
                self._world.measures.store_error()
                _log.warning("%s; the courier tries again in %g s", error, _PAUSE)
                clocks.pause(_PAUSE)
            except Exception:
                _log.exception("the courier failed, and goes on in %g s", _PAUSE)
                clocks.pause(_PAUSE)

    # Steps

    def settle(self, account: Account) -> list[Sending]:
        """Let everything due by now happen; the callbacks that are returned may still be under way."""
        now, due = account.clock.now(), account.next_due()
        if due is None or due > now:
            return []
        sending = account.clock.mode == "manual" or not self._store.blocking
        return [future for _, future in self._let_happen(account, now, sending=sending) if future is not None]

    def begin(self, account: Account) -> AbstractContextManager[Transaction]:
        """Return a transaction in which everything due by now has happened; what is owed is sent once it has ended.

        Where transactions wait for a disk or a network this is a single one. What was due happens again where it fails.
        """
        if self._store.blocking:
            return self._settled(account)
        self.settle(account)
        return self._store.begin(account)

    @contextmanager
    def _settled(self, account: Account) -> Iterator[Transaction]:
        with self._happening(account, sending=account.clock.mode == "manual") as (facts, _):
            yield facts

    def run_due(self, account: Account, now: float) -> list[dict[str, Any]]:
        """Let everything due at *now* happen, callbacks included; return it in order, as the control protocol shows it.

        Callbacks due at one moment are sent at the same time.
        """
        shown = []
        for event, sending in self._let_happen(account, now):
            made = None if sending is None else sending.result()
            if event.delivery is None:
                shown.append(event.as_json())
            elif made is not None:  # else a reset came before it was made
                more = {"delivery_id": event.delivery.id, "attempt": made.number, "outcome": made.attempt.outcome}
                shown.append(event.as_json(**more))
        return sorted(shown, key=lambda one: one["kind"] == "attempt")

    def _let_happen(self, account: Account, now: float, *, sending: bool = True) -> list[tuple[Event, Sending | None]]:
        """Let everything due at *now* happen, and begin to send what is owed."""
        with self._happening(account, now, sending=sending) as (_, happened):
            pass
        return happened

    @contextmanager
    def _happening(
        self, account: Account, until: float | None = None, *, sending: bool
    ) -> Iterator[tuple[Transaction, list[tuple[Event, Sending | None]]]]:
        """Return a transaction in which everything due at *until*, or now, has happened; what happened is listed when it has ended.

        No more is taken from a store that processes share than there are senders, so that nothing taken waits here.
        """
        happened: list[tuple[Event, Sending | None]] = []
        timeline, batch = self._world.timeline, _SENDERS if self._store.blocking else _BATCH
        while True:
            with self._store.begin(account) as facts:
                now = facts.now() if until is None else until
                following = partial(timeline.next_event, facts, now, sending=sending)
                events = list(islice(iter(following, None), batch))
                if len(events) < batch:
                    yield facts, happened
            for event in events:
                if event.status is not None:
                    self._world.measures.task(event.status)
                if event.lost is not None and event.delivery is not None:
                    self._note_lost(account, event.delivery, event.lost)
                owed = event.delivery
                happened.append((event, None if owed is None else self._send_later(account, owed, event.at)))
            if len(events) < batch:
                return
            if self._store.blocking:
                wait([future for _, future in happened if future is not None])

    def cancel(self, account: Account, task_id: str) -> None:
        """End a task as cancelled, with what follows from it; one that has ended stays as it is."""
        self.settle(account)
        with self._store.begin(account) as facts:
            at = self._world.timeline.cancel(facts, task_id)
        if at is None:
            return
        sending = self._let_happen(account, at)
        if account.clock.mode == "manual":
            wait([one for _, one in sending if one is not None])

    def advance(self, account: Account | None, seconds: float) -> list[dict[str, Any]]:
        """Move the account's clock, or all, forward by *seconds*; everything due on the way has happened when this returns.

        Raises:
            NotManual: one of the clocks runs by itself.
        """
        store = self._store
        with store.advancing(account):
            for name in [*self._under_way] if account is None else [account.name]:
                self._wait_for(name)
            targets = [(clock, after(clock.now(), seconds)) for clock in store.clocks(account)]
            happened: list[dict[str, Any]] = []
            while (due := store.earliest(account, targets)) is not None:
                moment, whose = due
                store.move_clock(whose.clock, moment)
                whose = store.refresh(whose)
                happened += self.run_due(whose, whose.clock.now())
            for clock, moment in targets:
                store.move_clock(clock, moment)
        return happened

    def wait_for_senders(self, account: Account, timeout: float | None = None) -> None:
        """Return when no callback of the account is under way, or after *timeout* real seconds."""
        self._wait_for(account.name, timeout)

    def _wait_for(self, name: str, timeout: float | None = None) -> None:
        while under_way := self._under_way.get(name):
            ended, _ = wait(list(under_way), timeout)
            if not ended:
                return
            with self._guard:
                under_way.difference_update([future for future in under_way if future.done()])
                if not under_way:
                    self._under_way.pop(name, None)

    def come_to_rest(self, account: Account) -> None:
        """Under a manual clock, let what is due now have happened, callbacks included, before a caller looks.

        A receiver that looks while it is being called is itself what this would wait for, so the wait is short.
        """
        if account.clock.mode == "manual":
            self.settle(account)
            self.wait_for_senders(account, _REST)

    # Sending

    def resend(self, account: Account, delivery: Delivery) -> None:
        """Make one more attempt, now, whatever became of the others."""
        now = account.clock.now()
        with self._store.begin(account) as facts:
            kept = facts.delivery(delivery.id)
            if kept is not None:
                facts.start_attempt(kept, now, self._world.contract.delivery.timeout, extra=True)
        self._send(account, delivery, now, extra=True)

    def _note_lost(self, account: Account, delivery: Delivery, lost: Attempt) -> None:
        more = {"delivery_id": delivery.id, "attempt": len(delivery.attempts), **attempt_facts(lost)}
        self._world.note(
            account,
            "attempt",
            method="POST",
            url=delivery.url,
            task_id=delivery.task_id,
            fault="unknown outcome",
            more=more,
        )

    def _send_later(self, account: Account, delivery: Delivery, due: float) -> Sending:
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="sender")
            future = self._pool.submit(self._send, account, delivery, due)
            under_way = self._under_way.setdefault(account.name, set())
            under_way.add(future)
        future.add_done_callback(lambda done: self._done(account, done))
        return future

    def _done(self, account: Account, future: Sending) -> None:
        with self._guard:
            under_way = self._under_way.get(account.name)
            if under_way is not None:
                under_way.discard(future)
                if not under_way:
                    del self._under_way[account.name]

    def _send(self, account: Account, delivery: Delivery, due: float, *, extra: bool = False) -> Made | None:
        world, store = self._world, self._store
        account = store.refresh(account)
        task = store.task(account, delivery.task_id)
        if task is None or store.delivery(account, delivery.id) is None:
            return None
        sent = account.clock.now()
        notice = world.views.callback(account, task, delivery)
        body, headers = notice.body, {"content-type": notice.content_type}
        relay = account.relays.get(origin_of(delivery.url))
        patience = account.clock.real_seconds(world.contract.delivery.timeout)
        outcome = self._sender.post(delivery.url, body, headers, patience, relay, account.names)
        made = self._ended(
            account, delivery, Attempt(due, sent, sent, outcome.kind, outcome.status, outcome.detail, extra)
        )
        world.note(
            account,
            "attempt",
            sent,
            method="POST",
            url=delivery.url,
            request_headers=headers,
            request_body=body if isinstance(body, bytes) else body.start,
            status=outcome.status,
            seconds=outcome.seconds,
            task_id=delivery.task_id,
            scenario=task.scenario,
            fault=notice.fault,
            more=_journalled(delivery, made, extra) | _length(body),
        )
        return made

    def _ended(self, account: Account, delivery: Delivery, attempt: Attempt) -> Made:
        """Keep an attempt that has ended, and put the next one on the agenda where one is owed."""
        self._world.measures.attempt(attempt.outcome, attempt.sent - attempt.due)
        with self._store.begin(account) as facts:
            ended = replace(attempt, ended=facts.now())
            kept = facts.delivery(delivery.id)
            if kept is None:  # a reset came meanwhile
                return Made(ended, len(delivery.attempts) + 1)
            facts.end_attempt(kept, ended)
            again = None if ended.extra else next_due(kept, self._world.contract.delivery)
            if again is not None:
                facts.schedule(again, kept)
            return Made(ended, len(kept.attempts))


def _length(body: Payload) -> dict[str, Any]:
    """Return the length of a body of which the journal keeps the start."""
    return {} if isinstance(body, bytes) else {"request_body_bytes": len(body)}


def _journalled(delivery: Delivery, made: Made, extra: bool) -> dict[str, Any]:
    """Return what the journal has of an attempt; one that was asked for by hand is marked."""
    facts = {"delivery_id": delivery.id, "attempt": made.number, **attempt_facts(made.attempt)}
    return {**facts, "resent": True} if extra else facts
