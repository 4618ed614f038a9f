"""What will happen in an account, in order of time: what is near is sorted, what comes later lies in lists of an eighth of a second each.

One heap of everything would be as deep as there are tasks, which lie all over memory: putting on and taking off was a tenth of a create.
"""

from bisect import insort
from collections.abc import Callable
from heapq import heappop, heappush

from kling_mock.store.interface import Due

_PER_SECOND = 8
_FAR = float(1 << 60)


class Agenda:
    """Moments and what is due then. Whoever changes it holds the account's lock; to read `first` takes none.

    `first`: when the next thing is due, None where there is nothing.
    """

    __slots__ = ("_begun", "_later", "_near", "_reach", "_slots", "first")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self.first: float | None = None
        self._near: list[Due] = []  # sorted; what stands before `_begun` has been taken
        self._begun = self._reach = 0
        self._later: dict[int, list[Due]] = {}
        self._slots: list[int] = []

    def __bool__(self) -> bool:
        return self.first is not None

    def push(self, due: Due) -> None:
        """Add what is due at a moment."""
        slot = int(min(due[0], _FAR) * _PER_SECOND)
        if self.first is None or slot < self._reach:
            if self.first is not None:
                self._put_off(self._reach, self._near[self._begun :])
            self._near, self._begun, self._reach = [due], 0, slot
        elif slot > self._reach:
            self._put_off(slot, [due])
            return
        else:
            insort(self._near, due, self._begun)
        self.first = self._near[self._begun][0]

    def pop(self) -> Due:
        """Take off the next thing.

        Raises:
            IndexError: there is none.
        """
        due = self._near[self._begun]
        self._begun += 1
        if self._begun == len(self._near):
            self._turn_over()
        self.first = self._near[self._begun][0] if self._near else None
        return due

    def keep(self, wanted: Callable[[Due], bool]) -> None:
        """Drop all that is not *wanted*; what stays is where it was."""
        self._near, self._begun = [due for due in self._near[self._begun :] if wanted(due)], 0
        for slot, dues in list(self._later.items()):
            dues[:] = [due for due in dues if wanted(due)]
            if not dues:
                del self._later[slot]
        self._slots = sorted(self._later)
        if not self._near:
            self._turn_over()
        self.first = self._near[0][0] if self._near else None

    def _turn_over(self) -> None:
        self._near, self._begun = [], 0
        if self._slots:
            self._reach = heappop(self._slots)
            self._near = self._later.pop(self._reach)
            self._near.sort()

    def _put_off(self, slot: int, dues: list[Due]) -> None:
        there = self._later.get(slot)
        if there is None:
            self._later[slot] = dues
            heappush(self._slots, slot)
        else:
            there += dues
