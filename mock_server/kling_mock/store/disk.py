"""Bytes kept on disk in place of memory: uploads may be many and large."""

import os
import shutil
import tempfile
import threading
import weakref
from itertools import count
from pathlib import Path
from typing import IO

from kling_mock.store.interface import NoRoom

_PREFIX, _HELD = "kling-mock-", "held"


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
                _sweep()
                self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
                held = _hold(self._folder)
                weakref.finalize(self, _remove_folder, self._folder, held)
            return self._folder / str(next(self._names))

    def _remove(self, path: Path | None, size: int) -> None:
        with self._lock:
            self.held -= size
        if path is not None:
            path.unlink(missing_ok=True)


def _hold(folder: Path) -> int:
    """Return an open file in *folder* whose lock says that its fake runs; the system releases it when that ends, however it ends."""
    import fcntl

    held = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return held


def _remove_folder(folder: Path, held: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(held)


def _sweep() -> None:
    """Remove the folders of fakes that were killed: their lock is free."""
    import fcntl

    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            held = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # another's, or no folder of a fake
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # its fake runs
        finally:
            os.close(held)
