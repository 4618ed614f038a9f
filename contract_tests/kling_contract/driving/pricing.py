"""What a create may cost, before it is sent: what the contract's prices say, and the worst that is reckoned with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kling_contract.reading.contract import Contract

MARGIN = 2.0
"""How many times the contract's price a service may charge: no document states a price, so it may have changed."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a second of each quality, dollars for a credit, and how far both may be wrong.

    margin: the worst charge is that many times the expected one; 1 where the user has said what a second costs at worst.
    """

    per_second: Mapping[str, float]
    usd_per_credit: float = 0.0
    margin: float = 1.0

    @classmethod
    def of(cls, contract: Contract, usd_per_second: float | None = None) -> "Price":
        """The contract's assumed prices, or one price for every quality that the user gives."""
        assumed = contract.document["x-assumptions"]
        credit = float(assumed["usd_per_credit"]["schema"]["default"])
        rates = assumed["credits_per_second"]["schema"]["default"]
        if usd_per_second is not None:
            return cls(dict.fromkeys(rates, usd_per_second), credit)
        return cls({quality: rate * credit for quality, rate in rates.items()}, credit, MARGIN)

    def expected(self, body: Any, contract: Contract) -> float:
        """Dollars that a create of *body* costs by the price list, if it is taken as it stands.

        A duration that is none counts as the longest, a quality that is none as the dearest.
        """
        asked = body if isinstance(body, dict) else {}
        quality = asked.get("quality", contract.quality_default)
        dearest = max(self.per_second.values())
        rate = self.per_second.get(quality, dearest) if isinstance(quality, str) else dearest
        return seconds_of(body, contract) * rate

    def worst(self, body: Any, contract: Contract) -> float:
        """Dollars that a create of *body* may cost at worst."""
        return self.expected(body, contract) * self.margin


def seconds_of(body: Any, contract: Contract) -> float:
    """The most seconds of video that a create of *body* can make, whatever a careless server reads into it."""
    asked = body if isinstance(body, dict) else {}
    seconds = asked.get("duration", contract.duration_default) if isinstance(body, dict) else contract.duration_max
    usable = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= contract.duration_min
    return float(seconds) if usable else float(contract.duration_max)
