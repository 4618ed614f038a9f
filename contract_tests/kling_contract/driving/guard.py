"""The money guard: what may be sent to a service that bills, decided before it is sent.

It counts the worst case: that the service takes the request and charges all of it. A create whose reply was lost, or is no
answer to a create, may have been taken, so it counts as accepted and ends the run. One that was refused goes on counting until
a reading of the balance shows that it was not charged. Readings of the balance are held against what was sent.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kling_contract.driving.balance import Books

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that cost nothing."""
LONGEST_PAUSE = 120.0
"""Seconds of a Retry-After that are waited for; a service that asks for more ends the run."""
_CENT = 1e-9


class Stopped(Exception):
    """A cap of money or time ends the run; the message is one line for the user."""


class Withheld(Stopped):
    """One request is not sent, because it could pass a cap; what costs nothing may go on."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request may cost: dollars by the price list, dollars at worst, seconds of video."""

    expected: float = 0.0
    worst: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a run may use up; None for no cap.

    max_usd: dollars at worst. creates: how many may be accepted. seconds: of video. at_once: tasks under way at one time.
    wall: seconds of real time after which nothing that may cost is sent.
    """

    max_usd: float | None = None
    creates: int | None = 1
    seconds: float | None = None
    at_once: int | None = 1
    wall: float | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is guarded: the target is a fake."""
        return self.max_usd is None and self.creates is None


NO_CAPS = Caps(creates=None, at_once=None)


@dataclass(slots=True)
class Spent:
    """What a run may have cost so far: dollars at worst and by the price list, seconds, creates sent and accepted."""

    usd: float = 0.0
    expected: float = 0.0
    seconds: float = 0.0
    sent: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """One create that was accepted, or whose reply was lost: its name in the plan, its charge, the task it made."""

    name: str
    charge: Charge
    status: int | None
    task_id: str = ""
    planned: bool = True


class Guard:
    """Stands before every request that may cost money. Thread-safe.

    price: what a body may cost. clock: seconds that never run back. usd_per_credit: how a balance is read in dollars.
    """

    def __init__(
        self,
        price: Callable[[Any], Charge] = lambda _: Charge(),
        caps: Caps = NO_CAPS,
        *,
        usd_per_credit: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._price, self.caps, self._clock = price, caps, clock
        self.spent, self.books = Spent(), Books(usd_per_credit)
        self.accepted: list[Accepted] = []
        self.withheld: list[str] = []
        self._open: list[str] = []
        self._doubts: list[Charge] = []
        self._cleared = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self._began = clock()
        self._stopped = ""
        self._not_before = 0.0
        self._paused = 0
        self.silent = False
        """Whether the service asked for quiet, so that nothing at all is sent."""

    @property
    def free(self) -> bool:
        """Whether there is nothing to guard: the target is a fake."""
        return self.caps.free

    @property
    def stopped(self) -> str:
        """Why nothing that may cost is sent any more; empty while there is no reason."""
        return self._stopped

    def before(self, method: str, body: Any, name: str = "") -> Charge:
        """Let a request pass, its worst charge counted, and return that charge.

        Raises:
            Stopped: the run is over. Withheld: this request could pass a cap.
        """
        if method.upper() in SAFE or self.free:
            return Charge()
        with self._lock:
            if self._stopped:
                raise Stopped(self._stopped)
            charge = self._price(body)
            reason = self._over(charge)
            if reason:
                self.withheld.append(f"{name or method}: {reason}")
                raise Withheld(reason)
            self._count(charge, 1)
            self._under_way += 1
            return charge

    def _over(self, charge: Charge) -> str:
        """Why a request of *charge* may not be sent; empty when it may."""
        caps, spent = self.caps, self.spent
        if caps.max_usd is not None and spent.usd + charge.worst > caps.max_usd + _CENT:
            twice = f" (expected ${charge.expected:.2f})" if charge.worst > charge.expected + _CENT else ""
            return (
                f"a create may cost ${charge.worst:.2f}{twice}, and ${spent.usd:.2f} of ${caps.max_usd:.2f} may be spent "
                f"already{self._in_doubt()}; raise --max-usd, or say what a second costs at worst with --usd-per-second"
            )
        if caps.creates is not None and spent.accepted + self._under_way >= caps.creates:
            return f"the cap is {caps.creates} accepted {'create' if caps.creates == 1 else 'creates'}; raise --max-creates"
        if caps.seconds is not None and spent.seconds + charge.seconds > caps.seconds:
            return f"{spent.seconds:g} of {caps.seconds:g} s of video are made already; raise --max-seconds"
        if caps.at_once is not None and len(self._open) + self._under_way >= caps.at_once:
            return f"{len(self._open) + self._under_way} of at most {caps.at_once} tasks are under way"
        if caps.wall is not None and self._clock() - self._began > caps.wall:
            return f"the run has lasted {caps.wall:g} s; raise --max-wall"
        return ""

    def _in_doubt(self) -> str:
        """What refused creates count for, in words; empty when the balance has cleared all of them."""
        left = self._doubts[self._cleared :]
        if not left:
            return ""
        what = "a create that was refused" if len(left) == 1 else f"{len(left)} creates that were refused"
        return f" (${sum(charge.worst for charge in left):.2f} for {what}, because no reading of the balance shows that it is free)"

    def _count(self, charge: Charge, sign: int) -> None:
        self.spent.usd += sign * charge.worst
        self.spent.expected += sign * charge.expected
        self.spent.seconds += sign * charge.seconds
        self.spent.sent += max(sign, 0)

    def after(
        self,
        method: str,
        charge: Charge,
        status: int | None,
        *,
        name: str = "",
        task_id: str = "",
        planned: bool = True,
    ) -> None:
        """Take note of what became of a request that `before` let pass; `stopped` says when that ends the run.

        planned: whether the request was meant to be accepted.
        """
        if self.free or method.upper() in SAFE:
            return
        with self._lock:
            self._under_way -= 1
            if status is not None and 400 <= status < 500:
                self._doubts.append(charge)
                return
            self.spent.accepted += 1
            self.accepted.append(Accepted(name, charge, status, task_id, planned))
            self.books.owe(charge.worst)
            if task_id:
                self._open.append(task_id)
            if status is None or not 200 <= status < 300:
                said = "its reply was lost" if status is None else f"it was answered {status}"
                self._stop(
                    f"the outcome of a create is unknown ({said}): {name or method} may have been accepted and may have cost "
                    f"${charge.worst:.2f}; it is not sent again, so look at the account's list of tasks"
                )

    def charged(self, credits: float) -> None:
        """Take note of what the service says that the last accepted create reserves."""
        self.books.said(credits)

    def ended(self, task_id: str) -> None:
        """Take note that a task is over."""
        with self._lock:
            self._open = [task for task in self._open if task != task_id]

    @property
    def open(self) -> frozenset[str]:
        """Tasks of this run that were not seen to be over."""
        with self._lock:
            return frozenset(self._open)

    @property
    def refused(self) -> int:
        """How many creates were refused up to now."""
        with self._lock:
            return len(self._doubts)

    def balance(self, credits: float, refused: int = 0) -> None:
        """Hold a reading of the balance against what was sent; one that nothing explains ends the run.

        refused: creates that had been refused when it was asked for: a reading that is explained shows that they were free.
        """
        if self.free:
            return
        begun = self.books.first is not None
        reason = self.books.read(credits)
        fallen = self.books.fallen
        with self._lock:
            if begun and not reason:
                self._clear(refused)
            if reason:
                self._stop(reason)
            elif self.caps.max_usd is not None and fallen > self.caps.max_usd + _CENT:
                self._stop(f"the balance fell by ${fallen:.2f}, more than the cap of ${self.caps.max_usd:.2f}")

    def _clear(self, refused: int) -> None:
        for charge in self._doubts[self._cleared : refused]:
            self._count(charge, -1)
        self._cleared = max(self._cleared, refused)

    def slow_down(self, retry_after: float | None) -> None:
        """Take note of a 429 that asks to wait for *retry_after* seconds; None where it does not say for how long."""
        with self._lock:
            self._paused += 1
            if retry_after is None or retry_after > LONGEST_PAUSE or self._paused > 3:
                asked = "" if retry_after is None else f" of {retry_after:g} s"
                self.silent = True
                self._stop(f"the service asks for a pause{asked} (429); nothing more is sent")
                return
            self._not_before = self._clock() + retry_after

    @property
    def pause(self) -> float:
        """Seconds for which the service asked for no request, from now on."""
        with self._lock:
            return max(self._not_before - self._clock(), 0.0)

    def stop(self, reason: str) -> None:
        """Send nothing more that may cost, because of *reason*."""
        with self._lock:
            self._stop(reason)

    def _stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason

    def bill(self) -> str:
        """What the run may have cost, in a line."""
        spent = self.spent
        line = f"creates sent: {spent.sent}, accepted: {spent.accepted}; may have cost ${spent.usd:.2f} at worst"
        if spent.accepted:
            line += f" (${spent.expected:.2f} by the price list{self.books.seen()})"
        return line + self._in_doubt()
