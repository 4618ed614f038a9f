"""The floor of a store: a bare WSGI callable on the same server that runs the same statements through the same pool.

The statements are recorded from one real call of the fake, then repeated with ids and numbers of their own; nothing is validated,
decided or rendered. For the memory store the callable parses the same JSON. Either returns as many bytes as the fake does.
"""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson
from load import CREATE, HEADERS, QUERY
from sqlalchemy import Connection, Engine, event, update

_NUMBERS = 1_000_000
"""How many tasks each process of a floor may make; their numbers overlap with no other's."""

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass
class Recording:
    """Statements of one call: for each connection that it took from a pool, what it ran there."""

    groups: list[tuple[Engine, list[tuple[str, Any]]]] = field(default_factory=list)

    def listen(self, engine: Engine) -> None:
        """Write down what runs on *engine* from now on."""
        event.listen(engine, "engine_connect", lambda _: self.groups.append((engine, [])))
        event.listen(engine, "before_cursor_execute", self._take)

    def _take(self, _: Connection, __: Any, statement: str, parameters: Any, ___: Any, ____: bool) -> None:
        self.groups[-1][1].append((statement, parameters))


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


class Statements:
    """Runs what one call of the fake on *store* ran, again and again."""

    def __init__(self, store: str, method: str, body: dict[str, Any]) -> None:
        from kling_mock.app import create_app
        from kling_mock.store.sql.tables import accounts

        app = create_app(store=store, no_courier=True)
        client, database = app.test_client(), app.extensions["kling-mock"].world.store.database
        self.id = str(client.post(CREATE, json=body, headers=HEADERS).json["id"])
        self.number = (os.getpid() % 2000 + 1) * _NUMBERS
        with database.writing() as connection:
            connection.execute(update(accounts).values(number=self.number - 1))
        recording = Recording()
        for engine in {database.engine, database.relaxed}:
            recording.listen(engine)
        if method == "POST":
            response = client.post(CREATE, json=body, headers=HEADERS)
            self.id = str(response.json["id"])
        else:
            response = client.get(QUERY + self.id, headers=HEADERS)
        assert response.status_code == 200, response.data
        self.size = len(response.data)
        self._groups = [(engine, list(statements)) for engine, statements in recording.groups if statements]
        for engine in {database.engine, database.relaxed}:
            event.remove(engine, "before_cursor_execute", recording._take)
        self._counts = count(1)

    def __call__(self) -> None:
        """Run them once."""
        nth = next(self._counts)
        names = {self.id: f"{self.id}-{os.getpid()}-{nth}", self.number: self.number + nth}
        for engine, statements in self._groups:
            with engine.connect() as connection:
                for statement, parameters in statements:
                    result = connection.exec_driver_sql(statement, renamed(parameters, names))
                    if result.returns_rows:
                        result.fetchall()


def make() -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """Return the callable that the environment asks for."""
    wanted = orjson.loads(os.environ["FLOOR"])
    work = None if wanted["store"] == "memory" else Statements(wanted["store"], wanted["method"], wanted["body"])
    size = work.size if work is not None else int(wanted["size"])
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
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    Granian(
        "floor:application",
        "127.0.0.1",
        int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=int(sys.argv[2]),
        blocking_threads=16,
        http=HTTPModes.http1,
        log_enabled=False,
        websockets=False,
    ).serve()


if __name__ == "__main__":
    main()
else:
    application = make()
