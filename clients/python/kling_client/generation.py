"""From a first frame to a saved video, resumable at every step."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kling_client.calls import Calls
from kling_client.errors import (
    ApiError,
    ConfigError,
    CreateOutcomeUnknown,
    KlingError,
    NetworkError,
    RequestInvalid,
    TaskFailed,
)
from kling_client.state import Record, Slot, digest
from kling_client.tasks import Task
from kling_client.webhook import Once, Receiver

Kind = Literal["uploading", "creating", "accepted", "resuming", "status", "trouble", "downloading", "saved"]


@dataclass(frozen=True, slots=True)
class Event:
    """What happens: `task` where one is known, `text` for people."""

    kind: Kind
    text: str
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class Video:
    """A completed task, and where its videos were saved; nowhere, if whoever shares the receiver's ledger acted first."""

    task: Task
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for. `image` is a URL or a local file; `fields` are the create's others, None for not set."""

    image: str | os.PathLike[str]
    fields: Mapping[str, Any]
    idempotency_key: str | None = None
    new: bool = False
    overwrite: bool = False


class Generation:
    """One run for one output file.

    Args:
        calls: the account.
        out: the file; its folder must exist.
        receiver: hears callbacks.
        on_event: told what happens.
    """

    def __init__(
        self, calls: Calls, out: Path, *, receiver: Receiver | None, on_event: Callable[[Event], None] | None
    ) -> None:
        self._calls = calls
        self._out = out
        self._slot = Slot(out)
        self._receiver = receiver
        self._tell = on_event or (lambda _event: None)
        self._started = calls.clock()

    def run(self, wishes: Wishes) -> Video:
        """Create or resume, wait, save.

        Raises:
            KlingError: any of the tree. While a task is owed, its record stays beside the file.
        """
        self._check_out(overwrite=wishes.overwrite)
        with self._slot.held():
            # Once more, inside: another run may have finished it between.
            self._check_out(overwrite=wishes.overwrite)
            task = self._resume_or_create(wishes)
            return self._finish(task)

    def resume(self, task_id: str, *, overwrite: bool = False) -> Video:
        """Wait for a task that exists, and save its video.

        Raises:
            KlingError: any of the tree but those of a create.
        """
        self._check_out(overwrite=overwrite)
        with self._slot.held():
            self._tell(Event("resuming", f"{task_id}: resuming"))
            return self._finish(task_id)

    def _resume_or_create(self, wishes: Wishes) -> Task | str:
        """The task that is owed already, or a new one."""
        if wishes.new:
            self._slot.clear()
        name = digest(self._calls.base_url, {"image": os.fspath(wishes.image), **wishes.fields})
        record = self._slot.read()
        if record is None:
            return self._create(wishes, name)
        if record.digest != name:
            about = f"task {record.task_id}" if record.task_id else "a create whose outcome is not known"
            raise RequestInvalid(
                f"{self._slot.path} is about another request ({about}); resume it, or start anew with --new"
            )
        if record.task_id is not None:
            self._tell(Event("resuming", f"{record.task_id}: resuming, nothing new is created"))
            return record.task_id
        return self._repeat_lost(record, wishes)

    def _create(self, wishes: Wishes, name: str) -> Task:
        """A new task. Everything that needs no money is checked before the first byte is sent."""
        key = wishes.idempotency_key or self._calls.new_idempotency_key()
        self._calls.contract.check_idempotency_key(key)
        url = self._calls.frame_url(wishes.image, wishes.fields)
        body = self._calls.request(url, **wishes.fields)
        return self._send(Record("creating", name, key, self._calls.base_url, body))

    def _repeat_lost(self, record: Record, wishes: Wishes) -> Task:
        """What an earlier run sent without hearing of it: again with the same key, but only when the user says so."""
        if wishes.idempotency_key == record.idempotency_key or self._calls.repeats_lost_create:
            return self._send(record)
        raise CreateOutcomeUnknown(
            f"an earlier run sent this create and never learned its outcome; it may have been accepted and charged. "
            f"--idempotency-key {record.idempotency_key} sends it again under the same key, --new starts anew",
            idempotency_key=record.idempotency_key,
        )

    def _send(self, record: Record) -> Task:
        """Send a create, with its record on disk before and its id on disk after."""
        self._slot.write(record)
        self._tell(Event("creating", "sending the create"))
        try:
            task = self._calls.send_create(record.body, record.idempotency_key, started=self._started)
        except (ApiError, NetworkError, RequestInvalid):
            # Refused, or never sent: nothing is owed. A lost outcome is another error, and keeps the record.
            self._slot.clear()
            raise
        self._slot.write(replace(record, phase="accepted", task_id=task.id))
        self._tell(Event("accepted", f"{task.id} accepted{_charge(task)}", task))
        return task

    def _finish(self, task: Task | str) -> Video:
        """Wait and save. What is over leaves no record; what is not over leaves one to resume."""
        task_id = task.id if isinstance(task, Task) else task
        try:
            with self._news(task_id) as pause:
                done = self._calls.wait(
                    task,
                    fresh=self._slot.path.exists(),
                    started=self._started,
                    pause=pause,
                    on_change=self._on_change,
                    on_trouble=self._on_trouble,
                )
            self._tell(Event("downloading", f"{task_id} completed{_charge(done)}, saving", done))
            saved: list[Video] = []
            once = self._receiver.once if self._receiver else Once()
            once.run(task_id, lambda: saved.append(Video(done, self._calls.download(done, self._out))))
        except TaskFailed:
            self._slot.clear()
            raise
        except KlingError as error:
            error.task_id = task_id
            raise
        self._slot.clear()
        video = saved[0] if saved else Video(done, ())
        self._tell(Event("saved", f"saved {', '.join(map(str, video.paths)) or 'by another'}", done))
        return video

    @contextlib.contextmanager
    def _news(self, task_id: str) -> Iterator[Callable[[float], bool] | None]:
        """How to wait for *task_id* so that a callback ends the waiting; None without a receiver."""
        if self._receiver is None:
            yield None
            return
        with self._receiver.watch(task_id) as watch:
            yield lambda seconds: watch.wait(seconds, self._calls.sleep)

    def _on_change(self, task: Task) -> None:
        """Pass a good answer on."""
        progress = f" {task.progress}%" if task.progress is not None else ""
        self._tell(Event("status", f"{task.id} {task.status or 'no status'}{progress}", task))

    def _on_trouble(self, error: KlingError, seconds: float) -> None:
        """Pass an error on that is waited out."""
        self._tell(Event("trouble", f"{error}; reading again in {seconds:.1f} s"))

    def _check_out(self, *, overwrite: bool) -> None:
        """Let an output file pass that can be written, before anything costs money."""
        folder = self._out.parent
        try:
            if not folder.is_dir():
                raise ConfigError(f"there is no folder {folder}")
            if self._out.is_dir():
                raise ConfigError(f"{self._out} is a folder")
            if not os.access(folder, os.W_OK):
                raise ConfigError(f"the folder {folder} cannot be written")
            if not overwrite and self._out.exists() and self._out.stat().st_size:
                raise ConfigError(f"{self._out} is there already; --overwrite replaces it")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._out!s:.80}: {getattr(error, 'strerror', None) or error}") from None


def _charge(task: Task) -> str:
    """What it costs, where the answer says so."""
    usage = task.usage
    if usage.credits_used is not None:
        dollars = f" (${usage.usd:g})" if usage.usd is not None else ""
        return f", {usage.credits_used:g} credits used{dollars}"
    return f", {usage.credits_reserved:g} credits reserved" if usage.credits_reserved is not None else ""
