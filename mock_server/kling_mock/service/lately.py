"""What was shown of tasks lately, as JSON: who polls sees the same again and again, and it need not be rendered anew each time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from kling_mock.core import tasks
from kling_mock.core.tasks import Stage, Task

_MOST = 1024


class _Shown(NamedTuple):
    task: Task
    cancelled_at: float | None
    until: float
    json: bytes


class Lately:
    """JSON of a kind, for each task that it was made for lately. *lasts* says of a stage whether it alone decides what is shown.

    A task is known by its object, so a store that reads its facts anew each time gains nothing.
    """

    def __init__(self, lasts: Callable[[Stage], bool]) -> None:
        self._lasts = lasts
        self._shown: dict[str, _Shown] = {}

    def json(self, task: Task, now: float, render: Callable[[Stage], dict[str, Any]]) -> bytes:
        """Return what *task* shows at *now* as JSON: what was kept, or else what *render* makes of its stage."""
        shown = self._shown.get(task.id)
        if (
            shown is not None
            and now < shown.until
            and shown.task is task  # else an account was reset, and has drawn the same id again
            and shown.cancelled_at == task.cancelled_at
        ):
            return shown.json
        # Read before all else: another thread may cancel the task meanwhile, and then this is not what it shows from now on.
        cancelled_at = task.cancelled_at
        stage = tasks.stage(task, now)
        json = orjson.dumps(render(stage))
        until = tasks.steady_until(task, stage, now) if self._lasts(stage) else now
        if until > now:
            if len(self._shown) >= _MOST:
                self._shown.clear()
            self._shown[task.id] = _Shown(task, cancelled_at, until, json)
        return json
