"""A transaction on an account for a block: its row is locked where the block begins, what has changed is written where it ends."""

from types import TracebackType

from kling_mock.store.sql.accounts import Accounts
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.rows import SqlAccount
from kling_mock.store.sql.transaction import SqlTransaction


class Begun:
    """The block. A class rather than a generator, as `Taken` is."""

    __slots__ = ("_account", "_database", "_facts", "_rows", "_taken")

    def __init__(self, database: Database, rows: Accounts, account: SqlAccount) -> None:
        self._database, self._rows, self._account = database, rows, account
        self._taken = database.writing()

    def __enter__(self) -> SqlTransaction:
        """Lock the account's row."""
        connection = self._taken.__enter__()
        try:
            row = self._rows.locked(connection, self._account)
            self._facts = SqlTransaction(self._database, connection, row)
        except BaseException as error:
            self._taken.__exit__(type(error), error, None)
            raise
        return self._facts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Write what has changed; nothing where the block failed."""
        if error is None:
            try:
                self._facts.finish()
            except BaseException as found:
                self._taken.__exit__(type(found), found, None)
                raise
        self._taken.__exit__(kind, error, where)
