"""What a task would cost, in the words of `POST /v1/agent-estimates` (wire-facts "Corrections", C)."""

from decimal import Decimal
from typing import Any

from kling_mock.config import ServiceSettings
from kling_mock.ids import fingerprint
from kling_mock.service.models import Bill, Offer, Terms

LIFETIME = 900
"""Seconds for which an estimate holds; no source says how long (A)."""


def estimate(
    body: dict[str, Any], offer: Offer, terms: Terms, bill: Bill, service_settings: ServiceSettings, now: float
) -> Any:
    """Return the estimate for a create on those terms."""
    cost = Decimal(str(terms.reserved))
    units = service_settings.units_per_credit
    usd, cny = (
        cost * Decimal(str(service_settings.usd_per_credit)),
        cost * Decimal(str(service_settings.cny_per_credit)),
    )
    amounts = {"uc": _text(cost * units), "credits": _text(cost), "cny": _text(cny), "usd": _text(usd)}
    operation = body.get("operation", "generate")
    component = {
        "id": "output", "role": "output", "sku_id": f"{offer.name}:{bill.tier}", "quantity": str(bill.quantity),
        "billed_quantity": str(bill.quantity), "unit": bill.unit, "unit_price": _text(Decimal(str(bill.unit_price))),
        "subtotal": _text(cost), "billing_rule": offer.billing_rule,
    }  # fmt: skip
    return {
        "estimate_id": "est_" + fingerprint("estimate", offer.name, bill.tier, bill.quantity, repr(now), length=24),
        "catalog_version": "1", "pricing_version": "1", "exchange_rate_version": "1", "policy_version": "1",
        "policy_checksum": fingerprint("policy", repr(service_settings.credits_per_second), service_settings.minimum_credits, length=32),
        "price_scope": "account", "model_id": body["model_id"], "product_id": body["model_id"], "operation": operation,
        "settlement_basis": bill.settlement, "currency": "USD", "amount": amounts["usd"], "amounts": amounts,
        "components": [component], "assumptions": [], "expires_at": int(now) + LIFETIME,
    }  # fmt: skip


def _text(amount: Decimal) -> str:
    """Return an amount as a plain decimal, to a millionth."""
    shown = f"{round(amount, 6):f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
