"""Bytes in the database: uploads, and first frames that were fetched."""

import json
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import RowMapping, delete, func, select

from kling_mock.store.interface import StoredFile
from kling_mock.store.sql.database import Database
from kling_mock.store.sql.tables import blobs, pictures

PICTURES = 256 * 1024 * 1024
"""Bytes of first frames that are kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class SqlBlob:
    """Bytes in one row, read when they are asked for."""

    database: Database
    id: int
    size: int

    def read(self) -> bytes:
        """Return all of them; none once they were forgotten."""
        with self.database.reading() as connection:
            found = connection.execute(select(blobs.c.data).where(blobs.c.id == self.id)).scalar_one_or_none()
        return bytes(found or b"")


def file_values(stored: StoredFile) -> dict[str, Any]:
    """Return the columns of an uploaded file."""
    content = stored.content
    assert isinstance(content, SqlBlob)
    facts = {one.name: getattr(stored, one.name) for one in fields(stored) if one.name != "content"}
    return {"id": stored.id, "blob_id": content.id, "size": content.size, "facts": json.dumps(facts)}


def file_of(database: Database, row: RowMapping) -> StoredFile:
    """Return the uploaded file in a row."""
    return StoredFile(content=SqlBlob(database, row["blob_id"], row["size"]), **json.loads(row["facts"]))


def keep_picture(database: Database, digest: str, data: bytes) -> None:
    """Keep a first frame, and no more of the oldest than there is room for."""
    with database.writing() as connection:
        connection.execute(
            database.insert_new(pictures).values(digest=digest, size=len(data), kept_at=database.now(), data=data)
        )
        younger = func.sum(pictures.c.size).over(order_by=(pictures.c.kept_at.desc(), pictures.c.digest))
        weighed = select(pictures.c.digest, younger.label("together")).subquery()
        over = select(weighed.c.digest).where(weighed.c.together > PICTURES)
        connection.execute(delete(pictures).where(pictures.c.digest.in_(over)))


def picture(database: Database, digest: str) -> bytes | None:
    """Return a first frame that is kept."""
    with database.reading() as connection:
        found = connection.execute(select(pictures.c.data).where(pictures.c.digest == digest)).scalar_one_or_none()
    return None if found is None else bytes(found)
