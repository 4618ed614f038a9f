"""Values of the whole store, each under a name."""

from sqlalchemy import Connection, insert, select, update

from kling_mock.store.sql.tables import meta


def value_of(connection: Connection, name: str, default: str = "") -> str:
    """Return the value of this name, or *default* where there is none yet."""
    found = connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()
    return default if found is None else str(found)


def set_value(connection: Connection, name: str, value: str, *, only_new: bool = False) -> None:
    """Write a value; with *only_new* one that is there stays."""
    known = connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()
    if known is None:
        connection.execute(insert(meta).values(name=name, value=value))
    elif not only_new:
        connection.execute(update(meta).where(meta.c.name == name).values(value=value))
