"""The open connections of one engine: the one that was used last is used next.

SQLAlchemy's own pool makes several objects for each use, which costs as much as two statements. It still opens the connections, and
finds out which of them are lost.
"""

import threading
from collections import deque
from contextlib import suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from kling_mock import clock as clocks

MOST, MOST_IDLE = 64, 16
_PATIENCE = 10.0


class Connections:
    """At most `MOST` of them at a time, of which `MOST_IDLE` stay open while they are idle."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._idle: deque[Connection] = deque()
        self._freed = threading.Condition()
        self._open = self._waiting = 0

    def take(self) -> Connection:
        """Return a connection for the caller alone.

        Raises:
            NoConnection: none was given back for a while.
        """
        try:
            return self._idle.pop()
        except IndexError:
            return self._another()

    def _another(self) -> Connection:
        until = clocks.monotonic() + _PATIENCE
        with self._freed:
            self._waiting += 1  # before the next look, so that whoever gives one back from now on says so
            try:
                while True:
                    with suppress(IndexError):
                        return self._idle.pop()
                    if self._open < MOST:
                        self._open += 1
                        break
                    if not self._freed.wait(until - clocks.monotonic()):
                        raise NoConnection(f"all {MOST} connections are in use")
            finally:
                self._waiting -= 1
        try:
            return self.engine.connect()
        except BaseException:
            self._less(1)
            raise

    def give(self, connection: Connection) -> None:
        """Take a connection back."""
        if connection.invalidated or len(self._idle) >= MOST_IDLE:
            self._end(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._freed:
                self._freed.notify()

    def drop(self, connection: Connection) -> None:
        """Give up a connection that failed, and with it those that are idle: what ended one may have ended all."""
        with suppress(SQLAlchemyError):
            connection.exec_driver_sql("SELECT 1")  # lets SQLAlchemy find out whether it is lost
        self._end(connection)
        self._close_idle()

    def close(self) -> None:
        """Close those that are idle."""
        self._close_idle()
        self.engine.dispose()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._end(self._idle.pop())

    def _end(self, connection: Connection) -> None:
        with suppress(SQLAlchemyError):
            connection.close()
        self._less(1)

    def _less(self, count: int) -> None:
        with self._freed:
            self._open -= count
            self._freed.notify()
