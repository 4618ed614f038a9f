"""What a task costs by its model's file, read from `x-price` as it is written.

The fake prices by `kling_openapi.money`. This is written once more on purpose: a judge that asked the same code would repeat its
mistakes. Amounts are exact fractions of a credit, rounded half up to `PLACES` decimal places at the end.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any

from kling_contract.reading.media import Path
from kling_openapi.media import Facts
from kling_openapi.model import Model

PLACES = 4
_HALF = Fraction(1, 2)


def reserved(model: Model, body: Mapping[str, Any], known: Mapping[Path, Facts]) -> float:
    """Return the credits that a valid create of *body* reserves; *known* are the facts of the media that it names."""
    price = model.schema["x-price"]
    seconds = _output(model, body, known)
    if price.get("of") == "input":
        seconds = _input(model, known) or seconds
    return _credits(model, body, seconds, price.get("round", "half_up"))


def charged(model: Model, body: Mapping[str, Any], known: Mapping[Path, Facts]) -> float:
    """Return the credits that a completed task of *body* costs in the end."""
    if model.schema["x-price"]["settlement"] == "actual":
        return _credits(model, body, _output(model, body, known), "half_up")
    return reserved(model, body, known)


def _credits(model: Model, body: Mapping[str, Any], seconds: Fraction, rounding: str) -> float:
    price = model.schema["x-price"]
    amount = _fraction(price["credits"]) * _factor(model, body)
    if price["per"] == "second":
        low, high = price.get("billed_seconds", (seconds, seconds))
        amount *= _whole(min(max(seconds, _fraction(low)), _fraction(high)), rounding)
    amount = max(amount, _fraction(price.get("minimum", 0)))
    return float(Fraction(floor(amount * 10**PLACES + _HALF), 10**PLACES))


def _factor(model: Model, body: Mapping[str, Any]) -> Fraction:
    """Return the first factor of the list whose conditions all hold; JSON's true is not 1."""
    for factor in model.schema["x-price"].get("factors", ()):
        asked = ((model.value(body, field), wanted) for field, wanted in factor["when"].items())
        if all(type(got) is type(wanted) and got == wanted for got, wanted in asked):
            return _fraction(factor["times"])
    return Fraction(1)


def _output(model: Model, body: Mapping[str, Any], known: Mapping[Path, Facts]) -> Fraction:
    return _fraction(model.output.length(lambda field: model.value(body, field), known.get, model.slots.limits))


def _input(model: Model, known: Mapping[Path, Facts]) -> Fraction | None:
    facts = known.get(model.output.follows) if model.output.follows else None
    return _fraction(facts.seconds) if facts is not None and facts.seconds is not None else None


def _whole(seconds: Fraction, rounding: str) -> Fraction:
    if rounding == "no":
        return seconds
    return Fraction(ceil(seconds) if rounding == "ceil" else floor(seconds + _HALF))


def _fraction(number: Any) -> Fraction:
    """Return *number* as it is written: 0.1 is a tenth."""
    return Fraction(str(number))
