"""From a first frame to a saved video, resumable at every step."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kling_client.calls import Calls
from kling_client.download import Step
from kling_client.errors import (
    ApiError,
    ConfigError,
    CreateOutcomeUnknown,
    KlingError,
    NetworkError,
    RequestInvalid,
    TaskFailed,
)
from kling_client.state import Record, Slot, wanted
from kling_client.tasks import Task
from kling_client.webhook import Once, Receiver

Kind = Literal["uploading", "creating", "accepted", "resuming", "status", "trouble", "downloading", "saving", "saved"]


@dataclass(frozen=True, slots=True)
class Video:
    """A completed task, and where its videos were saved; nowhere, if another holder of the receiver's ledger acted first."""

    task: Task
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What happens: `task` where one is known, `text` for people, `video` once it is saved."""

    kind: Kind
    text: str
    task: Task | None = None
    video: Video | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for: `image` a URL, a local file, or None for a model that needs none; `fields` the create's others."""

    image: str | os.PathLike[str] | None
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
        on_event: called with what happens.
    """

    def __init__(
        self, calls: Calls, out: Path, *, receiver: Receiver | None, on_event: Callable[[Event], None] | None
    ) -> None:
        self._calls = calls
        self._out = out
        self._slot = Slot(out, clock=calls.clock, sleep=calls.sleep)
        self._receiver = receiver
        self._tell = on_event or (lambda _event: None)
        self._started = calls.clock()

    def run(self, wishes: Wishes) -> Video:
        """Create or resume, wait, save.

        Raises:
            KlingError: any of the tree. While a task is owed, its record stays next to the file.
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
            record = self._slot.read()
            if record is not None and record.task_id not in (None, task_id):
                raise RequestInvalid(
                    f"{self._slot.path} is about {record.about}; resume that one, or give another --out"
                )
            self._tell(Event("resuming", f"{task_id}: resuming"))
            return self._finish(task_id)

    def _resume_or_create(self, wishes: Wishes) -> Task | str:
        """Return the task that is owed already, or a new one."""
        image = None if wishes.image is None else os.fspath(wishes.image)
        request = wanted(self._calls.contract, image, wishes.fields)
        record = self._begun(wishes)
        if record is None or wishes.new:
            return self._create(wishes, request, record)
        if (record.base_url, record.request) != (self._calls.base_url, request):
            raise RequestInvalid(
                f"{self._slot.path} is about another request ({record.about}); resume it, or start anew with --new"
            )
        if record.task_id is not None:
            self._tell(Event("resuming", f"{record.task_id}: resuming, nothing new is created"))
            return record.task_id
        return self._repeat_lost(record, wishes)

    def _begun(self, wishes: Wishes) -> Record | None:
        """Return the record of an earlier run. One that cannot be read stops the run, unless it is to be forgotten."""
        try:
            return self._slot.read()
        except ConfigError:
            if not wishes.new:
                raise
            self._slot.clear()
            return None

    def _create(self, wishes: Wishes, request: Mapping[str, Any], before: Record | None) -> Task:
        """Create a task. Everything that needs no money is checked before the first byte is sent."""
        key = wishes.idempotency_key or self._calls.new_idempotency_key()
        self._calls.contract.check_idempotency_key(key)
        url = self._calls.frame_url(wishes.image, wishes.fields)
        body = self._calls.request(url, **wishes.fields)
        record = Record("creating", request, key, self._calls.base_url, body)
        if before is None:
            self._slot.begin(record)
        else:
            self._slot.write(record)
        return self._send(record, before)

    def _repeat_lost(self, record: Record, wishes: Wishes) -> Task:
        """Send again what an earlier run sent without an answer: with the same key, and only when the user allows it."""
        if wishes.idempotency_key != record.idempotency_key and not self._calls.repeats_lost_create:
            raise CreateOutcomeUnknown(
                f"an earlier run sent this create and never learned its outcome; it may have been accepted and charged. "
                f"--idempotency-key {record.idempotency_key} sends it again under the same key, --new starts anew",
                idempotency_key=record.idempotency_key,
            )
        try:
            return self._send(record, record)
        except (ApiError, NetworkError, RequestInvalid) as error:
            # What became of this attempt says nothing about the one before.
            raise CreateOutcomeUnknown(
                f"the create of an earlier run was not sent again ({error}); the earlier one may have been accepted "
                f"and charged. Its Idempotency-Key is {record.idempotency_key}",
                idempotency_key=record.idempotency_key,
                cause=error,
            ) from error

    def _send(self, record: Record, before: Record | None) -> Task:
        """Send a create whose *record* is on disk; put its id there afterwards.

        A create that was refused, or surely never sent, leaves the record from *before*; a lost outcome keeps its own.
        """
        self._tell(Event("creating", "sending the create"))
        try:
            task = self._calls.send_create(record.body, record.idempotency_key, started=self._started)
        except (ApiError, NetworkError, RequestInvalid):
            if before is None:
                self._slot.clear()
            elif before is not record:
                self._slot.write(before)
            raise
        accepted = Event("accepted", f"{task.id} accepted{_charge(task)}", task)
        try:
            self._slot.write(replace(record, phase="accepted", task_id=task.id))
        except ConfigError as error:
            # The video is paid for, so the run goes on; only a run after this one would not find the task's id.
            accepted = Event("accepted", f"{accepted.text}; {error}", task)
        self._tell(accepted)
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
            return self._save(done)
        except TaskFailed:
            self._forget(task_id)
            raise
        except KlingError as error:
            error.task_id = task_id
            raise

    def _save(self, done: Task) -> Video:
        """Save the videos of a completed task, once for all who share the receiver's ledger."""
        videos = [Video(done, ())]

        def effect() -> None:
            def step(kind: Step) -> None:
                self._tell(Event(kind, f"{done.id} completed{_charge(done)}, saving", done))

            # A task that makes an element names it in place of a link.
            made = done.element_id is not None and not done.results
            paths = () if made else self._calls.download(done, self._out, on_step=step)
            videos.append(Video(done, paths))

        once = self._receiver.once if self._receiver else Once()
        try:
            once.run(done.id, effect)
        finally:
            # Also when the run is interrupted here: what is saved is not owed any more.
            if len(videos) > 1:
                self._slot.clear()
        video = videos[-1]
        self._slot.clear()
        saved = ", ".join(map(str, video.paths)) or (f"element {done.element_id}" if done.element_id else "by another")
        self._tell(Event("saved", f"saved {saved}", done, video))
        return video

    def _forget(self, task_id: str) -> None:
        """Remove the record of a task that failed; one of a create that may be another task's stays."""
        record = self._slot.read()
        if record is not None and record.task_id == task_id:
            self._slot.clear()

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
        """Check that the output file can be written, before anything costs money."""
        folder = self._out.parent
        try:
            if not folder.is_dir():
                raise ConfigError(f"there is no folder {folder}")
            if self._out.is_dir():
                raise ConfigError(f"{self._out} is a folder")
            if self._out.exists() and not self._out.is_file():
                raise ConfigError(f"{self._out} is not a regular file; give another --out")
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
