"""What will happen in an account, in order of time: a heap of what is near, and lists of what comes later, an eighth of a second each.

One heap of everything would be as deep as there are tasks, and their numbers lie all over memory: a tenth of a create.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from kling_mock.store.interface import Due

_PER_SECOND = 8
_FAR = float(1 << 60)


class Agenda:
    """Moments and what is due then: `push`, `first`, `pop`. Whoever changes it holds the account's lock; `first` needs none."""

    __slots__ = ("_later", "_near", "_reach", "_slots")

    def __init__(self) -> None:
        self._near: list[Due] = []  # a heap, and never empty while there is anything
        self._reach = 0
        self._later: dict[int, list[Due]] = {}
        self._slots: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._near)

    def first(self) -> float | None:
        """Return when the next thing is due."""
        near = self._near
        return near[0][0] if near else None

    def push(self, due: Due) -> None:
        """Add what is due at a moment."""
        slot = _slot(due[0])
        if not self._near:
            self._reach, self._near = slot, [due]
        elif slot == self._reach:
            heappush(self._near, due)
        elif slot > self._reach:
            self._put_off(slot, [due])
        else:  # earlier than all there is
            self._put_off(self._reach, self._near)
            self._reach, self._near = slot, [due]

    def pop(self) -> Due:
        """Take off the next thing.

        Raises:
            IndexError: there is none.
        """
        due = heappop(self._near)
        if not self._near and self._slots:
            self._reach = heappop(self._slots)
            near = self._later.pop(self._reach)
            heapify(near)
            self._near = near
        return due

    def keep(self, wanted: Callable[[Due], bool]) -> None:
        """Drop all that is not *wanted*."""
        kept = [due for dues in (self._near, *self._later.values()) for due in dues if wanted(due)]
        self.clear()
        for due in kept:
            self.push(due)

    def clear(self) -> None:
        """Drop everything."""
        self._near, self._later, self._slots = [], {}, []

    def _put_off(self, slot: int, dues: list[Due]) -> None:
        there = self._later.get(slot)
        if there is None:
            self._later[slot] = dues
            heappush(self._slots, slot)
        else:
            there += dues


def _slot(at: float) -> int:
    return int(min(at, _FAR) * _PER_SECOND)
