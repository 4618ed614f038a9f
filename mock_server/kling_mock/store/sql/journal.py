"""The journal in the database: one row an entry, so that every process shows the same one."""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from sqlalchemy import RowMapping, bindparam, column, delete, func, insert, select, true, update, values

from kling_mock.store.interface import StoreDown
from kling_mock.store.journal import Entry, Journal, New
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.statements import Statement
from kling_mock.store.sql.tables import journal

_ORDER_LOCK = 0x6B6A726E
_SWEEP = 256
_TOGETHER, _TOGETHER_IN_SQLITE = 7, 64
"""Entries that are written together: psycopg takes a statement of more than fifty parameters apart anew each time."""
_FORGOTTEN = "forgotten"
_COLUMNS = ("at", "account", "kind", "facts", "request_body", "body")
_SHORT = dict(zip(_COLUMNS, "abcdef", strict=True))
_ADD = Statement(insert(journal).inline(), *_COLUMNS)
_IN_TURN = select(func.pg_advisory_xact_lock(_ORDER_LOCK), func.set_config("synchronous_commit", "off", True)).subquery(
    "turn"
)
"""On PostgreSQL, in turn, and its commit does not wait for the disk: entries may be lost with the machine, though not with the process."""


@cache
def _add_in_turn(entries: int) -> Statement:
    """Return the statement that adds so many entries at once: a statement for each would be as many ways to the server."""
    given = values(*(column(name, journal.c[name].type) for name in _COLUMNS), name="given").data(
        [
            tuple(bindparam(f"{_SHORT[name]}{nth}", type_=journal.c[name].type) for name in _COLUMNS)
            for nth in range(entries)
        ]
    )
    # The row of the turn comes first, so that no entry has a number before it.
    return Statement(
        insert(journal).inline().from_select([*_COLUMNS], select(*given.c).select_from(_IN_TURN.join(given, true())))
    )


_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """An entry that is to be written, and what came of it."""

    values: dict[str, Any]
    done: bool = False
    error: StoreDown | None = None


class _Gathered(threading.local):
    """What a thread leaves to be written together, where it does."""

    entries: list[Entry] | None = None


class SqlJournal(Journal):
    """At most *entries* entries, give or take those between two sweeps; each body is cut at *body* bytes.
    Secrets are replaced before an entry is written.

    On PostgreSQL entries are numbered one after the other: a reader that has seen a number misses none below it.
    """

    def __init__(self, database: Database, *, entries: int = 10_000, body: int = 64 * 1024) -> None:
        super().__init__(entries=entries, body=body)
        self._database = database
        self._since_sweep = 0
        self._sweeping = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._turn = threading.Lock()
        self._gathered = _Gathered()
        self._together = _TOGETHER_IN_SQLITE if database.sqlite else _TOGETHER

    @property
    def next_seq(self) -> int:
        """Return the number that the next entry has at least."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.max(journal.c.seq))).scalar() or 0) + 1

    @next_seq.setter
    def next_seq(self, value: int) -> None:
        """Do nothing: the database counts."""

    def record(self, entry: Entry) -> Entry:
        """Record one entry; where the store is not available it is lost, and the log says so."""
        self._mask_secrets(entry)
        left = self._gathered.entries
        if left is None:
            self.keep([entry])
        else:
            left.append(entry)
        return entry

    @contextmanager
    def gathered(self) -> Iterator[Callable[[], Sequence[Entry]]]:
        """Leave what this thread adds in the block to be written together."""
        left = self._gathered.entries = []

        def taken() -> Sequence[Entry]:
            entries = left.copy()
            left.clear()
            return entries

        try:
            yield taken
        finally:
            self._gathered.entries = None
            self.keep(left)

    def add_all(self, many: Sequence[New]) -> None:
        """Record several entries, in one transaction."""
        self.keep([self._masked(*one) for one in many])

    def _masked(self, at: float, account: str | None, kind: str, facts: dict[str, Any]) -> Entry:
        entry = Entry(0, at, account, kind, **facts)
        self._mask_secrets(entry)
        return entry

    def keep(self, entries: Sequence[Entry]) -> None:
        """Write entries, in one transaction; where the store is not available they are lost, and the log says so."""
        if not entries:
            return
        try:
            self._write([_values(entry) for entry in entries])
            self._sweep(len(entries))
        except StoreDown as error:
            _log.warning(
                "%s: %s",
                "a journal entry is lost" if len(entries) == 1 else f"{len(entries)} journal entries are lost",
                error,
            )
        if self.listener is not None:
            for entry in entries:
                self.listener(entry)

    def _write(self, values: list[dict[str, Any]]) -> None:
        """Write entries, in one transaction with those that other threads have brought while the last one ran.

        Raises:
            StoreDown: they could not be written.
        """
        mine = [_Waiting(one) for one in values]
        self._waiting.extend(mine)
        with self._turn:
            while not all(one.done for one in mine):
                together = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._together))]
                self._write_together(together)
        for one in mine:
            if one.error is not None:
                raise one.error

    def _write_together(self, together: list["_Waiting"]) -> None:
        try:
            database, each = self._database, [one.values for one in together]
            if not database.sqlite:
                with database.changing() as connection:
                    named = {f"{_SHORT[name]}{nth}": one[name] for nth, one in enumerate(each) for name in _COLUMNS}
                    _add_in_turn(len(each)).run(connection, **named)
            else:
                with database.writing() if len(each) > 1 else database.changing() as connection:
                    _ADD.each(connection, each)
        except StoreDown as error:
            for one in together:
                one.error = error
        finally:
            for one in together:
                one.done = True

    def _sweep(self, added: int) -> None:
        """Drop the oldest entries now and then."""
        self._since_sweep += added
        if self._since_sweep < min(_SWEEP, self._most) or not self._sweeping.acquire(blocking=False):
            return
        try:
            self._since_sweep = 0
            with self._database.changing() as connection:
                last = select(func.max(journal.c.seq)).scalar_subquery()
                connection.execute(delete(journal).where(journal.c.seq <= last - self._most))
        finally:
            self._sweeping.release()

    def entries(self, account: str | None = None, since: int = 0, limit: int | None = None) -> list[Entry]:
        """Return the entries from number *since* on, oldest first; of one account, or of all."""
        with self._database.reading() as connection:
            last = int(connection.execute(select(func.max(journal.c.seq))).scalar() or 0)
            kept = (journal.c.seq >= max(since, last - self._most + 1), journal.c.kind != _FORGOTTEN)
            found = select(journal).where(*kept).order_by(journal.c.seq)
            if account is not None:
                found = found.where(journal.c.account == account)
            rows = connection.execute(found if limit is None else found.limit(limit)).mappings().all()
        return [_entry(row) for row in rows]

    def forget(self, account: str | None = None) -> None:
        """Drop one account's entries, or all. The last stays as an empty row, so that no number is given twice."""
        mine = true() if account is None else journal.c.account == account
        last = select(func.max(journal.c.seq)).scalar_subquery()
        empty = {"account": None, "kind": _FORGOTTEN, "facts": "{}", "request_body": b"", "body": b""}
        with self._database.writing() as connection:
            connection.execute(update(journal).where(mine, journal.c.seq == last).values(empty))
            connection.execute(delete(journal).where(mine, journal.c.seq < last))


_NAMES = ("method", "url", "status", "headers", "seconds", "task_id", "scenario", "fault", "more")


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "at": entry.at,
        "account": entry.account,
        "kind": entry.kind,
        "facts": _facts(entry),
        "request_body": entry.request_body,
        "body": entry.body,
    }


def _facts(entry: Entry) -> str:
    facts = {name: getattr(entry, name) for name in _NAMES}
    sent = entry.request_headers
    facts["request_headers"] = None if sent is None else dict(sent.items())
    try:
        return orjson.dumps(facts).decode()
    except orjson.JSONEncodeError:  # half a character pair, which a URL may have
        return json.dumps(facts)


def _entry(row: RowMapping) -> Entry:
    facts = json.loads(row["facts"])
    headers = facts.pop("headers")
    return Entry(
        seq=row["seq"],
        at=row["at"],
        account=row["account"],
        kind=row["kind"],
        request_body=bytes(row["request_body"]),
        body=bytes(row["body"]),
        headers=None if headers is None else [(name, value) for name, value in headers],
        clean=True,
        **facts,
    )
