"""Readings of an account's balance, held against what a run has sent: every move must have a cause."""

import threading
from dataclasses import dataclass, field

_NOTHING = 1e-6


@dataclass(slots=True)
class Books:
    """Thread-safe. Amounts in credits; `usd_per_credit` of 0 means that credits cannot be read as dollars.

    A create that was accepted may take up to its worst charge, once; a task that fails may give back what it took.
    """

    usd_per_credit: float = 0.0
    first: float | None = None
    last: float | None = None
    owed: float = 0.0
    taken: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def owe(self, usd: float) -> None:
        """A create was accepted that costs *usd* at worst."""
        with self.lock:
            self.owed += usd / self.usd_per_credit if self.usd_per_credit else 0.0

    def said(self, credits: float) -> None:
        """The service says that the create reserves *credits*: no more than that is owed, where it is less."""
        with self.lock:
            self.owed = min(self.owed, max(credits, 0.0)) if self.usd_per_credit else self.owed

    def read(self, credits: float) -> str:
        """Take a reading; why nothing that was sent explains it, or an empty text.

        Without a value of credits in dollars only a balance that moves with no task at all can be judged.
        """
        with self.lock:
            before, self.last = self.last, credits
            if before is None:
                self.first = credits
                return ""
            moved = round(before - credits, 6)
            if abs(moved) <= _NOTHING:
                return ""
            return self._fell(moved) if moved > 0 else self._rose(-moved)

    def _fell(self, moved: float) -> str:
        explained = self.owed
        self.taken += moved
        self.owed = max(self.owed - moved, 0.0)
        if moved <= explained + _NOTHING:
            return ""
        if explained <= _NOTHING:
            return (
                f"the balance fell by {moved:g} credits{self._usd(moved)} and no accepted create explains it: somebody else uses "
                "this account, or the service charges for what it refuses; nothing more that may cost is sent"
            )
        return (
            f"the balance fell by {moved:g} credits{self._usd(moved)}, and what was accepted explains {explained:g} at most; "
            "nothing more that may cost is sent"
        )

    def _rose(self, moved: float) -> str:
        explained = self.taken
        self.taken = max(self.taken - moved, 0.0)
        if moved <= explained + _NOTHING:
            return ""
        return (
            f"the balance rose by {moved:g} credits{self._usd(moved)} and no refund explains it: somebody else uses this account; "
            "nothing more that may cost is sent"
        )

    def _usd(self, credits: float) -> str:
        return f" (${credits * self.usd_per_credit:.2f})" if self.usd_per_credit else ""

    @property
    def fallen(self) -> float:
        """Dollars by which the balance is below the first reading."""
        with self.lock:
            if self.first is None or self.last is None:
                return 0.0
            return max(self.first - self.last, 0.0) * self.usd_per_credit

    def seen(self) -> str:
        """What the balance says of the cost, as an addition to a line."""
        if self.first is None or self.last is None:
            return "; the balance could not be read"
        return f"; the balance fell by {self.first - self.last:g} credits{self._usd(self.first - self.last)}"
