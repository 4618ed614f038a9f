"""The floor of deliveries: the statements of the fake's courier, recorded and repeated, with the fake's own sender between them.

Recorded is how a courier takes in hand as many callbacks as it waits for, and how it writes down what became of them. Repeated is that,
on the same rows, at the same durability, through the same pool: `LANES` at a time in each process, so that one writes while another
sends. What has been sent is owed again with the last transaction of each round. Nothing is decided, rendered or masked.
"""

import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from floor import Noting, Recording
from load import CREATE, HEADERS

LANES = 2
BEGUN = "delivers"
"""What a floor prints once it runs."""
_ACCOUNTS = 16
_LEASE = "UPDATE kling_deliveries SET lease = NULL, started = NULL, due = {due} WHERE account_id IN ({ids})"
_WAKE = "UPDATE kling_accounts SET wake = {wake} WHERE id IN ({ids})"

Group = tuple[bool, list[tuple[str, Any]]]
"""Whether an operation writes, and its statements; parameters in a list are those of one statement that runs with each of them."""


class _Several(Noting):
    """Writes down a statement that runs with many parameters as one."""

    def executemany(self, statement: str, many: Any) -> Any:
        """Run a statement with each of these parameters."""
        kept = Recording(groups=[(True, [])])
        for parameters in many:
            kept.take(statement, parameters)
        self.recording.groups[-1][1].append((statement, [parameters for _, parameters in kept.groups[-1][1]]))
        return self.cursor.executemany(statement, many)


class _Held:
    """A sender that sends nothing."""

    def post(self, *_: Any, **__: Any) -> Any:
        """Say that it was taken."""
        from kling_common.transport import Outcome

        return Outcome("2xx", 204, "answered 204", 0.001)


def record(store: str, body: dict[str, Any], lanes: int) -> list[tuple[list[Group], list[Group]]]:
    """Return for each lane what taking and what recording a batch runs; each lane has accounts of its own."""
    from kling_mock.app import create_app

    app = create_app(store=store, no_courier=True, sender=_Held(), callbacks="local")
    fake = app.extensions["kling-mock"]
    found = [_recorded(app, fake, {**body, "callback_url": "http://127.0.0.1:9/hook"}, lane) for lane in range(lanes)]
    fake.world.store.close()
    return found


def _recorded(app: Any, fake: Any, body: dict[str, Any], lane: int) -> tuple[list[Group], list[Group]]:
    from kling_mock.service.senders import TAKEN

    store, courier = fake.world.store, fake.courier
    client, keys = app.test_client(), [f"sk-floor-{lane}-{nth}" for nth in range(_ACCOUNTS)]
    for nth in range(TAKEN):
        headers = {**HEADERS, "Authorization": f"Bearer {keys[nth % _ACCOUNTS]}", "X-Mock-Scenario": "instant"}
        response = client.post(CREATE, json=body, headers=headers)
        assert response.status_code == 200, response.data
    for key in keys:
        courier.settle(store.seen(key))
    senders = courier._senders
    record = senders._record
    senders._record = lambda: None  # until all of them have ended
    with _listened(store.database) as taking:
        courier._let_due_happen()
    while len(senders._ended) < TAKEN:
        threading.Event().wait(0.001)
    with _listened(store.database) as recording:
        record()
    del senders._record
    ids = ", ".join(str(store.seen(key).id) for key in keys)
    _owe_again(recording.groups, ids, store.database.now() - 1.0)
    return taking.groups, recording.groups


@contextmanager
def _listened(database: Any) -> Iterator[Recording]:
    """Write down what runs on *database* in the block, and nothing after it."""
    from kling_mock.store.sql import statements

    found, cursor = Recording(), statements._cursor
    known = {name: getattr(database, name) for name in ("reading", "changing", "writing")}
    statements._cursor = lambda connection: _Several(cursor(connection), found)
    found.listen(database)
    yield found
    statements._cursor = cursor
    for name, take in known.items():
        setattr(database, name, take)


def _owe_again(groups: list[Group], ids: str, due: float) -> None:
    """Let the transaction that records attempts make the same callbacks due again."""
    _, statements = next(group for group in groups if any(text == "COMMIT" for text, _ in group[1]))
    statements[-1:-1] = [(_LEASE.format(due=due, ids=ids), ()), (_WAKE.format(wake=due, ids=ids), ())]


def run(database: Any, groups: Sequence[Group]) -> None:
    """Run what was recorded."""
    for writes, statements in groups:
        with database.changing() if writes else database.reading() as connection:
            for statement, parameters in statements:
                cursor = connection.connection.cursor()
                if isinstance(parameters, list):
                    cursor.executemany(statement, parameters)
                    continue
                cursor.execute(statement, parameters)
                if cursor.description:
                    cursor.fetchall()


def send(hook: str) -> Callable[[int], Any]:
    """Return what sends one callback."""
    from kling_common.transport import Transport, resolve_system

    sender = Transport(
        resolve=resolve_system,
        monotonic=perf_counter,
        allow=lambda _: True,
        ca_file=None,
        max_response_bytes=1 << 16,
        user_agent="floor",
    )
    content, headers = b"x" * 600, {"content-type": "application/json"}
    return lambda _: sender.post(hook, content, headers, 10.0)


def main() -> None:
    """`floor_courier.py STORE HOOK RECORDED NTH`: deliver until the process is ended, as the *NTH* of several."""
    from kling_mock.service.senders import TAKEN
    from kling_mock.store.sql.database import Database

    store, hook, recorded, nth = sys.argv[1:]
    lanes = pickle.loads(Path(recorded).read_bytes())[int(nth) * LANES :][:LANES]
    database, one = Database(store), send(hook)
    with ThreadPoolExecutor(TAKEN * LANES) as pool:

        def rounds(taking: Sequence[Group], recording: Sequence[Group]) -> None:
            for _ in count():
                run(database, taking)
                list(pool.map(one, range(TAKEN)))
                run(database, recording)

        threads = [threading.Thread(target=partial(rounds, *lane)) for lane in lanes]
        for thread in threads:
            thread.start()
        print(BEGUN, flush=True)
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
