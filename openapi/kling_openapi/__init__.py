"""The contract, as a package: two OpenAPI 3.1 documents and one loader for everybody who derives from them.

The fake, the kit and the Python client read the service's rules from here and nowhere else.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).parent
HERE = _PACKAGE if (_PACKAGE / "kling-v3-turbo.yaml").exists() else _PACKAGE.parent
"""The folder of the contract's files: inside the package in a wheel, above it in a checkout."""
SERVICE = HERE / "kling-v3-turbo.yaml"
CONTROL = HERE / "control.yaml"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ContractError(ValueError):
    """The contract file cannot be used; the message names the file and the place."""


def read(path: Path = SERVICE) -> dict[str, Any]:
    """Parse the OpenAPI document at *path*.

    Raises:
        ContractError: the file is missing, is not YAML, or is not an OpenAPI 3.1 document.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader, in C
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: not YAML: {one_line(error)}") from error
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3.1"):
        raise ContractError(f"{path}: not an OpenAPI 3.1 document")
    return document


def one_line(error: Exception) -> str:
    """What *error* says, on one line."""
    return " ".join(str(error).split())


@cache
def service() -> dict[str, Any]:
    """The service's contract as shipped; shared, so treat it as read-only."""
    return read(SERVICE)
