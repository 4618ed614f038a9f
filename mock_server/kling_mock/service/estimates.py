"""What a task would cost, in the words of `POST /v1/agent-estimates` (wire-facts "Corrections", C)."""

from decimal import Decimal
from typing import Any

from kling_mock.config import Choices
from kling_mock.ids import fingerprint

LIFETIME = 900
"""Seconds for which an estimate holds; no source says how long (A)."""


def estimate(body: dict[str, Any], quality: str, seconds: int, credits_: float, choices: Choices, now: float) -> Any:
    """Return the estimate for a create of *seconds* in *quality* that costs *credits_*."""
    cost = Decimal(str(credits_))
    units = choices.units_per_credit
    usd, cny = cost * Decimal(str(choices.usd_per_credit)), cost * Decimal(str(choices.cny_per_credit))
    amounts = {"uc": _text(cost * units), "credits": _text(cost), "cny": _text(cny), "usd": _text(usd)}
    operation = body.get("operation", "generate")
    price = Decimal(str(choices.credits_per_second[quality]))
    component = {
        "id": "output", "role": "output", "sku_id": f"{body['model_id']}:{quality}", "quantity": str(seconds),
        "billed_quantity": str(seconds), "unit": "second", "unit_price": _text(price), "subtotal": _text(cost),
        "billing_rule": "per_second",
    }  # fmt: skip
    return {
        "estimate_id": "est_" + fingerprint("estimate", body["model_id"], quality, seconds, repr(now), length=24),
        "catalog_version": "1", "pricing_version": "1", "exchange_rate_version": "1", "policy_version": "1",
        "policy_checksum": fingerprint("policy", repr(choices.credits_per_second), choices.minimum_credits, length=32),
        "price_scope": "account", "model_id": body["model_id"], "product_id": body["model_id"], "operation": operation,
        "settlement_basis": "request_only", "currency": "USD", "amount": amounts["usd"], "amounts": amounts,
        "components": [component], "assumptions": [], "expires_at": int(now) + LIFETIME,
    }  # fmt: skip


def _text(amount: Decimal) -> str:
    """Return an amount as a plain decimal, to a millionth."""
    shown = f"{round(amount, 6):f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
