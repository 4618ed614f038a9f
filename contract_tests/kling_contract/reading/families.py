"""The contract with all its models, as the kit judges by it."""

from pathlib import Path

import kling_openapi
from kling_contract.reading.contract import Contract


def for_clients(path: Path | None = None, model: str | None = None) -> Contract:
    """Return the contract by which a client is judged: its own model, and every other one that a create may name.

    *model*: the one that the client is asked for.

    Raises:
        kling_openapi.ContractError: a file at *path* cannot be used.
    """
    family = kling_openapi.family() if path is None else kling_openapi.read_family(path)
    others = {name: model for name, model in family.models.items() if name != family.default}
    if model is not None and model not in family.models:
        raise kling_openapi.ContractError(f"there is no model {model!r}; there are {', '.join(family.models)}")
    contract = Contract(family.document(), others, path)
    contract.asked = others.get(model) if model is not None else None
    return contract
