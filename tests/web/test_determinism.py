"""The same seed and the same requests give the same ids, plans and outcomes, in every process and whatever the threads do."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_mock import clock as clocks

NOW = 1_757_169_743.0
HOOK = "https://8.8.8.8/hook"

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("create"), st.sampled_from(["completed", "failed", "slow", "poll-paced", "stuck", "instant"])
        ),
        st.tuples(st.just("advance"), st.integers(0, 100)),
        st.tuples(st.just("read"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("fail"), st.sampled_from([500, "timeout", "refused"])),
    ),
    max_size=15,
)


@pytest.fixture(autouse=True)
def standing_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fake begins at one moment."""
    monkeypatch.setattr(clocks, "wall", lambda: NOW)


def run(rig: Any, story: list[tuple[str, Any]], key: str = "sk-test") -> list[Any]:
    """Everything that was seen along *story*."""
    seen: list[Any] = []
    ids: list[str] = []
    for what, value in story:
        if what == "create":
            response = rig.create(key=key, callback_url=HOOK, headers={"X-Mock-Scenario": value})
            ids.append(response.json["id"])
            seen.append(response.json)
        elif what == "advance":
            seen.append(rig.advance(value, key=key))
        elif what == "fail":
            rig.receiver.script.append(value)
        elif ids:
            task_id = ids[value % len(ids)]
            path = f"/tasks/{task_id}/cancel"
            seen.append(rig.query(task_id, key=key).json if what == "read" else rig.control("POST", path))
        rig.control("GET", "/deliveries", key=key)  # comes to rest, so that the receiver's script is used up in order
    seen += [rig.control("GET", path, key=key) for path in ("/tasks", "/deliveries", "/clock")]
    seen.append([call.body for call in rig.receiver.calls])
    return seen


@settings(max_examples=25, deadline=None)
@given(story=steps)
def test_two_fakes_do_the_same(new_rig: Callable[..., Any], story: list[tuple[str, Any]]) -> None:
    """Ids, bodies, plans, times, attempts, links: all of it."""
    rigs = _pair(new_rig)
    for rig in rigs:
        rig.control("POST", "/reset")
        rig.receiver.calls.clear()
        rig.receiver.script.clear()

    assert run(rigs[0], story) == run(rigs[1], story)


_kept: list[Any] = []


def _pair(new_rig: Callable[..., Any]) -> list[Any]:
    """Two rigs with one seed, for all examples."""
    if not _kept:
        _kept.extend(new_rig(seed=7) for _ in range(2))
    return _kept


def ids_of(rig: Any, key: str, count: int = 10) -> list[Any]:
    """Ids and plans of some tasks."""
    for _ in range(count):
        assert rig.create(key=key).status_code == 200
    return [(task.id, task.plan) for task in rig.account(key).tasks.values()]


def test_seed_and_key_each_make_a_difference(make: Callable[..., Any]) -> None:
    """Another seed or another key: other ids, other plans."""
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    first = ids_of(one, "sk-a")

    assert ids_of(same, "sk-a") == first
    for drawn in (ids_of(other, "sk-a"), ids_of(one, "sk-b")):
        assert not {task_id for task_id, _ in drawn} & {task_id for task_id, _ in first}
        assert [plan.runs_for for _, plan in drawn] != [plan.runs_for for _, plan in first]


def test_threads_of_other_accounts_change_nothing(make: Callable[..., Any]) -> None:
    """Eight accounts at once get what each would get alone."""
    alone, together = make(seed=3), make(seed=3)
    keys = [f"sk-{number}" for number in range(8)]
    expected = {key: ids_of(alone, key) for key in keys}
    start, found = threading.Barrier(len(keys)), {}

    def create(key: str) -> None:
        start.wait()
        found[key] = ids_of(together, key)

    threads = [threading.Thread(target=create, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == expected


def test_requests_that_are_refused_leave_the_draws_alone(make: Callable[..., Any]) -> None:
    """Ids are those of the tasks made, however many attempts there were."""
    calm, busy = make(seed=4), make(seed=4)
    expected = ids_of(calm, "sk-a")
    for _ in range(5):
        busy.create(key="sk-a", duration=99)
        busy.query("task-unified-1-aaaaaaaa", key="sk-a")
    assert ids_of(busy, "sk-a") == expected


def test_after_a_reset_it_begins_again(make: Callable[..., Any]) -> None:
    """The same requests after a reset get the same answers as before."""
    rig = make(seed=5)
    first = ids_of(rig, "sk-a")
    rig.control("POST", "/reset")

    assert ids_of(rig, "sk-a") == first


def test_the_video_of_the_same_task_is_the_same_file(make: Callable[..., Any]) -> None:
    """Byte for byte, from two fakes."""
    videos = []
    for rig in (make(seed=6), make(seed=6)):
        task_id = rig.task("instant", image_start="https://image.test/320x300.png", duration=3)
        videos.append(rig.call("GET", rig.shown(task_id)["results"][0].removeprefix("http://localhost"), key=None).data)

    assert videos[0] == videos[1]
    assert len(videos[0]) > 1000


IDS = ["5ttazaq1", "h8nfofsi", "p5oe4n4b", "6lirlm1f", "4i9by0e7", "tdq0jher", "1sh7h6qf", "u1couw2r"]
PROGRESS = [47, 36, 48, 40, 46, 45, 47, 49]


def test_a_seed_makes_the_same_tasks_in_every_version(make: Callable[..., Any]) -> None:
    """What was seen with one is seen with the next: ids, and how far tasks are after ten seconds."""
    rig = make(seed=7, start=NOW)
    made = [rig.task("completed queued=1 runs=20") for _ in range(8)]
    rig.advance(10)

    assert [one.rpartition("-")[2] for one in made] == IDS
    assert [rig.shown(one)["progress"] for one in made] == PROGRESS
