"""The connection to a database: opening it, its schema, its two dialects, and what goes wrong with it."""

import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kling_mock import clock as clocks
from kling_mock.store.interface import StoreDown, StoreUnusable
from kling_mock.store.sql.statements import plain
from kling_mock.store.sql.tables import VERSION, meta, metadata
from kling_mock.store.sql.writer_lock import WriterLock

_SCHEMA_LOCK = 0x6B6C696E
_POOL, _OVERFLOW, _POOL_WAIT = 16, 48, 10.0
_BUSY = 30.0
_CONNECT = 5
_SKEW, _COMPARE = 60.0, 30.0
_LOGIN = re.compile(r"//[^@]*@")
_STORES = "say memory, sqlite:///FILE or postgresql://USER@HOST/NAME"

_log = logging.getLogger(__name__)


def parsed(url: str) -> URL:
    """Return the URL of a store with the driver that is used for it.

    Raises:
        StoreUnusable: it names no database that the fake can use.
    """
    shown = _LOGIN.sub("//...@", url)
    try:
        found = make_url(url.strip())
    except (ArgumentError, ValueError) as error:
        raise StoreUnusable(f"--store {shown!r}: not a store; {_STORES}") from error
    kind = found.get_backend_name()
    if kind == "sqlite":
        return _sqlite(found, shown)
    if kind in ("postgresql", "postgres"):
        try:
            import psycopg  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise StoreUnusable("--store: PostgreSQL needs psycopg; run `pip install 'klingkit[postgres]'`") from error
        return found.set(drivername="postgresql+psycopg")
    raise StoreUnusable(f"--store {kind}:...: not a store; {_STORES}")


def _sqlite(found: URL, shown: str) -> URL:
    """Return the URL of an SQLite file.

    Raises:
        StoreUnusable: it names none, or has parts that such a URL does not have.
    """
    if found.host:
        raise StoreUnusable(
            f"--store {shown!r}: a file has three slashes: sqlite:///{found.host}; four where its path begins at /"
        )
    if found.database in (None, "", ":memory:"):
        raise StoreUnusable("--store: SQLite needs a file, such as sqlite:///kling.db; --store memory needs none")
    if found.query or "\0" in str(found.database):
        raise StoreUnusable(f"--store {shown!r}: an SQLite URL is a file and nothing else, such as sqlite:///kling.db")
    return found.set(drivername="sqlite+pysqlite")


class Database:
    """An engine whose connections are in autocommit: one statement is one transaction, `writing` opens a longer one.

    A thread may keep its connection from one operation to the next: see `held`.
    """

    def __init__(self, url: str) -> None:
        """Connect, and create the tables where there are none.

        Raises:
            StoreUnusable: there is no such database, it cannot be written, or it has another schema.
        """
        self.url = parsed(url)
        self.shown = self.url.render_as_string(hide_password=True).replace("+pysqlite", "").replace("+psycopg", "")
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._engine()
        self._mine, self._closed = _Mine(), False
        driver: Any = self.engine.dialect.loaded_dbapi
        self._driver_error: type[Exception] = driver.Error
        self._driver_broken: type[Exception] = driver.IntegrityError
        self._no_lock: AbstractContextManager[Any] = nullcontext()
        self._writer_lock = WriterLock(_BUSY)
        self._lock: AbstractContextManager[Any] = self._writer_lock if self.sqlite else self._no_lock
        self._begin = "BEGIN IMMEDIATE" if self.sqlite else "BEGIN"
        self.ahead, self._compared = 0.0, clocks.monotonic()
        with ExitStack() as unless_all_is_well:
            unless_all_is_well.callback(self.close)
            try:
                self._open()
            except StoreDown as error:
                raise StoreUnusable(f"--store {self.shown}: {error.reason}") from error
            except SQLAlchemyError as error:
                raise StoreUnusable(f"--store {self.shown}: {_reason(error)}") from error
            unless_all_is_well.pop_all()
        if self.sqlite:
            self._writer_lock.share(Path(f"{self.url.database}-turn"))

    def _engine(self) -> Engine:
        if self.sqlite:
            arguments: dict[str, Any] = {"timeout": _BUSY, "check_same_thread": False}
        else:
            arguments = {"connect_timeout": _CONNECT, "application_name": "kling-mock"}
        engine = create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            connect_args=arguments,
            pool_size=_POOL,
            max_overflow=_OVERFLOW,
            pool_timeout=_POOL_WAIT,
            pool_pre_ping=False,
            pool_reset_on_return=None,  # whoever opens a transaction ends it
        )
        if self.sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
        return engine

    def _open(self) -> None:
        """Create or check the schema, one process at a time, and find out how far the database's clock is ahead of ours."""
        with self.writing() as connection:
            if not self.sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            if not inspect(connection).has_table(meta.name):
                metadata.create_all(connection)
                connection.execute(insert(meta).values(name="version", value=str(VERSION)))
            found = connection.execute(select(meta.c.value).where(meta.c.name == "version")).scalar_one()
            if found != str(VERSION):
                raise StoreUnusable(
                    f"--store {self.shown}: its schema is version {found}, this kling-mock needs {VERSION}; "
                    "use the kling-mock that made it, or a new database"
                )
        self._compare_clocks()

    def _compare_clocks(self) -> None:
        """Find out how far the database's clock is ahead of this machine's."""
        self._compared = clocks.monotonic()
        if self.sqlite:
            return
        with Taken(self, self._no_lock) as connection:
            theirs = float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())
        before, self.ahead = self.ahead, theirs - clocks.wall()
        if abs(self.ahead) > _SKEW and abs(self.ahead - before) > _SKEW:
            _log.warning(
                "this machine's clock is %.0f s %s the database's; going by the database's",
                abs(self.ahead),
                "behind" if self.ahead > 0 else "ahead of",
            )

    def now(self) -> float:
        """Return the real time by the database's clock."""
        return clocks.wall() + self.ahead

    def reading(self) -> "Taken":
        """Return a connection for single statements, for a block.

        Raises:
            StoreDown: the database cannot be reached.
        """
        if (
            not self.sqlite and clocks.monotonic() >= self._compared + _COMPARE
        ):  # a machine's clock may be set meanwhile
            self._compare_clocks()
        return Taken(self, self._no_lock)

    def writing(self) -> "Taken":
        """Return a connection with a transaction that is committed when the block ends, and rolled back when it raises.

        Raises:
            StoreDown: the database cannot be reached or written.
        """
        return Taken(self, self._lock, self._begin)

    def changing(self) -> "Taken":
        """Return a connection for single statements that write, for a block.

        Raises:
            StoreDown: the database cannot be reached or written.
        """
        return Taken(self, self._lock)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Let the operations of this thread that follow one another in the block share one connection.

        The function that is returned gives it back until the next one: for whoever is about to wait for something else.
        """
        self._mine.keeps = True
        try:
            yield self._let_go
        finally:
            self._mine.keeps = False
            self._let_go()

    def _let_go(self) -> None:
        connection, self._mine.connection = self._mine.connection, None
        if connection is not None:
            self._to_the_pool(connection)

    def _to_the_pool(self, connection: Connection) -> None:
        """Give a connection back; one that comes after the others were closed would lie in a pool that is not closed again."""
        if self._closed and not connection.invalidated:
            connection.detach()
        connection.close()

    def take(self) -> Connection:
        """Return the connection that this thread keeps, or one of the pool."""
        connection, self._mine.connection = self._mine.connection, None
        return self.engine.connect() if connection is None else connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next operation of this thread, where it keeps one; else the pool has it."""
        if self._mine.keeps and self._mine.connection is None and not connection.invalidated:
            self._mine.connection = connection
        else:
            self._to_the_pool(connection)

    def explained(self, error: BaseException) -> StoreDown | None:
        """Return what an error of the driver or the pool means to the rest of the fake; None for any other, and a broken constraint."""
        if isinstance(error, IntegrityError | self._driver_broken):
            return None
        if isinstance(error, DBAPIError | PoolTimeout | self._driver_error):
            return StoreDown(f"the store {self.shown} is not available", _reason(error))
        return None

    def is_of_driver(self, error: BaseException) -> bool:
        """Return whether the driver raised this by itself, without SQLAlchemy."""
        return isinstance(error, self._driver_error)

    def insert_new(self, table: Table) -> Any:
        """Return an insert into *table* that does nothing where another process was first."""
        made = sqlite_dialect.insert(table) if self.sqlite else postgresql.insert(table)
        return made.on_conflict_do_nothing()

    def check(self) -> None:
        """Do nothing where the database responds.

        Raises:
            StoreDown: it does not.
        """
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections; those that are in use, when they are given back."""
        self._closed = True
        self._let_go()
        self.engine.dispose()
        self._writer_lock.close()


class _Mine(threading.local):
    """The connection that a thread keeps from one operation to the next, where it `keeps` one."""

    keeps = False
    connection: Connection | None = None


class Taken:
    """A connection for a block, with a transaction where *begin* opens one; what goes wrong with it is a `StoreDown`.

    A class, because each call of the fake has three of these and a generator costs several times as much.
    """

    __slots__ = ("_begin", "_connection", "_database", "_lock")

    def __init__(self, database: Database, lock: AbstractContextManager[Any], begin: str | None = None) -> None:
        self._database, self._lock, self._begin = database, lock, begin
        self._connection: Connection | None = None

    def __enter__(self) -> Connection:
        """Take it, once the lock is had."""
        self._lock.__enter__()
        try:
            self._connection = self._database.take()
            if self._begin is not None:
                plain(self._connection, self._begin)
        except BaseException as error:
            self._end(error)
            raise
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End the transaction, and give the connection back."""
        if error is None and self._begin is not None and self._connection is not None:
            try:
                plain(self._connection, "COMMIT")
            except BaseException as found:
                self._end(found)
                raise
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Roll back where *error* ended the block, and give the connection back.

        Raises:
            StoreDown: the error is one of the database.
        """
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                if error is not None:
                    self._undo(connection, error)
                self._database.give_back(connection)
        finally:
            self._lock.__exit__(None, None, None)
        down = None if error is None else self._database.explained(error)
        if down is not None:
            raise down from error

    def _undo(self, connection: Connection, error: BaseException) -> None:
        if self._begin is not None:
            with suppress(SQLAlchemyError):
                connection.exec_driver_sql("ROLLBACK")
        if self._database.is_of_driver(error):
            _found_out(connection)


def _found_out(connection: Connection) -> None:
    """Let SQLAlchemy find out whether a connection is lost on which the driver failed by itself; those lost with it go too."""
    with suppress(SQLAlchemyError):
        connection.exec_driver_sql("SELECT 1")


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    """Set a new connection to write-ahead logging, in which readers and a writer do not wait for each other."""
    del record
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=OFF")


def _reason(error: Exception) -> str:
    """Return the first line of what the driver said."""
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__
