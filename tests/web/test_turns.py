"""Turns of calls: so many at a time, none is lost, and nobody waits for one without end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from kling_mock.serving import turns
from kling_mock.serving.turns import Turns


class Store:
    """A store that says what it holds."""

    held_now = 0

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Hold one thing, until it is let go of or the block ends."""
        self.held_now += 1
        kept = [self]

        def give_back() -> None:
            if kept:
                kept.pop().held_now -= 1

        try:
            yield give_back
        finally:
            give_back()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets no turn at once goes on without."""
    monkeypatch.setattr(turns, "_PATIENCE", 0.0)


def free(of: Turns) -> int:
    """How many turns are free."""
    taken = 0
    while of.turns.acquire(blocking=False):
        taken += 1
    for _ in range(taken):
        of.turns.release()
    return taken


@pytest.mark.usefixtures("impatient")
def test_a_turn_is_given_back_once() -> None:
    """At the end of the block, by whoever lets go before, and by a call that fails; one that had none gives none back."""
    store = Store()
    two = Turns(store, 2)

    with two.held(), two.held() as let_go, two.held():
        assert (free(two), store.held_now) == (0, 3)
        let_go()
        let_go()
        assert (free(two), store.held_now) == (1, 2)
    with suppress(KeyError), two.held():
        raise KeyError

    assert (free(two), store.held_now) == (2, 0)
