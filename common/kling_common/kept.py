"""What shipped YAML files say, kept as JSON, so that a start reads no YAML: it takes a twentieth of the time.

By the SHA-256 of a file's text, so that one which was changed is read itself.
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson


class Kept:
    """The values in *file*, which `written` made; none where it is missing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def documents(self, text: str) -> list[Any] | None:
        """Return the value of each document in *text*; None where they are not kept. Shared, so treat them as read-only."""
        return self._values.get(_name(text))

    @cached_property
    def _values(self) -> dict[str, list[Any]]:
        try:
            found: dict[str, list[Any]] = orjson.loads(self._file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return found


def written(texts: Iterable[str]) -> bytes:
    """Return the content of such a file for *texts*.

    Raises:
        ValueError: JSON cannot hold what one of them says.
    """
    from kling_common.documents import parse

    values = {_name(text): [document.value for document in parse(text)] for text in texts}
    content = orjson.dumps(values) + b"\n"
    if orjson.loads(content) != values:
        raise ValueError("JSON cannot hold infinite numbers")
    return content


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
