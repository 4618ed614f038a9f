"""How SQLite finds what statements ask for: by an index, never by going through all tasks, accounts or callbacks."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kling_mock.store import sql
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.statements import Statement

MODULES = [import_module(f"{sql.__name__}.{one.name}") for one in pkgutil.iter_modules(sql.__path__)]
STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, Statement)
}
BY_ALARM = {"time._DUE", "time._CLAIM"}
"""What couriers ask every few milliseconds, whatever the number of accounts."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A connection to a new database."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('plans')}/kling.db")
    with database.reading() as found:
        yield found
    database.close()


def plan(connection: Connection, statement: Statement) -> list[str]:
    """Return what SQLite says it would do, a line for each table."""
    text, _, _ = statement._compile(connection)
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?")).all()
    return [str(row[3]) for row in rows]


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_statement_goes_through_a_table(name: str, connection: Connection) -> None:
    """Each is run at every call or wake-up, among a million tasks and a hundred thousand accounts."""
    lines = plan(connection, STATEMENTS[name])
    assert [line for line in lines if re.match(r"SCAN kling_", line)] == []


@pytest.mark.parametrize("name", sorted(BY_ALARM))
def test_what_is_due_is_found_by_its_alarm(name: str, connection: Connection) -> None:
    """Not by its clock: all accounts may have the same one."""
    found = [line for line in plan(connection, STATEMENTS[name]) if "kling_accounts" in line]
    assert found
    assert all("kling_accounts_wake" in line for line in found)


def test_all_statements_are_there() -> None:
    """A module that keeps its statements elsewhere would go unseen."""
    assert len(STATEMENTS) > 30
    assert set(STATEMENTS) >= BY_ALARM
    assert not list(Path(sql.__path__[0]).glob("*/*.py"))
