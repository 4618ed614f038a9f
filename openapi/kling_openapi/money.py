"""What a model's tasks cost, as its file says: a rate, factors, a minimum; exact to a ten-thousandth of a credit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

UNIT = Decimal("0.0001")
"""The smallest amount: 10,000 units are one credit."""

Value = Callable[[str], Any]
"""Gives the value of a field of a body, its default where it is left out."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor that counts where all of `when` holds."""

    when: Mapping[str, Any]
    times: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model. `of` says whose seconds are billed, `actual` that the charge follows the real length."""

    billing_rule: str
    per: str
    credits: Decimal
    of: str = "output"
    minimum: Decimal = Decimal(0)
    round: str = "half_up"
    actual: bool = False
    billed_seconds: tuple[Decimal, Decimal] | None = None
    factors: tuple[Factor, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "Price":
        """Return the price that an `x-price` tells."""
        bounds = given.get("billed_seconds")
        return cls(
            billing_rule=given["billing_rule"],
            per=given["per"],
            credits=exact(given["credits"]),
            of=given.get("of", "output"),
            minimum=exact(given.get("minimum", 0)),
            round=given.get("round", "half_up"),
            actual=given["settlement"] == "actual",
            billed_seconds=(exact(bounds[0]), exact(bounds[1])) if bounds else None,
            factors=tuple(Factor(it["when"], exact(it["times"])) for it in given.get("factors", ())),
        )

    def rate(self, value: Value) -> Decimal:
        """Return the credits of one second or one call of a body."""
        for factor in self.factors:
            if all(_same(value(field), wanted) for field, wanted in factor.when.items()):
                return self.credits * factor.times
        return self.credits

    def reserved(self, value: Value, output: Decimal, source: Decimal | None) -> Decimal:
        """Return what a create reserves: *output* and *source* are the seconds of the video made and of the one given."""
        seconds = output if self.of == "output" or source is None else source
        return self._amount(value, seconds, self.round)

    def charged(self, value: Value, output: Decimal, source: Decimal | None) -> Decimal:
        """Return what a completed task costs in the end."""
        return self._amount(value, output, "half_up") if self.actual else self.reserved(value, output, source)

    def _amount(self, value: Value, seconds: Decimal, how: str) -> Decimal:
        rate = self.rate(value)
        if self.per == "call":
            return max(rate, self.minimum).quantize(UNIT, ROUND_HALF_UP)
        if self.billed_seconds:
            seconds = min(max(seconds, self.billed_seconds[0]), self.billed_seconds[1])
        return max(rate * rounded(seconds, how), self.minimum).quantize(UNIT, ROUND_HALF_UP)


def exact(number: Any) -> Decimal:
    """Return *number* as it is written."""
    return Decimal(str(number))


def rounded(seconds: Decimal, how: str) -> Decimal:
    """Return whole seconds: `ceil`, or `half_up`; `no` leaves them as they are."""
    if how == "no":
        return seconds
    return seconds.quantize(Decimal(1), ROUND_CEILING if how == "ceil" else ROUND_HALF_UP)


def plain(amount: Decimal) -> int | float:
    """Return *amount* as JSON shows it: a whole number without a point."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def _same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal; true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
