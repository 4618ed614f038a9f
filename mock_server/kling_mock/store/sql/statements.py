"""Statements that are built once, compiled once for each dialect, and then run by the driver alone.

What every call of the fake needs is one of these: building a statement anew and letting SQLAlchemy run it costs twenty times what the
driver takes. Calls that are rare leave it to SQLAlchemy, through the same connection.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Text, bindparam
from sqlalchemy.ext.compiler import compiles

Row = dict[str, Any]
"""Values by the names of their columns."""


class Among(ColumnElement[bool]):
    """Whether a column has one of any number of values, which are a JSON array in the parameter *name*: the text stays the same."""

    inherit_cache = False

    def __init__(self, column: Column[Any], name: str) -> None:
        self.column, self.values = column, bindparam(name, type_=Text())


@compiles(Among, "sqlite")
def _among_in_sqlite(it: Among, compiler: Any, **more: Any) -> str:
    column, values = compiler.process(it.column, **more), compiler.process(it.values, **more)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - its parts are names and a parameter


@compiles(Among, "postgresql")
def _among_in_postgresql(it: Among, compiler: Any, **more: Any) -> str:
    column, values = compiler.process(it.column, **more), compiler.process(it.values, **more)
    kind = compiler.dialect.type_compiler_instance.process(it.column.type)
    listed = f"SELECT CAST(value AS {kind}) FROM json_array_elements_text(CAST({values} AS JSON))"  # noqa: S608 - as above
    return f"{column} IN ({listed})"


class Statement:
    """One statement; values are given by the names of its parameters, and as the driver takes them."""

    def __init__(self, statement: Any, *columns: str) -> None:
        """Of an insert or update, *columns* are those that get a parameter of their own name."""
        self._statement, self._columns = statement, columns or None
        self._compiled: dict[str, tuple[str, dict[str, Any], Callable[[Row], Any] | None]] = {}
        self._names: tuple[str, ...] = ()

    def spelled(self, connection: Connection, values: Row) -> tuple[str, Any]:
        """Return the text and the parameters that the driver is given."""
        text, fixed, in_order = self._compiled.get(connection.dialect.name) or self._compile(connection)
        if fixed:
            values = {**fixed, **values}
        return text, values if in_order is None else in_order(values)

    def _compile(self, connection: Connection) -> tuple[str, dict[str, Any], Callable[[Row], Any] | None]:
        """Return the text, the parameters that stand in the statement itself, and what puts all of them in order, where that counts."""
        dialect = connection.dialect
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        fixed = {name: compiled.params[name] for given, name in compiled.bind_names.items() if not given.required}
        order = compiled.positiontup
        in_order: Callable[[Row], Any] | None = None
        if order is not None:
            in_order = itemgetter(*order) if len(order) > 1 else lambda values: tuple([values[name] for name in order])
        known = self._compiled[dialect.name] = (str(compiled), fixed, in_order)
        return known

    def rows(self, connection: Connection, **values: Any) -> list[Row]:
        """Run it, and return what it finds."""
        cursor = _cursor(connection)
        cursor.execute(*self.spelled(connection, values))
        found = cursor.fetchall()
        names = self._names
        if not names:
            names = self._names = tuple(column[0] for column in cursor.description)
        return [dict(zip(names, row, strict=True)) for row in found]

    def first(self, connection: Connection, **values: Any) -> Row | None:
        """Run it, and return the first row that it finds."""
        found = self.rows(connection, **values)
        return found[0] if found else None

    def named(self, connection: Connection, name: str, **values: Any) -> Row | None:
        """Run it with *name* for `own`; return the row that it finds, none where no text of a database can be that name."""
        return self.first(connection, own=name, **values) if can_be_text(name) else None

    def run(self, connection: Connection, **values: Any) -> None:
        """Run it."""
        _cursor(connection).execute(*self.spelled(connection, values))

    def each(self, connection: Connection, many: Sequence[dict[str, Any]]) -> None:
        """Run it once with each of these values."""
        if len(many) == 1:
            self.run(connection, **many[0])
        elif many:
            spelled = [self.spelled(connection, values) for values in many]
            _cursor(connection).executemany(spelled[0][0], [parameters for _, parameters in spelled])


def can_be_text(name: str) -> bool:
    """Return whether a database may have a text like this: PostgreSQL has none with a NUL, and no UTF-8 has half a character pair."""
    return name.isprintable() or ("\0" not in name and name == name.encode("utf-8", "ignore").decode())


def plain(connection: Connection, text: str) -> None:
    """Run a statement that has no parameters."""
    _cursor(connection).execute(text)


def _cursor(connection: Connection) -> Any:
    driver: Any = connection.connection.dbapi_connection
    return driver.cursor()
