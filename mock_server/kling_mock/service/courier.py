"""Makes time happen: one step settles what fell due in an account and sends the callbacks that are owed.

A thread takes that step for clocks that run; moving a manual clock takes it at each moment on the way. No transaction is open while
sending, because receivers read the task before they respond.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from kling_mock import clock as clocks
from kling_mock.core.deliveries import Attempt, Delivery, attempt_facts
from kling_mock.core.moments import after
from kling_mock.service.senders import AT_ONCE, Owed, Sender, Senders, Sending
from kling_mock.service.timeline import Event
from kling_mock.service.world import World
from kling_mock.store.interface import Account, StoreDown, Transaction

_BATCH = 256
_FOLLOWED, _BREATH = 128, 0.0003
"""Of clocks that run so many events happen at a time; after as many the thread that serves has the interpreter for some real seconds."""
_LONG = 3600.0
_REST = 1.0
_PAUSE = 1.0

_log = logging.getLogger(__name__)


class Courier:
    """Lets due things happen and sends what is owed."""

    def __init__(self, world: World, sender: Sender, *, sends: bool = True) -> None:
        """Without *sends* callbacks of clocks that run are left to the couriers of other processes."""
        self._world, self._store = world, world.store
        self._sends = sends
        self._senders = Senders(world, sender)
        # No more is taken from a store that processes share than there are senders, so that nothing taken waits here.
        self._at_once = AT_ONCE if world.store.blocking else _BATCH
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
        self._senders.take_no_more()
        self._store.wake()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        self._senders.stop()

    def _follow(self) -> None:
        while not self._stopping:
            try:
                self._let_due_happen()
            except StoreDown as error:
                self._world.measures.store_error()
                _log.warning("%s; the courier tries again in %g s", error, _PAUSE)
                clocks.pause(_PAUSE)
            except Exception:
                _log.exception("the courier failed, and goes on in %g s", _PAUSE)
                clocks.pause(_PAUSE)

    def _let_due_happen(self) -> None:
        """Let what is due happen, in several accounts at once where the store says so, and begin to send what is owed."""
        happened: list[tuple[Account, list[Event]]] = []
        room = self._senders.room()
        if not room:
            return
        with self._store.due(_LONG, min(_BATCH, room)) as several:
            for facts in several:
                events = self._world.timeline.events(facts, facts.now(), _FOLLOWED, room)
                if events:
                    happened.append((facts.account, events))
                    room -= sum(event.delivery is not None for event in events)
        for account, events in happened:
            self._carry_out(account, events)
            if len(events) == _FOLLOWED:
                clocks.pause(_BREATH)

    def _carry_out(
        self, account: Account, events: Sequence[Event], *, waits: bool = False
    ) -> list[tuple[Event, Sending | None]]:
        """Count what happened, and begin to send what is owed; its transaction has ended. *waits*: the caller waits for it anyway."""
        happened: list[tuple[Event, Sending | None]] = []
        here = waits and sum(event.delivery is not None for event in events) == 1
        self._world.measures.tasks_came([event.status for event in events if event.status is not None])
        for event in events:
            sending, owed = None, event.delivery
            if owed is not None and event.task is not None:
                if event.lost is not None:
                    self._note_lost(account, owed, event.lost)
                sending = self._senders.send(Owed(account, owed, event.task, event.at), here=here)
            happened.append((event, sending))
        return happened

    # Steps

    def settle(self, account: Account) -> list[Sending]:
        """Let everything due by now happen; the callbacks that are returned may still be under way."""
        now, due = account.clock.now(), account.next_due()
        if due is None or due > now:
            return []
        sending = account.clock.mode == "manual" or not self._store.blocking
        return [future for _, future in self._let_happen(account, now, sending=sending) if future is not None]

    def begin(self, account: Account, cost: float = 0.0) -> AbstractContextManager[Transaction]:
        """Return a transaction in which everything due by now has happened, as far as it decides about a create of this *cost*.

        What is owed is sent once it has ended. Where transactions wait for a disk or a network this is a single one, and what was due
        happens again where it fails. In memory, what is due decides whether there are credits enough, and in an account that is full
        which tasks are dropped. Otherwise it is left to the thread that follows the clocks, which lets things happen many at a time, at
        half the price of one by one. With an infinite cost all that is due counts.
        """
        if self._store.blocking:
            return self._settled(account)
        full = self._world.service_settings.task_retention_count
        follows = self._thread is not None and account.clock.mode != "manual"
        if not follows or cost > account.credits or self._store.count_tasks(account) >= full:
            self.settle(account)
        return self._store.begin(account)

    def run_due(self, account: Account, now: float) -> list[dict[str, Any]]:
        """Let everything due at *now* happen, callbacks included; return it in order, as the control protocol shows it.

        Callbacks due at one moment are sent at the same time.
        """
        shown = []
        for event, sending in self._let_happen(account, now, waits=True):
            made = None if sending is None else sending.result()
            if event.delivery is None:
                shown.append(event.as_json())
            elif made is not None:  # else a reset came before it was made
                more = {"delivery_id": event.delivery.id, "attempt": made.number, "outcome": made.attempt.outcome}
                shown.append(event.as_json(**more))
        return sorted(shown, key=lambda one: one["kind"] == "attempt")

    def _let_happen(
        self, account: Account, now: float, *, sending: bool = True, waits: bool = False
    ) -> list[tuple[Event, Sending | None]]:
        """Let everything due at *now* happen, and begin to send what is owed. *waits*: the caller waits for that."""
        happened: list[tuple[Event, Sending | None]] = []
        more = True
        while more:
            with self._store.begin(account) as facts:
                events = self._world.timeline.events(facts, now, self._at_once, sending=sending)
            more = self._carried_out(facts.account, events, happened, waits=waits)
        return happened

    @contextmanager
    def _settled(self, account: Account) -> Iterator[Transaction]:
        """Return a transaction in which everything due by now has happened."""
        happened: list[tuple[Event, Sending | None]] = []
        more = True
        while more:
            with self._store.begin(account) as facts:
                sending = account.clock.mode == "manual"
                events = self._world.timeline.events(facts, facts.now(), self._at_once, sending=sending)
                if len(events) < self._at_once:
                    yield facts
            more = bool(events) and self._carried_out(facts.account, events, happened)

    def _carried_out(
        self,
        account: Account,
        events: Sequence[Event],
        happened: list[tuple[Event, Sending | None]],
        *,
        waits: bool = False,
    ) -> bool:
        """Add to *happened* what `_carry_out` returns; True where there may be more. What is sent from a shared store has ended then."""
        begun = self._carry_out(account, events, waits=waits)
        happened += begun
        if len(events) < self._at_once:
            return False
        if self._store.blocking:
            wait([future for _, future in begun if future is not None])
        return True

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
            for name in self._senders.names() if account is None else [account.name]:
                self._senders.wait_for(name)
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
        self._senders.wait_for(account.name, timeout)

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
            kept, task = facts.delivery(delivery.id), facts.task(delivery.task_id)
            if kept is None or task is None:
                return
            facts.start_attempt(kept, now, self._world.contract.delivery.timeout, extra=True)
        self._senders.send_now(Owed(facts.account, kept, task, now, extra=True))

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
