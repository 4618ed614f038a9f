"""A model as the fake sells it: where a create names its first frame, what it asks for, and what that costs."""

from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

from kling_mock.config import Choices
from kling_mock.contract import Contract
from kling_mock.core.prices import Prices

_KEPT_PRICES = 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What a create asks for, and its price in credits."""

    image: str
    quality: str
    seconds: int
    cost: float


class Model:
    """The contract's model. Bodies that come here have passed its schema."""

    def __init__(self, contract: Contract, choices: Choices) -> None:
        self.name = contract.model
        self.image_param = "image_start"
        prices = Prices(choices.credits_per_second, choices.minimum_credits, choices.units_per_credit)
        self._cost = lru_cache(_KEPT_PRICES)(prices.cost)
        self._quality, self._seconds = contract.default_quality, contract.default_seconds

    def order(self, body: dict[str, Any]) -> Order:
        """Return what *body* asks for, defaults filled in."""
        quality = intern(body.get("quality", self._quality))
        seconds = int(body.get("duration", self._seconds))
        return Order(intern(body["image_start"]), quality, seconds, self._cost(quality, seconds))
