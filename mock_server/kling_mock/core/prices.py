"""What a task of the document's own model costs: credits for its seconds, at least a minimum, rounded half up to a unit of a credit.

Other models: `kling_openapi.money`; `service.models.Offer` chooses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Prices:
    """A price policy: credits a second by quality, the least that a task costs, and how many units a credit has.

    >>> Prices({"720p": 7.2}, minimum=21.6, units=10_000).cost("720p", 5)
    36
    """

    per_second: Mapping[str, float]
    minimum: float
    units: int

    def cost(self, quality: str, seconds: float) -> float:
        """Return the credits for *seconds* of *quality*; a whole number is an int, so that it is shown without a point."""
        exact = max(Decimal(str(self.per_second[quality])) * Decimal(str(seconds)), Decimal(str(self.minimum)))
        units = (exact * self.units).quantize(Decimal(1), ROUND_HALF_UP)
        return whole(float(units / self.units))


def whole(credits_: float) -> float:
    """Return a sum of credits without the dust of binary fractions, and as an int where it is a whole number.

    >>> whole(64.8 - 21.6 - 21.6)
    21.6
    """
    if isinstance(credits_, int):
        return credits_
    rounded = round(credits_, _DIGITS)
    return int(rounded) if rounded == int(rounded) else rounded
