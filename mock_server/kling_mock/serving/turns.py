"""Turns of the threads that serve calls on a store outside of this process.

Each statement of SQLite lets go of the interpreter: of sixteen threads that want it, one is woken each time. It took two fifths of a query.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Semaphore

from kling_mock.service.creating import Held

_PATIENCE = 0.1
"""Real seconds after which a call goes on without a turn: whoever has it may be waiting for the very one that waits."""


class Turns:
    """Lets so many calls at a time through: `with turns.held() as let_go`, around what *store* holds for one."""

    def __init__(self, store: Held, most: int) -> None:
        self._store = store
        self.turns = Semaphore(most)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Hold a turn for the block, and what the store holds; the function that is returned gives both back."""
        mine = self.turns.acquire(timeout=_PATIENCE)

        def let_go() -> None:
            nonlocal mine
            if mine:
                self.turns.release()
            mine = False

        try:
            with self._store.held() as give_back:

                def both() -> None:
                    give_back()
                    let_go()

                yield both
        finally:
            let_go()
