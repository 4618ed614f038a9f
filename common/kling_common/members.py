"""Members of JSON that others wrote: nothing need be there, nor be of its type."""

from collections.abc import Mapping
from typing import Any, TypeGuard


def member(value: Any, *path: str) -> Any:
    """Return what stands at *path* in *value*; None where it is missing, or something on the way is not an object.

    >>> member({"usage": {"credits_used": 5}}, "usage", "credits_used")
    5
    >>> member({"usage": []}, "usage", "credits_used")
    """
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def object_in(value: Any, *path: str) -> dict[str, Any]:
    """Return the object at *path* in *value*, or an empty one."""
    found = member(value, *path)
    return found if isinstance(found, dict) else {}


def list_in(value: Any, *path: str) -> list[Any]:
    """Return the list at *path* in *value*, or an empty one."""
    found = member(value, *path)
    return found if isinstance(found, list) else []


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a JSON value is a number: for Python, true is one."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a JSON value is a number without a fraction, written without a point."""
    return isinstance(value, int) and not isinstance(value, bool)


def number_in(value: Any, *path: str) -> float | None:
    """Return the number at *path* in *value*, or None."""
    found = member(value, *path)
    return float(found) if is_number(found) else None
