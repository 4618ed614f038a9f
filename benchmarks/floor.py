"""The floor of a store: a bare WSGI callable on the same server that runs the same statements through the same pool.

The statements are recorded from one real call of the fake, each operation of its store by itself, then repeated: a create with ids and
numbers of its own, a query of the recorded task, whose row it writes as the fake does. They are the same statements, transactions and
commits, each thread keeps its connection, and writers of one process queue as the fake's do. Nothing is validated, decided or rendered,
and what a call does for others, such as the tasks that have become due by then, is not in it. For the memory store the callable parses
the same JSON. Either returns as many bytes as the fake does.
"""

import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from load import CREATE, HEADERS, KEY, QUERY
from sqlalchemy import event

_MARK = 987_654_321
"""About the number of the task that is recorded: found again wherever a statement has it."""
_NUMBERS = 1_000_000
"""How many tasks each process of a floor may make; their numbers overlap with no other's."""

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass
class Recording:
    """Statements of one call: for each operation of the store whether it writes, so that it waits its turn, and what it ran.

    *makes*: it makes a task, so that each time it needs another id and number.
    """

    id: str = ""
    number: int = 0
    size: int = 0
    makes: bool = False
    groups: list[tuple[bool, list[tuple[str, Any]]]] = field(default_factory=list)

    def listen(self, database: Any) -> None:
        """Write down what runs on *database* from now on."""
        taken = {name: getattr(database, name) for name in ("reading", "changing", "writing")}
        for name, take in taken.items():
            setattr(database, name, partial(self._begun, take, writes=name != "reading"))
        event.listen(database.engine, "before_cursor_execute", lambda _, __, text, given, *___: self.take(text, given))

    def _begun(self, take: Callable[[], Any], *, writes: bool) -> Any:
        self.groups.append((writes, []))
        return take()

    def take(self, statement: str, parameters: Any = ()) -> None:
        """Write down one statement of the connection that was taken last."""
        named = isinstance(parameters, dict)
        kept = {name: _plain(one) for name, one in parameters.items()} if named else tuple(map(_plain, parameters))
        self.groups[-1][1].append((statement, kept))


@dataclass(frozen=True, slots=True)
class Noting:
    """A driver's cursor that writes down what it runs."""

    cursor: Any
    recording: Recording

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        """Run a statement."""
        self.recording.take(statement, parameters)
        return self.cursor.execute(statement, parameters)

    def executemany(self, statement: str, many: Any) -> Any:
        """Run a statement with each of these parameters."""
        for parameters in many:
            self.recording.take(statement, parameters)
        return self.cursor.executemany(statement, many)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)


def _plain(value: Any) -> Any:
    """Return bytes for what a driver wraps them in."""
    value = getattr(value, "obj", value)
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def renamed(value: Any, names: dict[Any, Any]) -> Any:
    """Return parameters with a task's id and number replaced by others."""
    if isinstance(value, dict):
        return {name: renamed(one, names) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(renamed(one, names) for one in value)
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(str(old), str(new))
        return value
    return names.get(value, value) if type(value) is int else value


def record(store: str, method: str, body: dict[str, Any]) -> Recording:
    """Return the statements of one call of the fake on *store*, once its pools are warm."""
    from kling_mock.app import create_app
    from kling_mock.store.sql import statements
    from kling_mock.store.sql.tables import accounts

    app = create_app(store=store, no_courier=True)
    client, facts = app.test_client(), app.extensions["kling-mock"].world.store
    client.post(CREATE, json=body, headers=HEADERS)
    with facts.database.writing() as connection:
        connection.execute(accounts.update().values(number=_MARK))
    made = str(client.post(CREATE, json=body, headers=HEADERS).json["id"])
    client.get(QUERY + made, headers=HEADERS)
    found, cursor = Recording(), statements._cursor
    statements._cursor = lambda connection: Noting(cursor(connection), found)
    found.listen(facts.database)
    if method == "POST":
        response = client.post(CREATE, json=body, headers=HEADERS)
        made = str(response.json["id"])
    else:
        response = client.get(QUERY + made, headers=HEADERS)
    assert response.status_code == 200, response.data
    groups = [(writes, list(statements)) for writes, statements in found.groups if statements]
    statements._cursor = cursor
    task = facts.task(facts.seen(KEY), made)
    facts.close()
    return Recording(made, task.number, len(response.data), method == "POST", groups)


class Statements:
    """Runs what was recorded, again and again: what makes a task with ids and numbers of this process, all else on the recorded one.

    Each thread keeps its connection.
    """

    def __init__(self, store: str, recorded: Recording) -> None:
        from kling_mock.store.sql.database import Database

        self._database, self._recorded = Database(store), recorded
        self._first = (os.getpid() % 2000 + 1) * _NUMBERS
        self._counts = count(1)
        self._mine = threading.local()

    def __call__(self) -> None:
        """Run them once."""
        nth, recorded = next(self._counts), self._recorded
        names: dict[Any, Any] = {}
        if recorded.makes:
            names = {recorded.id: f"{recorded.id}-{os.getpid()}-{nth}", recorded.number: self._first + nth}
        if not hasattr(self._mine, "held"):
            self._mine.held = self._database.held()
            self._mine.held.__enter__()
        for writes, statements in recorded.groups:
            with self._database.changing() if writes else self._database.reading() as connection:
                for statement, parameters in statements:
                    cursor = connection.connection.cursor()
                    cursor.execute(statement, renamed(parameters, names))
                    if cursor.description:
                        cursor.fetchall()


def make() -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """Return the callable that the environment asks for."""
    wanted = orjson.loads(os.environ["FLOOR"])
    work, size = None, int(wanted["size"])
    if wanted["store"] != "memory":
        recorded: Recording = pickle.loads(Path(os.environ["FLOOR_RECORDED"]).read_bytes())
        work, size = Statements(wanted["store"], recorded), recorded.size
    headers = [("content-type", "application/json"), ("content-length", str(size))]
    content = b" " * size

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            orjson.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        if work is not None:
            work()
        start_response("200 OK", headers)
        return [content]

    return application


def main() -> None:
    """`floor.py PORT WORKERS`: serve it until the process is ended."""
    wanted = orjson.loads(os.environ["FLOOR"])
    if wanted["store"] != "memory":
        # Recorded once, here: processes that serve already would come between the statements of one that records.
        from floor import record

        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(pickle.dumps(record(wanted["store"], wanted["method"], wanted["body"])))
        os.environ["FLOOR_RECORDED"] = file.name
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    Granian(
        "floor:make",
        "127.0.0.1",
        int(sys.argv[1]),
        factory=True,
        interface=Interfaces.WSGI,
        workers=int(sys.argv[2]),
        blocking_threads=16,
        http=HTTPModes.http1,
        log_enabled=True,
        websockets=False,
    ).serve()


if __name__ == "__main__":
    main()
