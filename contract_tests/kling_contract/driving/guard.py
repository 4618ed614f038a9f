"""The money guard: what may be sent to a service that bills, decided before it is sent.

It counts the worst case: that the service takes the request and charges all of it. A create whose reply was lost may
have been taken, so it counts as charged and ends the run.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kling_contract.reading.contract import Contract

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that cost nothing."""


class Stopped(Exception):
    """A cap of money or time ends the run; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a second of each quality, at worst."""

    per_second: Mapping[str, float]

    @classmethod
    def of(cls, contract: Contract, usd_per_second: float | None = None) -> "Price":
        """The contract's assumed prices, or one price for every quality.

        A price is nothing the document states, so a user who knows better says so.
        """
        assumed = contract.document["x-assumptions"]
        credit = float(assumed["usd_per_credit"]["schema"]["default"])
        rates = assumed["credits_per_second"]["schema"]["default"]
        if usd_per_second is not None:
            return cls(dict.fromkeys(rates, usd_per_second))
        return cls({quality: rate * credit for quality, rate in rates.items()})

    def worst(self, body: Any, contract: Contract) -> float:
        """Dollars that a create of *body* costs if it is taken as it stands.

        A member that is missing or of no known value counts as the dearest that the service has.
        """
        asked = body if isinstance(body, dict) else {}
        seconds = asked.get("duration", contract.duration_default)
        known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
        quality = asked.get("quality", contract.quality_default)
        dearest = max(self.per_second.values())
        rate = self.per_second.get(quality, dearest) if isinstance(quality, str) else dearest
        return float(max(seconds, contract.duration_min) if known else contract.duration_max) * rate


@dataclass(slots=True)
class Spent:
    """What a run may have cost so far: dollars at worst, creates sent, creates taken."""

    usd: float = 0.0
    sent: int = 0
    accepted: int = 0


class Guard:
    """Stands before every request that may cost money. Thread-safe.

    max_usd: None for no cap of dollars. creates: how many may be taken; None for any number (a fake).
    """

    def __init__(
        self, worst: Callable[[Any], float], *, max_usd: float | None = None, creates: int | None = None
    ) -> None:
        self._worst = worst
        self.max_usd, self.creates = max_usd, creates
        self.spent = Spent()
        self._lock = threading.Lock()
        self._stopped = ""

    @property
    def free(self) -> bool:
        """Whether there is nothing to guard: the target is a fake."""
        return self.creates is None and self.max_usd is None

    def before(self, method: str, body: Any) -> float:
        """Let a request pass, its worst charge counted; answers that charge (dollars).

        Raises:
            Stopped: the run is over, or the request could pass the cap.
        """
        if method.upper() in SAFE or self.free:
            return 0.0
        with self._lock:
            if self._stopped:
                raise Stopped(self._stopped)
            worst = self._worst(body)
            if self.max_usd is not None and self.spent.usd + worst > self.max_usd + 1e-9:
                raise self._stop(
                    f"a create may cost ${worst:.2f}, and ${self.spent.usd:.2f} of ${self.max_usd:.2f} may be spent already"
                )
            self.spent.usd += worst
            self.spent.sent += 1
            return worst

    def after(self, method: str, worst: float, status: int | None, *, expected: bool) -> None:
        """Take note of what became of a request that `before` let pass.

        Raises:
            Stopped: its reply was lost, it was taken against expectation, or the account is asked to slow down.
        """
        if self.free:
            return
        with self._lock:
            if status == 429:
                self._refund(method, worst)
                raise self._stop("the service asks for a pause (429); nothing more is sent")
            if method.upper() in SAFE:
                return
            if status is None or status >= 500:
                raise self._stop(f"the outcome of a create is unknown; it may have cost ${worst:.2f}")
            if status >= 300:
                self._refund(method, worst)
                return
            self.spent.accepted += 1
            if not expected:
                raise self._stop(f"a request that must be refused was accepted; it may have cost ${worst:.2f}")
            if self.creates is not None and self.spent.accepted > self.creates:
                raise self._stop(f"more than {self.creates} creates were accepted")

    def _refund(self, method: str, worst: float) -> None:
        if method.upper() not in SAFE:
            self.spent.usd -= worst

    def _stop(self, reason: str) -> Stopped:
        self._stopped = reason
        return Stopped(reason)
