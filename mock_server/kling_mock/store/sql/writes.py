"""What a transaction is about to write: each statement once, with the values of everything that it writes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from kling_mock.store.sql.statements import Statement


class Writes:
    """Values by statement. Run in the order in which the statements were given, whatever came first."""

    __slots__ = ("_many",)

    def __init__(self, order: Sequence[Statement]) -> None:
        self._many: dict[Statement, list[dict[str, Any]]] = {statement: [] for statement in order}

    def add(self, statement: Statement, values: dict[str, Any]) -> None:
        """Let *statement* run with these values, too."""
        self._many[statement].append(values)

    def run(self, connection: Connection) -> None:
        """Write all of it."""
        for statement, many in self._many.items():
            if many:
                self._many[statement] = []
                statement.each(connection, many)
