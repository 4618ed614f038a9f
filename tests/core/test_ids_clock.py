"""The only randomness and the only time."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kling_mock import clock as clocks
from kling_mock.clock import Clock, NotManual
from kling_mock.core.moments import moment
from kling_mock.ids import Rng, digest, fingerprint

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

names = st.lists(st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"]))), min_size=1, max_size=4)


class Wall:
    """A wall clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_757_169_743.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    """The real time, in the test's hands."""
    fake = Wall()
    monkeypatch.setattr(clocks, "wall", fake)
    return fake


@given(of=names)
def test_the_same_names_give_the_same_draws(of: list[object]) -> None:
    """In any order of threads and in every process: nothing but the names goes in."""

    def drawn() -> tuple[object, ...]:
        draw = Rng(*of)
        return draw.text(ALPHABET, 8), draw.uniform(2.0, 6.0), draw.uniform(40.0, 80.0), draw.below(1 << 16)

    assert drawn() == drawn()


def test_draws_are_the_same_in_every_release() -> None:
    """Recorded runs stay true: these draws are part of what a seed means."""
    draw = Rng(0, "sk-test", 1)

    first = (draw.text(ALPHABET, 8), draw.below(1 << 16))

    assert first == (Rng(0, "sk-test", 1).text(ALPHABET, 8), first[1])
    assert len(first[0]) == 8
    assert set(first[0]) <= set(ALPHABET)


def test_threads_do_not_disturb_each_other() -> None:
    """A hundred threads that draw for a hundred tasks get what one would."""
    alone = [Rng(7, "sk-a", number).text(ALPHABET, 8) for number in range(100)]
    found: dict[int, str] = {}
    start = threading.Barrier(100)

    def draw(number: int) -> None:
        start.wait()
        found[number] = Rng(7, "sk-a", number).text(ALPHABET, 8)

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[number] for number in range(100)] == alone


def test_seed_key_and_number_each_change_the_draw() -> None:
    """Another seed, another key, another task: another id. A thousand of each, none twice."""
    drawn = [
        *(Rng(seed, "sk-a", 1).text(ALPHABET, 8) for seed in range(1000)),
        *(Rng(0, f"sk-{key}", 1).text(ALPHABET, 8) for key in range(1000)),
        *(Rng(0, "sk-a", number).text(ALPHABET, 8) for number in range(2, 1002)),
    ]

    assert len(set(drawn)) == len(drawn)


@given(of=names, low=st.floats(0, 1e6), width=st.floats(0, 1e6))
def test_uniform_stays_in_its_span(of: list[object], low: float, width: float) -> None:
    """To the millisecond, ends included; a span of one number gives that number as it is."""
    value = Rng(*of).uniform(low, low + width)

    assert low - 0.0005 <= value <= low + width + 0.0005
    if width == 0:
        assert value == low
    elif low + width > low:
        assert value == round(value, 3)


def test_letters_are_drawn_evenly() -> None:
    """Over ten thousand ids no letter is rare or common: each within a quarter of its share."""
    text = "".join(Rng(number).text(ALPHABET, 8) for number in range(10_000))
    share = len(text) / len(ALPHABET)

    assert all(0.75 * share < text.count(letter) < 1.25 * share for letter in ALPHABET)


def test_names_for_secrets_are_short_stable_and_tell_nothing() -> None:
    """A key's name does not hold the key; lone surrogates are names too; equal bytes have equal names."""
    assert fingerprint("sk-secret") == fingerprint("sk-secret") != fingerprint("sk-other")
    assert "secret" not in fingerprint("sk-secret")
    assert len(fingerprint("\udcff", length=24)) == 24
    assert digest(b"frame") == digest(b"frame") != digest(b"frame2")


def test_the_real_times_are_real() -> None:
    """Both run on, and the wall is in this century."""
    assert 1.7e9 < clocks.wall() < 4e9
    assert clocks.monotonic() <= clocks.monotonic()


def test_a_real_clock_runs_with_the_wall(wall: Wall) -> None:
    """Second for second."""
    clock = Clock()
    wall.at += 2.5

    assert clock.now() == wall.at
    assert clock.reading() == clocks.Reading(wall.at, "real", 1.0)
    assert clock.real_wait(wall.at + 4) == 4.0
    assert clock.real_wait(wall.at) == 0.0
    assert clock.real_seconds(10.0) == 10.0


def test_a_scaled_clock_runs_by_its_rate(wall: Wall) -> None:
    """A minute a second, waits shrunk alike."""
    clock, began = Clock("scaled", 60.0), wall.at
    wall.at += 2.0

    assert clock.now() == began + 120.0
    assert clock.reading().rate == 60.0
    assert clock.real_wait(clock.now() + 60.0) == 1.0
    assert clock.real_seconds(10.0) == pytest.approx(1 / 6)


def test_a_manual_clock_stands(wall: Wall) -> None:
    """Until it is moved; it never gets anywhere by itself, and real waits are real."""
    clock, began = Clock("manual"), wall.at
    wall.at += 1000.0

    assert clock.reading() == clocks.Reading(began, "manual", 0.0)
    assert clock.real_wait(began + 1.0) is None
    assert clock.real_seconds(10.0) == 10.0
    clock.move_to(began + 90.0)
    assert clock.now() == began + 90.0
    clock.move_to(began)
    assert clock.now() == began + 90.0


def test_only_a_manual_clock_is_moved(wall: Wall) -> None:
    """The others run by themselves."""
    for clock in (Clock(), Clock("scaled", 2.0)):
        with pytest.raises(NotManual, match="only a manual clock"):
            clock.move_to(wall.at + 1)


def test_a_fork_starts_where_the_clock_is_and_goes_its_own_way(wall: Wall) -> None:
    """Moving one leaves the other."""
    clock = Clock("manual")
    clock.move_to(wall.at + 100)
    fork = clock.fork()
    fork.move_to(wall.at + 500)

    assert (clock.now(), fork.now()) == (wall.at + 100, wall.at + 500)
    scaled = Clock("scaled", 60.0, now=5.0).fork()
    wall.at += 1
    assert scaled.now() == 65.0


def test_a_clock_that_is_set_while_it_is_read_is_never_torn() -> None:
    """Threads that read while another sets modes see time that never jumps ahead and back."""
    clock, stop, worst = Clock("scaled", 1_000_000.0), threading.Event(), []

    def reads() -> None:
        last, fell = clock.now(), 0.0
        while not stop.is_set():
            now = clock.now()
            fell, last = max(fell, last - now), now
        worst.append(fell)

    readers = [threading.Thread(target=reads) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(3000):
            clock.set("scaled" if number % 2 else "manual", 1_000_000.0)
    finally:
        stop.set()
        for reader in readers:
            reader.join()

    assert max(worst) == 0.0


class NeverBack(RuleBasedStateMachine):
    """Modes are set, the wall moves on, a manual clock is moved: the clock never shows less than it did."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.wall = Wall()
        self.patch.setattr(clocks, "wall", self.wall)
        self.clock = Clock()
        self.last = self.clock.now()

    def teardown(self) -> None:
        """Give the real wall back."""
        self.patch.undo()

    @rule(seconds=st.floats(0.0, 1e5))
    def time_passes(self, seconds: float) -> None:
        """The wall goes on."""
        self.wall.at += seconds

    @rule(mode=st.sampled_from(["real", "manual", "scaled"]), rate=st.floats(0.001, 1e6))
    def set_mode(self, mode: clocks.Mode, rate: float) -> None:
        """A change of mode is no change of time; a clock that stops does so at a whole microsecond."""
        before = self.clock.now()
        self.clock.set(mode, rate)
        assert 0 <= self.clock.now() - before <= (2e-6 if mode == "manual" else 0)
        assert self.clock.mode == mode

    @precondition(lambda self: self.clock.mode == "manual")
    @rule(by=st.floats(-1e5, 1e5))
    def move(self, by: float) -> None:
        """Forward as asked, to the microsecond; back never."""
        before = self.clock.now()
        self.clock.move_to(before + by)
        assert self.clock.now() == max(before, round(before + by, 6))

    @invariant()
    def never_back(self) -> None:
        """What was shown is past."""
        assert self.clock.now() >= self.last
        self.last = self.clock.now()


TestNeverBack = NeverBack.TestCase


@given(
    seconds=st.one_of(
        st.floats(1.5e9, 5e9),
        st.floats(-1e18, 1e18),
        st.builds(lambda whole, parts: whole + parts / 1e7, st.integers(0, 1 << 33), st.integers(0, 10**7)),
        st.builds(lambda whole, bits: whole + bits / (1 << 22), st.integers(1 << 19, 1 << 32), st.integers(0, 1 << 22)),
        st.sampled_from([float("inf"), float("-inf"), 2.0**20, 2.0**52, 2.0**52 - 0.5]),
    )
)
def test_a_moment_is_what_round_says(seconds: float) -> None:
    """To the last bit, between microseconds and in the middle of two."""
    assert moment(seconds) == round(seconds, 6)
