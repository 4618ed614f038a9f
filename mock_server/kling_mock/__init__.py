"""`kling-mock`: a fake of the service that behaves like it, on a clock that tests can move.

What may be imported is listed in `__all__`, here and in `kling_mock.testing`; every other name is private and may change.
Names are loaded on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kling_common import VERSION

if TYPE_CHECKING:
    from kling_mock.app import create_app
    from kling_mock.config import BadSetting, Settings
    from kling_openapi import ContractError

__version__ = VERSION
__all__ = ["BadSetting", "ContractError", "Settings", "__version__", "create_app"]

_HOMES = {
    "BadSetting": "kling_mock.config",
    "ContractError": "kling_openapi",
    "Settings": "kling_mock.config",
    "create_app": "kling_mock.app",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
