"""The models as the fake sells them: what a create names, what it is charged, and what comes of it. No field is named here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kling_mock.config import ServiceSettings
from kling_mock.contract import Contract
from kling_mock.core.prices import Prices
from kling_openapi.media import Facts, Medium
from kling_openapi.model import Model
from kling_openapi.money import plain
from kling_openapi.output import pixels
from kling_openapi.schemas import parts

_KEPT_TERMS = 1024
_NO_SHAPE = (16, 9)

Seen = Mapping[tuple[str, ...], Facts]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a create comes to: seconds and credits, and the video's shape: its ratio as two numbers, its shorter side in pixels."""

    seconds: int | float
    reserved: int | float
    charged: int | float
    width: int
    height: int
    short_side: int


@dataclass(frozen=True, slots=True)
class Bill:
    """How a price comes about: so many units of one price, and the tier that it is the price of."""

    tier: str
    quantity: int | float
    unit: str
    unit_price: int | float
    settlement: str


class Offer:
    """One model. Bodies that come here have passed its schema."""

    def __init__(self, model: Model, service_settings: ServiceSettings, *, own: bool) -> None:
        self.model, self.name = model, model.name
        self.billing_rule = model.price.billing_rule
        self.makes_video = model.output.medium == "video"
        self.count = model.output.count
        self.estimate: int = service_settings.estimated_seconds if own else model.expected_seconds
        self._prices = (
            Prices(
                service_settings.credits_per_second, service_settings.minimum_credits, service_settings.units_per_credit
            )
            if own
            else None
        )
        self._tier = model.output.short_side.get("from")
        self._fields = self._relevant()
        self._flat = not any("." in name for name in self._fields)
        self._slots = tuple(model.slots.limits.items())
        self._simple = not model.slots.special and all(len(path) == 1 for path, _ in self._slots)
        named = [*map(parts, model.output.ratio.get("from", ())), model.output.follows]
        self._decisive = frozenset(path for path in named if path in model.slots.limits)
        self._by_fields = lru_cache(_KEPT_TERMS)(self._of_fields)

    def _relevant(self) -> tuple[str, ...]:
        """Return the fields that price, length and shape depend on, when all of them stand at the top of the body."""
        output, limits = self.model.output, self.model.slots.limits
        named = [it for factor in self.model.price.factors for it in factor.when]
        named += [it for it in (output.seconds.get("from"), self._tier) if it is not None]
        named += list(output.ratio.get("from", ()))
        return tuple(dict.fromkeys(name for name in named if parts(name) not in limits))

    def media(self, body: dict[str, Any]) -> list[Medium]:
        """Return the media that *body* names, each with its limits."""
        if not self._simple:
            return self.model.media(body)
        return [Medium(path, path, body[path[0]], limits) for path, limits in self._slots if path[0] in body]

    def terms(self, body: dict[str, Any], seen: Seen) -> Terms:
        """Return what *body* comes to; *seen*: the first medium at each path, as far as it is known."""
        if self._flat:
            values = tuple(map(body.get, self._fields))
        else:
            values = tuple(self.model.value(body, name) if "." in name else body.get(name) for name in self._fields)
        if self._decisive.issuperset(seen):
            return self._by_fields(values, tuple(seen.items()))
        return self._by_fields(values, tuple(item for item in seen.items() if item[0] in self._decisive))

    def _of_fields(self, values: tuple[Any, ...], facts: tuple[tuple[tuple[str, ...], Facts], ...]) -> Terms:
        body = self._body(values)
        quote = self.model.quote(body, dict(facts))
        shape, short, reserved, charged = _NO_SHAPE, 2, quote.reserved, quote.charged
        if quote.size is not None:
            shape, short = (quote.size.width, quote.size.height), quote.size.short_side
            if quote.size.pixels is not None:
                shape = pixels(quote.size)
                short = min(shape)
        tier = self.model.value(body, self._tier) if self._tier else None
        if self._prices is not None and isinstance(tier, str) and tier in self._prices.per_second:
            reserved = charged = self._prices.cost(tier, quote.seconds)
        return Terms(quote.seconds, reserved, charged, *shape, short)

    def bill(self, body: dict[str, Any], terms: Terms) -> Bill:
        """Return how the price in *terms* comes about."""
        price = self.model.price
        tier = str(self.model.value(body, self._tier)) if self._tier else self.name
        each = plain(price.rate(lambda path: self.model.value(body, path)))
        if self._prices is not None:
            each = self._prices.per_second.get(tier, each)
        quantity = terms.seconds if price.per == "second" else 1
        return Bill(tier, quantity, price.per, each, "request_then_actual" if price.actual else "request_only")

    def _body(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return a body with just the fields that matter."""
        body: dict[str, Any] = {}
        for name, value in zip(self._fields, values, strict=True):
            *outer, last = name.split(".")
            holder = body
            for step in outer:
                holder = holder.setdefault(step, {})
            if value is not None:
                holder[last] = value
        return body


class Offers:
    """Every model that is served, by its name, each made ready when it is first asked for."""

    def __init__(self, contract: Contract, service_settings: ServiceSettings) -> None:
        self._contract, self._service_settings = contract, service_settings
        self._made: dict[str, Offer] = {}

    def __getitem__(self, name: str) -> Offer:
        """Return a model of the contract; a task made before it was switched off still has one."""
        offer = self._made.get(name)
        if offer is None:
            model = self._contract.family.models[name]
            offer = self._made[name] = Offer(model, self._service_settings, own=name == self._contract.model)
        return offer
