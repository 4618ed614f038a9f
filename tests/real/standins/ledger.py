"""A stand-in's own books: what it accepted and what it charged, and every request that it saw."""

import threading
from dataclasses import dataclass, field
from typing import Any

USD_PER_CREDIT_DEFAULT = 1 / 68


@dataclass
class Tariff:
    """Prices of one stand-in: credits for a second of each quality, and dollars for a credit."""

    per_second: dict[str, float] = field(default_factory=lambda: {"720p": 7.2, "1080p": 9.0})
    usd_per_credit: float = USD_PER_CREDIT_DEFAULT
    at_least: float = 21.6

    def credits(self, body: Any) -> float:
        """What a task of *body* costs, read as kindly as a careless server would."""
        asked = body if isinstance(body, dict) else {}
        seconds = asked.get("duration", 5)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            seconds = 5
        quality = asked.get("quality", "720p")
        dearest = max(self.per_second.values())
        rate = self.per_second.get(quality, dearest) if isinstance(quality, str) else dearest
        return round(max(float(seconds) * rate, self.at_least), 4)


@dataclass
class Ledger:
    """Rows in order. Money in dollars and credits, as this stand-in counts it. Thread-safe."""

    tariff: Tariff = field(default_factory=Tariff)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, **request: Any) -> dict[str, Any]:
        """Remember a request; its row, to which may be added what became of it."""
        with self._lock:
            self.seen.append(request)
        return request

    def charge(self, credits: float, **more: Any) -> None:
        """Enter a charge."""
        with self._lock:
            self.rows.append({"credits": credits, "usd": credits * self.tariff.usd_per_credit, **more})

    @property
    def usd(self) -> float:
        """Dollars charged in all."""
        with self._lock:
            return sum(row["usd"] for row in self.rows)

    @property
    def credits(self) -> float:
        """Credits charged in all."""
        with self._lock:
            return sum(row["credits"] for row in self.rows)

    @property
    def creates(self) -> list[dict[str, Any]]:
        """Every request of an unsafe method that carried the account's key, whatever became of it."""
        with self._lock:
            return [row for row in self.seen if row["keyed"] and row["method"] not in ("GET", "HEAD", "OPTIONS")]
