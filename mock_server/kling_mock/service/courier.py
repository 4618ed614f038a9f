"""Makes time happen: `run_due(now)` is one step that settles what fell due and sends the callbacks that are owed.

A thread calls it for clocks that run; moving a manual clock calls it at each moment on the way. No lock is held while sending,
because receivers read the task before they answer.
"""

import heapq
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from kling_common.targets import IPAddress
from kling_mock import clock as clocks
from kling_mock.clock import Clock
from kling_mock.config import origin
from kling_mock.core.deliveries import Attempt, Delivery, next_due, scheduled, state
from kling_mock.service.timeline import Fired
from kling_mock.service.world import World
from kling_mock.store.memory import Account

_SENDERS = 32
_LONG = 3600.0
_REST = 1.0


class Outcome(Protocol):
    """How an attempt ended, as the transport tells it."""

    @property
    def kind(self) -> str:
        """One of 2xx, status, timeout, refused, dns, blocked."""
        ...

    @property
    def status(self) -> int | None:
        """The receiver's HTTP status, if it gave one."""
        ...

    @property
    def detail(self) -> str:
        """What happened, in words."""
        ...

    @property
    def seconds(self) -> float:
        """Real seconds it took."""
        ...


class Sender(Protocol):
    """The part of the transport that sends a callback; it never raises."""

    def post(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str],
        timeout: float,
        relay: str | None = None,
        names: Mapping[str, Sequence[IPAddress]] = ...,
    ) -> Outcome:
        """POST *body* within *timeout* real seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that `advance` brought about, as it is reported."""

    at: float
    kind: str
    task_id: str
    more: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The shape of `fired` in the control protocol."""
        return {"at": self.at, "kind": self.kind, "task_id": self.task_id, **self.more}


class Courier:
    """Lets due things happen and sends what is owed."""

    def __init__(self, world: World, sender: Sender) -> None:
        self._world = world
        self._sender = sender
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[str, set[Future[Attempt]]] = {}
        self._guard = threading.Lock()
        self._wake = threading.Condition(self._guard)
        self._alarms: list[tuple[float, str]] = []
        self._sleeping_until = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = False

    # The thread for clocks that run

    def start(self) -> None:
        """Follow every clock that runs, from a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name="courier", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; attempts under way are left to end."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def notice(self, account: Account) -> None:
        """Look at the account's agenda again, because something was put on it; nothing to do where an earlier alarm is set."""
        due = account.next_due()
        if due is None or due >= account.alarm:
            return
        left = account.clock.real_wait(due)
        if left is None:
            return
        account.alarm = due
        at = clocks.monotonic() + left
        with self._wake:
            heapq.heappush(self._alarms, (at, account.name))
            if at < self._sleeping_until:
                self._wake.notify()

    def notice_clock(self, account: Account) -> None:
        """Look at the account's agenda again, because its clock was set."""
        account.alarm = inf
        self.notice(account)

    def _follow(self) -> None:
        while not self._stopping:
            name = self._next_alarm()
            account = self._world.store.named(name) if name else None
            if account is not None:
                account.alarm = inf
                self.settle(account)
                self.notice(account)

    def _next_alarm(self) -> str | None:
        """Sleep until an alarm goes off, and say whose; None when something else woke the thread."""
        with self._wake:
            left = self._alarms[0][0] - clocks.monotonic() if self._alarms else _LONG
            if left <= 0:
                return heapq.heappop(self._alarms)[1]
            self._sleeping_until = clocks.monotonic() + left
            self._wake.wait(left)
            self._sleeping_until = 0.0
            return None

    # Steps

    def settle(self, account: Account) -> "list[Future[Attempt]]":
        """Everything due by now has happened when this returns, save that the callbacks it gives back may still be under way."""
        now = account.clock.now()
        due = account.next_due()
        if due is None or due > now:
            return []
        sending = []
        while (fired := self._world.timeline.pop(account, now)) is not None:
            if fired.delivery is not None:
                sending.append(self._send_later(account, fired.delivery, fired.at))
        return sending

    def run_due(self, account: Account, now: float) -> list[Happened]:
        """Everything due at *now*, in order, callbacks sent and answered. Those due at one moment are sent side by side."""
        happened: list[Happened] = []
        sent: list[tuple[Fired, Future[Attempt]]] = []
        while (fired := self._world.timeline.pop(account, now)) is not None:
            if fired.delivery is None:
                happened.append(_status(fired))
                continue
            future = self._send_later(account, fired.delivery, fired.at)
            sent.append((fired, future))
        for fired, future in sent:
            attempt = future.result()
            if (
                fired.delivery is not None and attempt in fired.delivery.attempts
            ):  # else a reset came before it was made
                happened.append(_attempt(fired, fired.delivery, attempt))
        return happened

    def advance(self, moved: list[Clock], accounts: list[Account], seconds: float) -> list[Happened]:
        """Move manual clocks forward by *seconds*; everything due on the way in *accounts* has happened when this returns.

        Raises:
            NotManual: one of the clocks runs by itself.
        """
        with ExitStack() as held:
            for account in sorted(accounts, key=lambda one: one.name):
                held.enter_context(account.advancing)
            for account in accounts:
                self.wait_for_senders(account)
            targets = {id(clock): clock.now() + seconds for clock in moved}
            happened: list[Happened] = []
            while (due := _earliest(accounts, targets)) is not None:
                moment, account = due
                account.clock.move_to(moment)
                happened += self.run_due(account, account.clock.now())
            for clock in moved:
                clock.move_to(targets[id(clock)])
        return happened

    def wait_for_senders(self, account: Account, timeout: float | None = None) -> None:
        """Return when no callback of the account is under way, or after *timeout* real seconds."""
        while under_way := self._under_way.get(account.name):
            ended, _ = wait(list(under_way), timeout)
            if not ended:
                return
            with self._guard:
                under_way.difference_update([future for future in under_way if future.done()])
                if not under_way:
                    self._under_way.pop(account.name, None)

    def come_to_rest(self, account: Account) -> None:
        """Under a manual clock, let what is due now have happened, callbacks answered, before somebody looks.

        A receiver that looks while it is being called is itself what this would wait for, so the wait is short.
        """
        if account.clock.mode == "manual":
            self.settle(account)
            self.wait_for_senders(account, _REST)

    # Sending

    def resend(self, account: Account, delivery: Delivery) -> Attempt:
        """One more attempt, now, whatever became of the others."""
        return self._send(account, delivery, account.clock.now(), extra=True)

    def _send_later(self, account: Account, delivery: Delivery, due: float) -> "Future[Attempt]":
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="sender")
            future = self._pool.submit(self._send, account, delivery, due)
            under_way = self._under_way.setdefault(account.name, set())
            under_way.add(future)
        future.add_done_callback(lambda done: self._done(account, done))
        return future

    def _done(self, account: Account, future: "Future[Attempt]") -> None:
        with self._guard:
            under_way = self._under_way.get(account.name)
            if under_way is not None:
                under_way.discard(future)
                if not under_way:
                    del self._under_way[account.name]

    def _send(self, account: Account, delivery: Delivery, due: float, *, extra: bool = False) -> Attempt:
        world = self._world
        policy = world.contract.delivery
        with account.lock:
            sent = account.clock.now()
            if delivery.id not in account.deliveries:
                return Attempt(due, sent, sent, "blocked", detail="the task was forgotten meanwhile", extra=extra)
            notice = world.views.callback(account, delivery)
            scenario = account.tasks[delivery.task_id].scenario
        body, headers = notice.body, {"content-type": notice.content_type}
        relay = account.relays.get(origin_of(delivery.url))
        patience = account.clock.real_seconds(policy.timeout)
        outcome = self._sender.post(delivery.url, body, headers, patience, relay, account.names)
        attempt = self._made(account, delivery, due, sent, outcome, extra)
        world.journal.add(
            sent,
            account.name,
            "attempt",
            method="POST",
            url=delivery.url,
            request_headers=headers,
            request_body=body,
            status=outcome.status,
            seconds=outcome.seconds,
            task_id=delivery.task_id,
            scenario=scenario,
            fault=notice.fault,
            more={"delivery_id": delivery.id, "attempt": len(delivery.attempts), **attempt_json(attempt)},
        )
        self.notice(account)
        return attempt

    def _made(
        self, account: Account, delivery: Delivery, due: float, sent: float, outcome: Outcome, extra: bool
    ) -> Attempt:
        """Keep an attempt that has ended, and put the next one on the agenda where one is owed."""
        with account.lock:
            ended = account.clock.now()
            attempt = Attempt(due, sent, ended, outcome.kind, outcome.status, outcome.detail, extra)
            delivery.attempts.append(attempt)
            again = None if extra else next_due(delivery, self._world.contract.delivery)
            if again is not None and delivery.id in account.deliveries:
                account.schedule(again, delivery)
            account.changed.notify_all()
        return attempt


def origin_of(url: str) -> str:
    """Scheme, host and port of a callback URL, in the spelling relays are kept in."""
    scheme, _, rest = url.partition("://")
    return origin(f"{scheme}://{rest.partition('/')[0].partition('?')[0].partition('#')[0]}")


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the control protocol lists it, without its number."""
    shown = {
        "due": attempt.due,
        "sent": attempt.sent,
        "ended": attempt.ended,
        "outcome": attempt.outcome,
        "status": attempt.status,
    }
    return {**shown, "detail": attempt.detail} if attempt.detail else shown


def delivery_json(delivery: Delivery, world: World) -> dict[str, Any]:
    """A delivery as the control protocol shows it."""
    policy = world.contract.delivery
    attempts = list(delivery.attempts)
    return {
        "id": delivery.id,
        "task_id": delivery.task_id,
        "url": delivery.url,
        "state": state(delivery, policy).value,
        "next_due": next_due(delivery, policy),
        "attempts": [{"attempt": number, **attempt_json(attempt)} for number, attempt in enumerate(attempts, 1)],
    }


def attempts_left(delivery: Delivery, world: World) -> int:
    """How many more attempts the policy could make of it."""
    policy = world.contract.delivery
    return 0 if next_due(delivery, policy) is None else len(policy.delays) + 1 - len(scheduled(delivery))


def _earliest(accounts: list[Account], targets: dict[int, float]) -> tuple[float, Account] | None:
    """The next thing due on the way, and whose it is."""
    found: tuple[float, Account] | None = None
    for account in accounts:
        due = account.next_due()
        if due is not None and due <= targets[id(account.clock)] and (found is None or due < found[0]):
            found = (due, account)
    return found


def _status(fired: Fired) -> Happened:
    return Happened(fired.at, fired.kind, fired.task_id, {"status": fired.status} if fired.status else {})


def _attempt(fired: Fired, delivery: Delivery, attempt: Attempt) -> Happened:
    number = delivery.attempts.index(attempt) + 1
    more = {"delivery_id": delivery.id, "attempt": number, "outcome": attempt.outcome}
    return Happened(fired.at, "attempt", fired.task_id, more)
