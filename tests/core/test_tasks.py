"""What a task shows of itself, whenever and however often somebody looks."""

from math import ceil, inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kling_openapi
from kling_mock.core import tasks
from kling_mock.core.moments import after, reached
from kling_mock.core.tasks import (
    CANCELLED,
    Frame,
    Plan,
    Status,
    Task,
    cancel,
    ends_at,
    progress,
    read,
    stage,
    starts_at,
    steady_until,
)

CREATED = 1_757_169_743.25
ORDER = {Status.PENDING: 0, Status.PROCESSING: 1, Status.COMPLETED: 2, Status.FAILED: 2}

spans = st.one_of(st.just(0.0), st.floats(0.001, 100_000.0), st.just(inf))
seeds = st.integers(0, 65_535)


def task_of(plan: Plan, **facts: Any) -> Task:
    """A task that follows *plan*."""
    return Task(
        id="task-unified-1757169743-7cvnl5zw",
        number=1,
        created_at=CREATED,
        model="kling-v3-turbo-image-to-video",
        image="https://image.test/640x480.png",
        frame=Frame(640, 480),
        short_side=720,
        seconds=5,
        callback_url=None,
        reserved=50.0,
        charged=50.0,
        scenario="completed",
        plan=plan,
        **facts,
    )


@st.composite
def plans(draw: st.DrawFn, queued: st.SearchStrategy[float] = spans, runs: st.SearchStrategy[float] = spans) -> Plan:
    """Any plan that is paced by time."""
    failed = draw(st.booleans())
    return Plan(
        outcome=Status.FAILED if failed else Status.COMPLETED,
        queued_for=draw(queued),
        runs_for=draw(runs),
        code="service_error" if failed else None,
        stops_at=draw(st.integers(0, 99)) if failed else 100,
        seed=draw(seeds),
    )


polled = st.builds(
    lambda polls, failed, at, seed: Plan(
        Status.FAILED if failed else Status.COMPLETED,
        polls=polls,
        code="service_error" if failed else None,
        stops_at=at if failed else 100,
        seed=seed,
    ),
    st.tuples(st.integers(0, 6), st.integers(0, 12)),
    st.booleans(),
    st.integers(0, 99),
    seeds,
)
looks = st.lists(st.floats(0.0, 300_000.0), min_size=2, max_size=30).map(sorted)


def test_status_is_the_contracts_enum() -> None:
    """The words of the code are those of the contract, no more and no less."""
    assert [status.value for status in Status] == kling_openapi.service()["components"]["schemas"]["Status"]["enum"]


@pytest.mark.parametrize(
    ("status", "ended"), [("pending", False), ("processing", False), ("completed", True), ("failed", True)]
)
def test_only_two_statuses_are_terminal(status: str, ended: bool) -> None:
    """A task that is completed or failed does not change again."""
    assert Status(status).terminal is ended


@given(plan=plans(), moments=looks)
def test_status_and_progress_never_move_back(plan: Plan, moments: list[float]) -> None:
    """However often and whenever a caller looks, stages and percents only rise; the last stage stays as it is."""
    task = task_of(plan)

    seen = [stage(task, CREATED + moment) for moment in moments]

    assert [ORDER[one.status] for one in seen] == sorted(ORDER[one.status] for one in seen)
    assert [one.progress for one in seen] == sorted(one.progress for one in seen)
    assert len({one for one in seen if one.status.terminal}) <= 1


@given(plan=plans(), moment=st.floats(0.0, 300_000.0))
def test_progress_fits_the_status(plan: Plan, moment: float) -> None:
    """0 while it waits; below 100 and not above its mark while it runs; 100 when completed; just its mark when failed."""
    seen = stage(task_of(plan), CREATED + moment)

    match seen.status:
        case Status.PENDING:
            assert seen.progress == 0
        case Status.PROCESSING:
            assert 0 <= seen.progress < 100
            assert seen.progress <= plan.stops_at
        case Status.COMPLETED:
            assert (seen.progress, seen.code) == (100, None)
        case Status.FAILED:
            assert (seen.progress, seen.code) == (plan.stops_at, "service_error")


@given(plan=plans(queued=st.floats(0.5, 1e5), runs=st.floats(0.5, 1e5)))
def test_stages_change_exactly_on_time(plan: Plan) -> None:
    """A boundary belongs to the later stage; a moment before it to the earlier one."""
    task = task_of(plan)
    start, end = starts_at(task), ends_at(task)

    assert stage(task, start - 0.001).status is Status.PENDING
    assert stage(task, start).status is Status.PROCESSING
    assert stage(task, end - 0.001).status is Status.PROCESSING
    assert stage(task, end).status is plan.outcome
    assert (stage(task, start).since, stage(task, end + 5).since) == (start, end)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.25, 0.5, 0.999, 1.0])
def test_progress_stays_in_order_for_every_seed(share: float) -> None:
    """A sweep over thousands of seeds: within bounds at any share of the run, whatever the steps' size."""
    for seed in range(0, 65_536, 37):
        plan = Plan(Status.COMPLETED, 0.0, 60.0, seed=seed)
        assert 0 <= progress(plan, share) <= 99


@pytest.mark.parametrize("stops_at", [0, 1, 40, 99, 100])
def test_progress_moves_in_believable_steps(stops_at: int) -> None:
    """Looked at a thousand times, it takes a handful of values, never falls, and differs from task to task."""
    runs = set()
    for seed in range(20):
        plan = Plan(Status.COMPLETED, 0.0, 60.0, stops_at=stops_at, seed=seed)
        percents = [progress(plan, share / 1000) for share in range(1001)]
        assert percents == sorted(percents)
        assert len(set(percents)) <= 15
        runs.add(tuple(percents))

    assert len(runs) > 10 if stops_at >= 40 else runs


PERCENTS = {
    (0, 100): [3, 3, 3, 3, 15, 15, 27, 27, 47, 47, 47, 59, 59, 71, 71, 71, 83, 83, 95, 95, 99],
    (1, 100): [5, 5, 15, 15, 26, 26, 26, 26, 36, 36, 47, 47, 57, 57, 75, 75, 86, 86, 96, 96, 96],
    (7, 100): [0, 8, 8, 20, 20, 31, 31, 31, 43, 43, 55, 55, 67, 67, 67, 79, 79, 79, 79, 90, 90],
    (1317, 100): [
        6,
        6,
        16,
        16,
        16,
        27,
        27,
        37,
        37,
        48,
        48,
        48,
        58,
        58,
        69,
        69,
        69,
        79,
        79,
        98,
        98,
    ],  # the widest step there is
    (65_535, 100): [7, 7, 7, 17, 17, 28, 28, 38, 38, 49, 49, 59, 59, 70, 70, 70, 70, 80, 80, 91, 91],
    (1, 40): [5, 5, 5, 5, 5, 15, 15, 15, 15, 15, 26, 26, 26, 26, 26, 26, 26, 26, 26, 36, 36],
    (7, 40): [0, 8, 8, 8, 8, 8, 20, 20, 20, 20, 20, 20, 31, 31, 31, 31, 31, 31, 40, 40, 40],
}


@pytest.mark.parametrize(("seed", "stops_at"), PERCENTS)
def test_a_seed_shows_the_same_percents_in_every_version(seed: int, stops_at: int) -> None:
    """A run with a seed is repeated number by number; after twentieths of the run these are what it shows."""
    plan = Plan(Status.COMPLETED, 0.0, 60.0, stops_at=stops_at, seed=seed)

    assert [progress(plan, share / 20) for share in range(21)] == PERCENTS[seed, stops_at]


def far(seconds: float) -> float:
    """How far a task seems that never ends."""
    return seconds / (seconds + 120)


@pytest.mark.parametrize("seed", [0, 1, 7, 65_535])
def test_how_far_a_task_is(seed: int) -> None:
    """By the share of its seconds, or of its reads, that is over; where there is no end, half as far as can be after two minutes."""
    moments = [0.5, 3.0, 20.0, 31.0, 59.0, 120.0, 5000.0]
    for runs_for, shares in ((64.0, [one / 64 for one in moments[:5]]), (inf, [far(one) for one in moments])):
        plan = Plan(Status.COMPLETED, 5.0, runs_for, seed=seed)
        shown = [stage(task_of(plan), CREATED + 5.0 + moment).progress for moment in moments[: len(shares)]]
        assert shown == [progress(plan, share) for share in shares]
    for processing, polled_shares in (
        (7, [nth / 8 for nth in range(1, 8)]),
        (inf, [far(10 * nth) for nth in range(1, 8)]),
    ):
        plan = Plan(Status.COMPLETED, polls=(2, processing), seed=seed)
        task = task_of(plan)
        seen = [(read(task, CREATED), stage(task, CREATED))[1].progress for _ in range(9)]
        assert seen == [0, 0, *(progress(plan, share) for share in polled_shares)]


def test_a_stuck_task_creeps_and_never_ends() -> None:
    """A run without end shows ever more, never 100, however late one looks."""
    task = task_of(Plan(Status.COMPLETED, 5.0, inf, seed=7))

    percents = [stage(task, CREATED + 5.0 + 10.0**power).progress for power in range(-2, 12)]

    assert percents == sorted(percents)
    assert percents[0] < percents[-1] < 100
    assert ends_at(task) == inf


def test_a_task_that_is_never_begun_stays_pending() -> None:
    """A queue without end is one."""
    task = task_of(Plan(Status.COMPLETED, inf, 60.0))

    assert stage(task, CREATED + 1e12).status is Status.PENDING
    assert starts_at(task) == inf


@given(plan=plans(queued=st.floats(0.0, 100.0), runs=st.floats(1.0, 1000.0)), at=st.floats(0.0, 100.0), moments=looks)
def test_cancelling_keeps_the_progress(plan: Plan, at: float, moments: list[float]) -> None:
    """From the cancellation on it is failed with the code of a cancelled task, at the percent it had, for good."""
    task = task_of(plan)
    before = stage(task, CREATED + at)

    cancelled = tasks.cancel(task, CREATED + at)

    assert cancelled is not before.status.terminal
    if cancelled:
        seen = {stage(task, CREATED + at + moment) for moment in moments}
        assert {(one.status, one.progress, one.code, one.since) for one in seen} == {
            (Status.FAILED, before.progress, CANCELLED, CREATED + at)
        }


@given(plan=plans(runs=st.floats(0.0, 100.0), queued=st.floats(0.0, 100.0)), late=st.floats(0.0, 1e6))
def test_what_has_ended_cannot_be_cancelled(plan: Plan, late: float) -> None:
    """The outcome stands."""
    task = task_of(plan)
    ended = stage(task, ends_at(task) + late)

    assert not tasks.cancel(task, ends_at(task) + late)
    assert stage(task, ends_at(task) + late + 1) == ended


@given(plan=polled)
def test_poll_paced_tasks_go_by_reads_alone(plan: Plan) -> None:
    """So many reads pending, so many processing, and the next one ends it; the clock has no say."""
    task = task_of(plan)
    assert plan.polls is not None
    pending, processing = plan.polls
    seen = []

    for nth in range(pending + processing + 3):
        ended = read(task, CREATED + nth)
        assert ended is (nth == pending + processing)
        seen.append(stage(task, CREATED + 1e9))

    expected = [Status.PENDING] * pending + [Status.PROCESSING] * processing + [plan.outcome] * 3
    assert [one.status for one in seen] == expected
    assert [one.progress for one in seen] == sorted(one.progress for one in seen)
    assert all(one.progress < 100 for one in seen[: pending + processing])
    assert seen[-1].since == ends_at(task) == CREATED + pending + processing


@given(plan=polled, nothing=st.floats(0.0, 1e9))
def test_a_poll_paced_task_that_nobody_reads_stays(plan: Plan, nothing: float) -> None:
    """Time alone brings it nowhere, and nobody can say beforehand when it ends."""
    task = task_of(plan)

    assert stage(task, CREATED + nothing).status is Status.PENDING
    assert starts_at(task) == ends_at(task) == inf
    assert plan.estimate == 0


@given(plan=polled, before=st.integers(0, 20), after=st.integers(1, 20))
def test_reads_after_a_cancellation_change_nothing(plan: Plan, before: int, after: int) -> None:
    """A poll-paced task that was cancelled keeps its progress, however often it is read."""
    task = task_of(plan)
    for nth in range(before):
        read(task, CREATED + nth)
    running = stage(task, CREATED + before)

    cancelled = tasks.cancel(task, CREATED + before)
    ended = stage(task, CREATED + before)
    late = [read(task, CREATED + before + nth) for nth in range(after)]

    assert cancelled is not running.status.terminal
    assert ended.progress == running.progress
    assert not any(late)
    assert stage(task, CREATED + before + after) == ended


@given(plan=plans())
def test_the_estimate_is_the_plans_length(plan: Plan) -> None:
    """Whole seconds, rounded up; 0 where there is no end to name."""
    total = plan.queued_for + plan.runs_for

    assert plan.estimate == (0 if total == inf else ceil(total))


@given(
    start=st.floats(-1e15, 1e15),
    seconds=st.one_of(st.just(inf), st.floats(0, 1e9)),
    off=st.one_of(st.floats(-2e-5, 2e-5), st.sampled_from([0.0, 5e-7, -5e-7, 1e-6, -1e-6]), st.floats(-1e6, 1e6)),
)
def test_a_moment_is_reached_when_the_clock_shows_it(start: float, seconds: float, off: float) -> None:
    """The quick comparison says what the rounded moment says, however near."""
    now = start + off if seconds == inf else start + seconds + off

    assert reached(now, start, seconds) == (now >= after(start, seconds))


def test_what_is_kept_of_every_task_is_small() -> None:
    """Neither it, nor its plan, nor its frame has a dictionary, which would be larger than it is."""
    task = task_of(Plan(Status.COMPLETED))

    assert stage(task, CREATED).status is Status.COMPLETED
    for record in (task, task.plan, task.frame):
        assert not hasattr(record, "__dict__"), record


@given(
    plan=st.one_of(plans(queued=st.floats(0.0, 100.0), runs=st.floats(0.0, 1000.0)), polled),
    at=st.floats(0.0, 1200.0),
    shares=st.lists(st.floats(0.0, 1.0, exclude_max=True), max_size=5),
    reads=st.integers(0, 20),
    cancelled=st.booleans(),
)
def test_what_is_said_to_stay_stays(plan: Plan, at: float, shares: list[float], reads: int, cancelled: bool) -> None:
    """Until the moment that `steady_until` gives, each look shows the same stage, percent included."""
    task, now = task_of(plan, reads=reads), CREATED + at
    if cancelled:
        cancel(task, now)
    seen = stage(task, now)
    until = min(steady_until(task, seen, now), now + 10_000.0)

    for share in shares:
        assert stage(task, now + share * (until - now)) == seen or until <= now


def test_most_of_a_task_is_steady() -> None:
    """Between two steps nothing changes, and that is known: else nothing would be gained."""
    task = task_of(Plan(Status.COMPLETED, 5.0, 60.0, seed=7))

    known = [steady_until(task, stage(task, CREATED + at), CREATED + at) - CREATED - at for at in range(70)]

    assert known[0] == pytest.approx(5.0, abs=0.01)
    assert sum(one > 0.5 for one in known) > 60
