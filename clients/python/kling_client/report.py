"""What the command says while it works and when it is done: to people on stderr, to programs on stdout and in KLING_RESULT."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from kling_client.errors import KlingError
from kling_client.generation import Event, Video
from kling_client.http import one_line
from kling_client.tasks import Task
from kling_client.transport import blot


def secrets_of(given: str | None) -> list[str]:
    """The keys that must never be printed: the one that was given, and those in the environment."""
    found = (given, os.environ.get("KLING_API_KEY"), os.environ.get("EVOLINK_API_KEY"))
    return [key for key in found if key]


@dataclass
class Report:
    """One run's outcome, in the words of the result file.

    outcome: completed, failed, refused, gave_up or unknown.
    sending: a create is on its way, and its outcome is open.
    saving: a whole video is getting its final name; stopping now would report a file that is there as missing.
    effects: how often the video was saved.
    """

    as_json: bool = False
    secrets: list[str] = field(default_factory=list)
    outcome: str = "failed"
    task: Task | None = None
    task_id: str | None = None
    sending: bool = False
    saving: bool = False
    effects: int = 0
    files: tuple[Path, ...] = ()
    error: Mapping[str, Any] | None = None

    def say(self, text: str, stream: TextIO | None = None) -> None:
        """Print one line, at once, without keys and control characters. A closed pipe is not worth a traceback."""
        with suppress(OSError, ValueError):
            # Hidden before the line is cut, which could leave the beginning of a key.
            print(one_line(self.hide(text), limit=2000), file=stream or sys.stderr, flush=True)

    def hide(self, text: str) -> str:
        """*text* without keys."""
        for key in self.secrets:
            text = blot(text, key)
        return text

    def completed(self, video: Video) -> None:
        """There is a video."""
        self.outcome, self.task, self.task_id = "completed", video.task, video.task.id
        self.files, self.effects, self.error = video.paths, 1, None

    def failed(self, error: KlingError) -> None:
        """There is none, and this is why."""
        self.outcome, self.error = error.outcome, error.facts()
        self.task_id = error.task_id or self.task_id

    def seen(self, event: Event) -> None:
        """Remember the task, so that whatever happens next is reported with its id."""
        self.sending = event.kind == "creating"
        self.saving = event.kind == "saving"
        if event.task is not None:
            self.task, self.task_id = event.task, event.task.id
        if event.video is not None:
            self.completed(event.video)

    def finish(self) -> None:
        """Write the result file, where one is asked for, and the JSON answer or the names of the files."""
        facts = {"outcome": self.outcome, "task_id": self.task_id, "effects": self.effects, "error": self.error}
        path = os.environ.get("KLING_RESULT")
        if path:
            self._write(Path(path), facts)
        if self.as_json:
            task = self.task.raw if self.task else None
            self.print_json({**facts, "files": [str(file) for file in self.files], "task": task})
        else:
            for file in self.files:
                self.say(str(file), sys.stdout)

    def print_json(self, value: Any) -> None:
        """One JSON value on stdout."""
        with suppress(OSError, ValueError):
            print(self._json(value), flush=True)  # noqa: T201

    def _json(self, value: Any) -> str:
        """Return *value* as JSON, without keys: hidden in each text, since JSON may spell a key in another way."""
        return json.dumps(self._hidden(value), ensure_ascii=False)

    def _hidden(self, value: Any) -> Any:
        """Return *value* without keys in any of its texts."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide(str(name)): self._hidden(member) for name, member in value.items()}
        return [self._hidden(member) for member in value] if isinstance(value, list | tuple) else value

    def _write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the result file, whole or not at all; what is no regular file is written to as it is."""
        part = path.with_name(f".{path.name}.part")
        try:
            if path.exists() and not path.is_file():
                path.write_text(self._json(facts), encoding="utf-8")
                return
            part.write_text(self._json(facts), encoding="utf-8")
            part.replace(path)
        except (OSError, ValueError) as error:
            self.say(f"kling: cannot write KLING_RESULT: {getattr(error, 'strerror', None) or error}")


class Lines:
    """Progress as plain lines on stderr, each only when it says something new."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last = ""

    def show(self) -> AbstractContextManager[Any]:
        """Nothing to set up."""
        return nullcontext()

    def __call__(self, event: Event) -> None:
        """Tell of *event*."""
        self._report.seen(event)
        if event.kind in ("saving", "saved"):
            return
        if event.text != self._last:
            self._report.say(event.text)
        self._last = event.text


class Bar:
    """Progress as a bar on the terminal; what matters later stays above it as a line."""

    def __init__(self, report: Report) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._report = report
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._bar = self._progress.add_task("starting", total=100)

    def show(self) -> AbstractContextManager[Any]:
        """Draws while the block runs."""
        return self._progress

    def __call__(self, event: Event) -> None:
        """Tell of *event*."""
        from rich.markup import escape

        self._report.seen(event)
        if event.kind in ("accepted", "resuming", "trouble"):
            self._progress.console.print(escape(self._report.hide(one_line(event.text))), highlight=False)
        label = (event.task.status if event.task else None) or event.kind
        progress = event.task.progress if event.task else None
        # The service may take progress back when a task fails; the bar shows what it says.
        self._progress.update(self._bar, description=escape(one_line(label)), completed=progress)


def progress_on(report: Report) -> Lines | Bar:
    """A bar where stderr is a terminal, else lines."""
    return Bar(report) if sys.stderr.isatty() else Lines(report)
