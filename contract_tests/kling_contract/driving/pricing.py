"""What a create may cost, before it is sent: what the contract's prices say, and the worst that is reckoned with."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import kling_openapi
from kling_contract.reading.contract import Contract

MARGIN = 2.0
"""How many times the contract's price a service may charge: no document states a price, so it may have changed."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a second of each quality, the least that a task costs, dollars for a credit, and how far all may be wrong.

    margin: the worst charge is that many times the expected one; 1 where the user has said what a second costs at worst.
    family: whether other models of the family are priced by their own files.
    """

    per_second: Mapping[str, float]
    usd_per_credit: float = 0.0
    margin: float = 1.0
    least: float = 0.0
    family: bool = False

    @classmethod
    def of(cls, contract: Contract, usd_per_second: float | None = None) -> "Price":
        """Return the contract's prices, or one price for every quality that the user gives."""
        assumed = {name: entry["schema"]["default"] for name, entry in contract.document["x-assumptions"].items()}
        credit, rates = float(assumed["usd_per_credit"]), assumed["credits_per_second"]
        if usd_per_second is not None:
            return cls(dict.fromkeys(rates, usd_per_second), credit)
        least = float(assumed.get("minimum_credits", 0)) * credit
        return cls({quality: rate * credit for quality, rate in rates.items()}, credit, MARGIN, least, family=True)

    def expected(self, body: Any, contract: Contract) -> float:
        """Return the dollars that a create of *body* costs by the price list, if it is taken as it stands.

        An invalid duration counts as the longest, an invalid quality as the dearest.
        """
        asked = body if isinstance(body, dict) else {}
        quality = asked.get("quality", contract.quality_default)
        dearest = max(self.per_second.values())
        rate = self.per_second.get(quality, dearest) if isinstance(quality, str) else dearest
        own = max(seconds_of(body, contract) * rate, self.least)
        return max(own, self._as_another_model(asked, contract) if self.family else 0.0)

    def _as_another_model(self, asked: Mapping[str, Any], contract: Contract) -> float:
        """Return what the create costs as one of the model that it names, where that is another of the family."""
        name = asked.get("model")
        model = kling_openapi.family().models.get(name) if isinstance(name, str) and name != contract.model else None
        if model is None:
            return 0.0
        try:
            return float(model.quote(dict(asked)).reserved) * self.usd_per_credit
        except (
            ArithmeticError,
            KeyError,
            TypeError,
            ValueError,
        ):  # a body that its model refuses has no price of its own
            return 0.0

    def worst(self, body: Any, contract: Contract) -> float:
        """Return the dollars that a create of *body* may cost at worst."""
        return self.expected(body, contract) * self.margin


def seconds_of(body: Any, contract: Contract) -> float:
    """Return the most seconds of video that a create of *body* can make, whatever a careless server reads into it.

    Without a duration, and with one below the least, that is the default; with one that is no number it may be the longest. A
    fraction counts as a whole second.
    """
    least = float(max(contract.duration_default, contract.duration_min))
    seconds = body.get("duration") if isinstance(body, dict) else None
    if not isinstance(body, dict) or "duration" not in body:
        return least
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return float(contract.duration_max)
    if not seconds >= contract.duration_min:
        return least
    return float(ceil(seconds)) if isfinite(seconds) else seconds
