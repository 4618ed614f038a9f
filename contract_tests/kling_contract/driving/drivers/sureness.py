"""How sure it is that a service refuses a near miss: by the document (D), or only by what we would do ourselves (A).

Whatever a lenient reader may still take for a right value is A: null, a number as text, another spelling, a value inside a list,
a name that another model may have. A service that bills may take those, rightly, and charge for them.
"""

from typing import Any

from kling_contract.driving.drivers.probes import Near
from kling_contract.reading.contract import Contract
from kling_contract.rules.rulebook import rules

_LENIENT_BODIES = ("NaN", "not UTF-8", "a second value")


def grade_of(near: Near, contract: Contract) -> str:
    """Return the grade of the refusal of *near*: that of its rule, unless a lenient reader may take it."""
    if not near.rules:
        return "A"  # documented for sibling models; what this one does with the field no source says
    rule = rules(contract)[near.rules[0]].grade
    documented = rule if rule in ("D", "S") else "A"
    if near.raw is not None:
        return "A" if near.value in _LENIENT_BODIES else documented
    if near.lenient:
        return "A"
    if near.field not in (near.body or {}):
        return documented
    return "A" if _may_be_taken(near.field, near.value, contract) else documented


def _may_be_taken(field: str, value: Any, contract: Contract) -> bool:
    if value is None or value == "" or (isinstance(value, list | dict) and value):
        return True
    if field == "model":
        return isinstance(value, str) and not value.startswith(f"{contract.asks}-")
    if field == "image_start":
        return isinstance(value, str) and any(mark in value for mark in (".", ":", "/"))
    if field == "prompt":
        return isinstance(value, bool | int | float)
    if field == "duration":
        return isinstance(value, bool | str)
    if field == "quality":
        return _spells_a_quality(value, contract)
    return False


def _spells_a_quality(value: Any, contract: Contract) -> bool:
    text = str(value).strip().lower()
    return text in contract.qualities or text in map(str, contract.qualities.values())
