"""`kling-contract`: judges any server and any client against one rulebook, by what happened.

From Python, `judge` takes a recorded history and returns its `Run`. What may be imported is listed in `__all__`; every other name is
private and may change. Names are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_contract.history.events import HistoryError
    from kling_contract.judging import judge
    from kling_contract.rules.verdicts import Result, Run, SetupError, Verdict

__all__ = ["HistoryError", "Result", "Run", "SetupError", "Verdict", "judge"]

_HOMES = {
    "HistoryError": "kling_contract.history.events",
    "Result": "kling_contract.rules.verdicts",
    "Run": "kling_contract.rules.verdicts",
    "SetupError": "kling_contract.rules.verdicts",
    "Verdict": "kling_contract.rules.verdicts",
    "judge": "kling_contract.judging",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
