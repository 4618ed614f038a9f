"""Bytes kept on disk in place of memory: uploads may be many and large."""

import shutil
import tempfile
import threading
import weakref
from itertools import count
from pathlib import Path
from typing import IO

from kling_mock.store.interface import NoRoom


class Blob:
    """Some bytes on disk. They are there as long as this object is."""

    __slots__ = ("__weakref__", "path", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def read(self) -> bytes:
        """Return all of it."""
        return self.path.read_bytes()


class Disk:
    """At most *limit* bytes in a private temporary folder, made when first needed and removed when the process ends.

    A blob that is no longer referenced is removed at once, so whoever forgets a file has nothing else to do.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names = count(1)
        self._folder: Path | None = None
        self._lock = threading.RLock()  # entered again when a blob dies while another one is being kept
        self.held = 0

    def keep(self, source: IO[bytes]) -> Blob:
        """Return a copy of *source*, from its beginning.

        Raises:
            NoRoom: it would pass the limit, or the system has no place for it.
        """
        size = source.seek(0, 2)
        source.seek(0)
        with self._lock:
            if self.held + size > self._limit:
                raise NoRoom(f"the fake keeps {self._limit} bytes of uploads in all, {self.held} of them are taken")
            self.held += size
        path: Path | None = None
        try:
            path = self._place()
            with path.open("xb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            self._remove(path, size)
            raise NoRoom(f"the upload could not be written to disk: {error.strerror}") from error
        blob = Blob(path, size)
        weakref.finalize(blob, self._remove, path, size)
        return blob

    def _place(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="kling-mock-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            return self._folder / str(next(self._names))

    def _remove(self, path: Path | None, size: int) -> None:
        with self._lock:
            self.held -= size
        if path is not None:
            path.unlink(missing_ok=True)
