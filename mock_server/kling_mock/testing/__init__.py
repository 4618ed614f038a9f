"""For the tests of an application: the pytest plugin and the objects that its fixtures give.

Nothing here is needed to serve. What may be imported is listed in `__all__`; names are loaded on first use, because pytest loads the
plugin in every project that has klingkit installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_mock.testing.fixtures import KlingMock, ManualClock, MockError, SharedFake
    from kling_mock.testing.receiver import HttpsReceiver
    from kling_mock.testing.results import Attempt, Delivery, Event, Link, Outcome, Status, Task

__all__ = [
    "Attempt",
    "Delivery",
    "Event",
    "HttpsReceiver",
    "KlingMock",
    "Link",
    "ManualClock",
    "MockError",
    "Outcome",
    "SharedFake",
    "Status",
    "Task",
]
_FIXTURES = {"KlingMock", "ManualClock", "MockError", "SharedFake"}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "receiver" if name == "HttpsReceiver" else "fixtures" if name in _FIXTURES else "results"
    return getattr(import_module(f"{__name__}.{module}"), name)
