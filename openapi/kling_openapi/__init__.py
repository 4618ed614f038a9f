"""The contract, as a package: two OpenAPI 3.1 documents, a file for each model, and one loader for everybody who derives from them.

The fake, the kit and the Python client read the service's rules from here and nowhere else.
"""

from functools import cache
from pathlib import Path
from typing import Any

from kling_openapi.family import HERE, SERVICE, Family, family, read_document, read_family
from kling_openapi.files import ContractError, one_line

CONTROL = HERE / "control.yaml"

__all__ = [
    "CONTROL",
    "HERE",
    "SERVICE",
    "ContractError",
    "Family",
    "family",
    "one_line",
    "read",
    "read_family",
    "service",
]


def read(path: Path = SERVICE) -> dict[str, Any]:
    """Parse the OpenAPI document at *path*; where it is a service's and leaves its own model to a model file, with that in it.

    Raises:
        ContractError: the file is missing, is not YAML, or is not an OpenAPI 3.1 document.
    """
    document = read_document(path)
    schemas = document.get("components", {}).get("schemas", {})
    if "CreateVideo" in schemas or "TaskCommon" not in schemas:
        return document
    return dict(read_family(None if path == SERVICE else path).document())


@cache
def service() -> dict[str, Any]:
    """The service's contract as shipped; shared, so treat it as read-only."""
    return family().document()
