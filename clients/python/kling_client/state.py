"""What must survive this process: which task makes which file, and that only one run makes it.

The TypeScript client keeps the same files; clients/STATE.md describes them.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kling_client import timing
from kling_client.contract import Contract
from kling_client.errors import Busy, ConfigError
from kling_client.lock import Held, Lock, create_exclusively, sync_folder, write_part
from kling_client.timing import Clock, Sleep

SUFFIX = ".kling.json"
VERSION = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One run's memory; it never holds the API key.

    phase: `creating` from just before the create is sent, `accepted` once the service named the task.
    request: what the user asked for, which tells one request from another, see `wanted`.
    body: the create body as sent, so that it can be sent again unchanged with the same Idempotency-Key.
    """

    phase: Literal["creating", "accepted"]
    request: Mapping[str, Any]
    idempotency_key: str
    base_url: str
    body: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None

    @property
    def about(self) -> str:
        """What the record is about, for a message."""
        return f"task {self.task_id}" if self.task_id else "a create whose outcome is not known"


def wanted(contract: Contract, image: str | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as a record keeps it: the image as given, the fields that are set, and a model that is not the default."""
    asked = {name: value for name, value in fields.items() if value is not None}
    further = asked.pop("extra", None) or {}
    other = {} if contract.spec is None else {"model": contract.model}
    return {"image": image, **other, **further, **asked}


class Slot:
    """The place of one output file: its lock and its record.

    Args:
        out: the output file.
        clock, sleep: monotonic seconds and waiting, for a lock whose holder cannot be looked up.
    """

    def __init__(self, out: Path, *, clock: Clock = timing.monotonic, sleep: Sleep = timing.sleep) -> None:
        self.out = out
        self.path = out.parent / (out.name + SUFFIX)
        self._lock = Lock(out.parent / (out.name + ".kling.lock"), clock, sleep)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            Busy: another run holds it; the message names its task where it is known.
            ConfigError: the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._lock.held())
            except Held:
                raise self._busy() from None
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ConfigError(f"cannot write in {self.out.parent}: {reason}") from None
            yield

    def _busy(self) -> Busy:
        """Return the error for a lock that another run holds."""
        try:
            record = self.read()
        except ConfigError:
            record = None
        task = f" (task {record.task_id})" if record and record.task_id else ""
        return Busy(f"another run is making {self.out.name}{task}; nothing was created")

    def read(self) -> Record | None:
        """Return the record, None when no task is owed.

        Raises:
            ConfigError: there is a file of that name, but it is no record.
        """
        return read_record(self.path) if self.path.exists() else None

    def begin(self, record: Record) -> None:
        """Keep the *record* of a new create durably, unless there is one already.

        Raises:
            Busy: there is one: another run came first.
            ConfigError: it cannot be written.
        """
        try:
            create_exclusively(self.path, _text(record))
        except FileExistsError:
            raise self._busy() from None
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror or error}") from None

    def write(self, record: Record) -> None:
        """Keep *record* durably in place of the one that is there.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            part = write_part(self.path, _text(record))
            try:
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror or error}") from None

    def clear(self) -> None:
        """Forget the record: nothing is owed any more."""
        self.path.unlink(missing_ok=True)


def _text(record: Record) -> str:
    """Return the content of a state file."""
    return json.dumps({"version": VERSION, **asdict(record)}, indent=1)


def read_record(path: Path) -> Record:
    """Return the record in the file at *path*.

    Raises:
        ConfigError: it holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not _is_record(content):
        raise ConfigError(f"{path} is not a state file of this client; look at it, then remove it")
    # The first version kept a digest, made by each client in its own way: it equals no request.
    kept = {"request": {}, "task_id": None, **content}
    return Record(**{member.name: kept[member.name] for member in dataclasses.fields(Record)})


def _is_record(content: Mapping[str, Any]) -> bool:
    """Return whether *content* has the members of a record, each of its kind."""
    texts = all(isinstance(content.get(name), str) and content[name] for name in ("idempotency_key", "base_url"))
    version = content.get("version")
    objects = [content.get("body"), content.get("request", {} if version == 1 else None)]
    task_id = content.get("task_id")
    named = isinstance(task_id, str) and bool(task_id)
    fits = named if content.get("phase") == "accepted" else content.get("phase") == "creating" and task_id is None
    return version in (1, VERSION) and texts and fits and all(isinstance(value, dict) for value in objects)
