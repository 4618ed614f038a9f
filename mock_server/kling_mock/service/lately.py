"""What was shown of tasks lately, as JSON: who polls sees the same again and again, and it need not be rendered anew each time."""

from typing import NamedTuple

from kling_mock.core import tasks
from kling_mock.core.tasks import Stage, Task

_MOST = 1024


class _Shown(NamedTuple):
    task: Task
    cancelled_at: float | None
    until: float
    json: bytes


class Lately:
    """JSON of a kind, for each task that it was made for lately.

    A task is known by its object, so a store that reads its facts anew each time gains nothing, and loses little.
    """

    def __init__(self) -> None:
        self._shown: dict[str, _Shown] = {}

    def find(self, task: Task, now: float) -> bytes | None:
        """Return what was shown of *task*, where it shows the same at *now*."""
        shown = self._shown.get(task.id)
        if (
            shown is not None
            and now < shown.until
            and shown.task is task  # else an account was reset, and has drawn the same id again
            and shown.cancelled_at == task.cancelled_at
        ):
            return shown.json
        return None

    def keep(self, task: Task, cancelled_at: float | None, stage: Stage, now: float, json: bytes) -> bytes:
        """Keep what *task* shows at *now*, in *stage*, for as long as that lasts.

        *cancelled_at* is what was read before all else: another thread may have cancelled it meanwhile.
        """
        until = tasks.steady_until(task, stage, now)
        if until > now:
            if len(self._shown) >= _MOST:
                self._shown.clear()
            self._shown[task.id] = _Shown(task, cancelled_at, until, json)
        return json
