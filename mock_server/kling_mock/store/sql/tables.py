"""The tables. Times are Unix seconds: of the account's clock, except `wake`, `lease`, `until`, `began` and `kept_at`, which are real."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    select,
)

VERSION = 2
"""Changes with every change below that a database of before does not have."""

SERVER_CLOCK = 1
"""The first row of the clocks."""

metadata = MetaData()
_Serial = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "kling_meta", metadata, Column("name", String(60), primary_key=True), Column("value", Text, nullable=False)
)
secrets = Table(
    "kling_secrets",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
locks = Table(
    "kling_locks", metadata, Column("name", String(80), primary_key=True), Column("until", Double, nullable=False)
)
clocks = Table(
    "kling_clocks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mode", String(10), nullable=False),
    Column("base", Double, nullable=False),
    Column("began", Double, nullable=False),
    Column("rate", Double, nullable=False),
)
accounts = Table(
    "kling_accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", String(40), nullable=False, unique=True),
    Column("clock_id", ForeignKey("kling_clocks.id"), nullable=False, index=True),
    Column("credits", Double, nullable=False),
    Column("used", Double, nullable=False),
    Column("models", Text),
    Column("rate_limit", Integer),
    Column("number", Integer, nullable=False),
    Column("counts", Text, nullable=False),
    Column("requests", Text, nullable=False),
    Column("relays", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("changes", Integer, nullable=False),
    Column("due", Double),
    Column("wake", Double),
    Index("kling_accounts_wake", "wake"),
    Index("kling_accounts_due", "clock_id", "due"),
)
tasks = Table(
    "kling_tasks",
    metadata,
    Column("account_id", ForeignKey("kling_accounts.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("id", String(80), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("due", Double),
    Column("reads", Integer, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("facts", Text, nullable=False),
    UniqueConstraint("id", "account_id"),
    Index("kling_tasks_due", "account_id", "due", "number"),
)
deliveries = Table(
    "kling_deliveries",
    metadata,
    Column("account_id", ForeignKey("kling_accounts.id"), primary_key=True),
    Column("id", String(80), primary_key=True),
    Column("task_id", String(80), nullable=False),
    Column("number", Integer, nullable=False),
    Column("nth", Integer, nullable=False),
    Column("due", Double),
    Column("lease", Double),
    Column("started", Text),
    Column("facts", Text, nullable=False),
    Index("kling_deliveries_task", "account_id", "task_id"),
    Index("kling_deliveries_due", "account_id", "due", "number", "nth"),
    Index("kling_deliveries_lease", "account_id", "lease"),
)
queue = Table(
    "kling_queue",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("account_id", ForeignKey("kling_accounts.id"), index=True),
    Column("name", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("used", Integer, nullable=False),
)
idempotency = Table(
    "kling_idempotency",
    metadata,
    Column("account_id", ForeignKey("kling_accounts.id"), primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("body", String(60), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("task_id", String(80), nullable=False),
    Index("kling_idempotency_expiry", "account_id", "expires_at"),
)
blobs = Table(
    "kling_blobs",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("kept_at", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
files = Table(
    "kling_files",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("account_id", ForeignKey("kling_accounts.id"), nullable=False, index=True),
    Column("id", String(80), nullable=False),
    Column("blob_id", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("facts", Text, nullable=False),
)
pictures = Table(
    "kling_pictures",
    metadata,
    Column("digest", String(60), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("kept_at", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
journal = Table(
    "kling_journal",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("at", Double, nullable=False),
    Column("account", String(40), index=True),
    Column("kind", String(20), nullable=False),
    Column("facts", Text, nullable=False),
    Column("request_body", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

OF_ACCOUNT = (deliveries, idempotency, files, queue, tasks)
"""What an account owns, in an order in which it can be deleted."""

ACCOUNT = select(accounts, clocks.c.mode, clocks.c.base, clocks.c.began, clocks.c.rate).select_from(
    accounts.join(clocks, accounts.c.clock_id == clocks.c.id)
)
"""Accounts, each with its clock."""
