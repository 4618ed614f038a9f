"""When a callback is tried again, and what has become of it."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from kling_mock.core.deliveries import Attempt, Delivery, RetryPolicy, State, attempts_left, next_due, scheduled, state
from kling_mock.core.tasks import Frame, Plan, Status, Task

DUE = 1_757_169_808.0
POLICY = RetryPolicy(timeout=10.0, delays=(1.0, 2.0, 4.0))

failures = st.sampled_from(["status", "timeout", "refused", "dns", "blocked"])
delays = st.lists(st.floats(0.0, 60.0), max_size=6).map(tuple)
lengths = st.lists(st.floats(0.0, 10.0), min_size=7, max_size=7)


def delivery_of(*attempts: Attempt) -> Delivery:
    """A delivery with these attempts behind it."""
    return Delivery("dlv-1", "task-unified-1-aaaaaaaa", "https://hooks.example.com/", DUE, attempts=list(attempts))


def attempt(due: float, outcome: str = "status", took: float = 0.0, *, extra: bool = False) -> Attempt:
    """An attempt that was sent when it was due and took so many seconds."""
    return Attempt(due, due, due + took, outcome, extra=extra)


def test_the_first_attempt_is_due_with_the_event() -> None:
    """Nothing is waited for before it."""
    owed = delivery_of()

    assert next_due(owed, POLICY) == DUE
    assert state(owed, POLICY) is State.WAITING


def test_retries_wait_one_two_and_four_seconds() -> None:
    """After failures that take no time: 0, +1, +3, +7 from the first; then it is given up."""
    owed, seen = delivery_of(), []

    for _ in range(len((0, 1, 2, 4)) + 1):
        due = next_due(owed, POLICY)
        if due is None:
            break
        seen.append(due - DUE)
        owed.attempts.append(attempt(due))

    assert seen == [0.0, 1.0, 3.0, 7.0]
    assert state(owed, POLICY) is State.GAVE_UP


def test_how_many_attempts_are_left() -> None:
    """All of them before the first; one fewer after each failure; none once it was given up or delivered."""
    owed, seen = delivery_of(), [4]
    for due in (0.0, 1.0, 3.0, 7.0):
        assert attempts_left(owed, POLICY) == seen[-1]
        owed.attempts.append(attempt(DUE + due))
        seen.append(attempts_left(owed, POLICY))

    assert seen == [4, 3, 2, 1, 0]
    assert attempts_left(delivery_of(attempt(DUE, "2xx")), POLICY) == 0


@given(gaps=delays, took=lengths, outcomes=st.lists(failures, min_size=7, max_size=7))
def test_each_gap_counts_from_the_end_of_the_failed_attempt(
    gaps: tuple[float, ...], took: list[float], outcomes: list[str]
) -> None:
    """For any policy: one attempt more than it has delays, each so long after the end of the one before."""
    policy, owed = RetryPolicy(10.0, gaps), delivery_of()

    for number in range(len(gaps) + 1):
        due = next_due(owed, policy)
        assert due == (DUE if number == 0 else round(owed.attempts[-1].ended + gaps[number - 1], 6))
        assert state(owed, policy) is State.WAITING
        owed.attempts.append(attempt(due, outcomes[number], took[number]))

    assert next_due(owed, policy) is None
    assert state(owed, policy) is State.GAVE_UP


@given(gaps=delays, failed=st.integers(0, 5))
def test_a_delivered_callback_is_owed_no_more(gaps: tuple[float, ...], failed: int) -> None:
    """Whichever attempt got through, it was the last."""
    policy, owed = RetryPolicy(10.0, gaps), delivery_of()
    for _ in range(min(failed, len(gaps))):
        owed.attempts.append(attempt(next_due(owed, policy) or 0.0))

    owed.attempts.append(attempt(next_due(owed, policy) or 0.0, "2xx"))

    assert next_due(owed, policy) is None
    assert state(owed, policy) is State.DELIVERED


@given(extras=st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 100.0), st.floats(0.0, 10.0)), max_size=8))
def test_attempts_by_hand_stand_beside_the_policy(extras: list[tuple[int, float, float]]) -> None:
    """Resends that fail neither use up a retry nor move one, wherever they fall."""
    plain, mixed = delivery_of(), delivery_of()

    for number in range(5):
        for where, later, took in extras:
            if where == number:
                mixed.attempts.append(attempt(DUE + later, took=took, extra=True))
        assert next_due(mixed, POLICY) == next_due(plain, POLICY)
        assert state(mixed, POLICY) is state(plain, POLICY)
        due = next_due(plain, POLICY)
        if due is not None:
            plain.attempts.append(attempt(due))
            mixed.attempts.append(attempt(due))

    assert scheduled(mixed) == plain.attempts


def test_a_resend_that_gets_through_ends_the_retries() -> None:
    """The receiver has it; nothing more is owed, given up or not."""
    waiting = delivery_of(attempt(DUE), attempt(DUE + 0.5, "2xx", extra=True))
    late = delivery_of(*(attempt(DUE + n) for n in (0, 1, 3, 7)), attempt(DUE + 99, "2xx", extra=True))

    assert next_due(waiting, POLICY) is None
    assert state(waiting, POLICY) is State.DELIVERED
    assert state(late, POLICY) is State.DELIVERED


def test_only_2xx_is_delivered() -> None:
    """An answer of another status is none."""
    assert attempt(DUE, "2xx").delivered
    assert not attempt(DUE, "status").delivered


def test_what_falls_due_at_one_moment_has_an_order() -> None:
    """A task before its own deliveries, an earlier task before a later one, whoever was put on the agenda first."""
    plan = Plan(Status.COMPLETED)
    one, two = (
        Task(f"task-{number}", number, DUE, "model", "", Frame(1, 1), 720, 5, None, 0.0, 0.0, "completed", plan)
        for number in (1, 2)
    )
    first, second = (Delivery("dlv-1", "task-1", "", DUE, order=(1, number)) for number in (1, 2))

    for agenda in permutations([one, two, first, second]):
        assert sorted(agenda) == [one, first, second, two]


def test_what_is_kept_of_every_callback_is_small() -> None:
    """No delivery and no attempt has a dictionary, which would be larger than it is."""
    owed = delivery_of(attempt(DUE, "2xx"))

    assert owed.delivered
    for record in (owed, *owed.attempts):
        assert not hasattr(record, "__dict__"), record
