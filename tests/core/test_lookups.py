"""Names looked up in threads: a resolver that hangs costs a bounded number of them."""

import threading

from kling_common.lookups import Lookups
from kling_common.targets import IPAddress
from kling_common.wire import Deadline


def test_a_resolver_that_hangs_costs_a_bounded_number_of_threads() -> None:
    """However many names are asked for, and each caller is done when its time is over."""
    asked: list[str] = []
    over = threading.Event()

    def hangs(host: str, port: int) -> list[IPAddress]:
        asked.append(host)
        over.wait(60)
        return []

    ticks = iter(range(1_000_000))
    lookups = Lookups(hangs)
    for number in range(100):
        # A clock that goes on by a millisecond each time it is read: nothing waits for long.
        assert (
            lookups.ask(f"host-{number}.example", 443, Deadline(lambda: next(ticks) / 1000, 1e-3 * next(ticks) + 0.003))
            is None
        )
    over.set()

    assert 0 < len(asked) <= 32


def test_one_name_is_looked_up_once_at_a_time() -> None:
    """Those who ask for it meanwhile wait for the same answer."""
    asked: list[str] = []
    over = threading.Event()

    def slow(host: str, port: int) -> list[IPAddress]:
        asked.append(host)
        over.wait(60)
        return []

    lookups = Lookups(slow)
    clock = iter(range(1_000_000))
    for _ in range(5):
        assert lookups.ask("a.example", 443, Deadline(lambda: next(clock) / 1000, 1e-3 * next(clock) + 0.003)) is None
    over.set()

    assert asked == ["a.example"]
