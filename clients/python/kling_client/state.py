"""What must survive this process: which task makes which file, and that only one run makes it.

Beside `out.mp4` stand `out.mp4.kling.json`, while a task is owed, and `out.mp4.kling.lock`, while a run is at it.
"""

import contextlib
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kling_client.download import sync_folder
from kling_client.errors import Busy, ConfigError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        """Take the lock, or raise OSError."""
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(handle: int) -> None:
        """Take the lock, or raise OSError."""
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


SUFFIX = ".kling.json"
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Record:
    """One run's memory; it never holds the API key.

    phase: `creating` from just before the create is sent, `accepted` once the service named the task.
    digest: tells requests apart, see `digest`.
    body: the create body as sent, so that it can be sent again unchanged with the same Idempotency-Key.
    """

    phase: Literal["creating", "accepted"]
    digest: str
    idempotency_key: str
    base_url: str
    body: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None


def digest(base_url: str, wanted: Mapping[str, Any]) -> str:
    """A short name for what the user asked for, the same for the same wishes at the same service."""
    text = json.dumps([base_url, wanted], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Slot:
    """The place of one output file: its lock and its record."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.parent / (out.name + SUFFIX)
        self._lock = out.parent / (out.name + ".kling.lock")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            Busy: another run holds it; the message names its task where it is known.
            ConfigError: the folder cannot be written.
        """
        try:
            handle = self._take()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot write in {self.out.parent}: {reason}") from None
        try:
            yield
        finally:
            # Removed while held: whoever opened it meanwhile sees that it is no longer the file of that name.
            self._lock.unlink(missing_ok=True)
            os.close(handle)

    def _take(self) -> int:
        """An open, locked handle of the file that has the lock's name."""
        while True:
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, _PRIVATE)
            try:
                _try_lock(handle)
            except OSError:
                os.close(handle)
                raise self._busy() from None
            if self._is_current(handle):
                return handle
            os.close(handle)

    def _is_current(self, handle: int) -> bool:
        """Whether the lock's name still means the file behind *handle*."""
        try:
            return os.path.samestat(os.fstat(handle), self._lock.stat())
        except FileNotFoundError:
            return False

    def _busy(self) -> Busy:
        """What to say when somebody else is at it."""
        try:
            record = self.read()
        except ConfigError:
            record = None
        task = f" (task {record.task_id})" if record and record.task_id else ""
        return Busy(f"another run is making {self.out.name}{task}; nothing was created")

    def read(self) -> Record | None:
        """The record, None when no task is owed.

        Raises:
            ConfigError: there is a file of that name, but it is no record.
        """
        return read_record(self.path) if self.path.exists() else None

    def write(self, record: Record) -> None:
        """Keep *record* durably, readable by its owner only.

        Raises:
            ConfigError: it cannot be written.
        """
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w") as file:
                json.dump({"version": 1, **asdict(record)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ConfigError(f"cannot write {self.path}: {error.strerror or error}") from None

    def clear(self) -> None:
        """Nothing is owed any more."""
        self.path.unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """The record in the file at *path*.

    Raises:
        ConfigError: it holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("version") != 1:
            raise ValueError("unknown version")
        record = Record(**content)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(f"{path} is not a state file of this client; look at it, then remove it") from None
    if record.phase not in ("creating", "accepted") or (record.phase == "accepted") != bool(record.task_id):
        raise ConfigError(f"{path} is not a state file of this client; look at it, then remove it")
    return record
