"""One run at a time for one output file, whichever of the clients it uses; the protocol is described in clients/STATE.md."""

import contextlib
import json
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kling_client.timing import Clock, Sleep

LEASE = 6.0
"""Seconds after which a lock that is not renewed, and whose holder cannot be looked up, counts as left over."""
RENEWAL = 2.0
"""Seconds between two renewals."""
_GLANCE = 0.25
_PRIVATE = 0o600
_STATE, _START_TIME = 0, 19
"""Places in /proc/PID/stat, counted after the process's name, which may hold spaces."""
_ENDED = "ZXx"
"""States of a process that has ended while its parent has not asked for it, which the first process of many a container never does."""


class Held(Exception):
    """Another run holds the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: a random token, and how to look the process up."""

    token: str
    pid: int
    host: str
    born: str


class Lock:
    """The lock at *path*.

    Args:
        path: the lock file.
        clock, sleep: monotonic seconds and waiting, for a lock whose holder cannot be looked up.
    """

    def __init__(self, path: Path, clock: Clock, sleep: Sleep) -> None:
        self.path = path
        self._clock = clock
        self._sleep = sleep

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            Held: another run holds it.
            OSError: the folder cannot be written.
        """
        token = self._take()
        stop = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(stop,), name="kling-lock", daemon=True)
        renewal.start()
        try:
            yield
        finally:
            stop.set()
            renewal.join()
            self._release(token)

    def _take(self) -> str:
        """Make the lock file; return its token."""
        holder = Holder(secrets.token_hex(8), os.getpid(), host(), born(os.getpid()) or "")
        while True:
            try:
                create_exclusively(self.path, json.dumps({"version": 1, **asdict(holder)}))
            except FileExistsError:
                self._break_left_over()
            else:
                return holder.token

    def _break_left_over(self) -> None:
        """Remove a lock whose holder is gone.

        Raises:
            Held: its holder is at work.
        """
        text = _content(self.path)
        if text is None:
            return
        alive = _is_alive(_holder(text))
        if alive or (alive is None and self._is_renewed()):
            raise Held
        aside = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        if _content(aside) != text:
            # Another run broke the lock first and holds a new one, which goes back.
            with contextlib.suppress(OSError):
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)

    def _is_renewed(self) -> bool:
        """Return whether the lock's modification time changes within the lease."""
        seen = _modified(self.path)
        end = self._clock() + LEASE
        while self._clock() < end:
            self._sleep(_GLANCE)
            now = _modified(self.path)
            if now is None:
                return False
            if now != seen:
                return True
        return False

    def _renew(self, stop: threading.Event) -> None:
        """Show until *stop* that the holder lives."""
        while not stop.wait(RENEWAL):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _release(self, token: str) -> None:
        """Remove the lock, unless it is another run's by now."""
        text = _content(self.path)
        holder = _holder(text) if text is not None else None
        if holder is not None and holder.token == token:
            self.path.unlink(missing_ok=True)


def create_exclusively(path: Path, text: str) -> None:
    """Make a file with its whole content, durably, readable by its owner only.

    Raises:
        FileExistsError: there is one of this name.
        OSError: the folder cannot be written.
    """
    part = write_part(path, text)
    try:
        _link(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_part(path: Path, text: str) -> Path:
    """Write *text* durably under a temporary name next to *path*; return that name."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part


def _link(part: Path, path: Path) -> None:
    """Give *part* the name *path* as well. Some file systems have no hard links; there the content is copied."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(part.read_text(encoding="utf-8"))
            file.flush()
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make changes of names in *folder* survive a power cut, where the system can sync a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def host() -> str:
    """Return the name of this machine and process namespace; empty where processes cannot be looked up."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def born(pid: int) -> str | None:
    """Return when a process of this machine started, in the system's own units; None when no process of this id runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        return None if fields[_STATE] in _ENDED else fields[_START_TIME]
    except (OSError, IndexError):
        return None


def _is_alive(holder: Holder | None) -> bool | None:
    """Return whether a holder is at work, None where it cannot be looked up."""
    if holder is None or not holder.host or holder.host != host():
        return None
    return born(holder.pid) == holder.born


def _holder(text: str) -> Holder | None:
    """Return the holder that a lock file names, None where it names none."""
    try:
        content: Any = json.loads(text)
        holder = Holder(content["token"], content["pid"], content["host"], content["born"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    kinds = (type(holder.token), type(holder.pid), type(holder.host), type(holder.born))
    return holder if kinds == (str, int, str, str) else None


def _content(path: Path) -> str | None:
    """Return the content of a file, None when it is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _modified(path: Path) -> int | None:
    """Return a file's modification time in nanoseconds, None when it is gone."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
