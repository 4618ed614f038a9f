"""The contract with all its models, as the kit judges by it."""

from pathlib import Path

import kling_openapi
from kling_contract.reading.contract import Contract, of_family, shipped


def chosen(path: Path | None = None, model: str | None = None) -> Contract:
    """Return the contract by which a run judges: its own model, and every other one that a create may name.

    *path*: the user's contract, model file or folder of model files. *model*: the one that the run asks for.

    Raises:
        kling_openapi.ContractError: a file at *path* cannot be used, or there is no such model.
    """
    if path is None and model is None:
        return shipped()
    family = kling_openapi.family() if path is None else kling_openapi.read_family(path)
    if model is not None and model not in family.models:
        raise kling_openapi.ContractError(f"there is no model {model!r}; there are {', '.join(family.models)}")
    contract = of_family(family, path)
    contract.asked = family.models[model] if model is not None else None
    return contract


def for_clients(path: Path | None = None, model: str | None = None) -> Contract:
    """Return the contract by which a client is judged; asked for the document's own model, it is held to the document alone.

    Raises:
        kling_openapi.ContractError: see `chosen`.
    """
    contract = chosen(path, model)
    if contract.asked is not None and not contract.asks_another:
        contract.asked = None
    return contract
