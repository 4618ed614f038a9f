"""Idempotency-Key: one task and one charge for a create however often it is sent, and nothing bound by a refusal."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kling_openapi
from kling_mock.service.idempotency import same

MODEL = "kling-v3-turbo-image-to-video"
HEADER = "Idempotency-Key"
KEY = "a-key-0123456789"
LIFETIME = kling_openapi.service()["components"]["parameters"]["IdempotencyKey"]["x-idempotency"]["lifetime_seconds"]


def create(rig: Any, key: str | None = KEY, *, scenario: str | None = None, **body: Any) -> Any:
    """A create with *key*."""
    headers = {HEADER: key, "X-Mock-Scenario": scenario}
    return rig.create(headers={name: value for name, value in headers.items() if value is not None}, **body)


def balance(rig: Any) -> Any:
    """Credits left."""
    return rig.call("GET", "/v1/credits").json["data"]["user"]["remaining_credits"]


def replayed(response: Any) -> bool:
    """Whether the answer says that it is an earlier one."""
    return response.headers.get("idempotency-replayed") == "true"


def test_a_repetition_is_the_first_answer(rig: Any) -> None:
    """
    The same bytes and one charge, whatever has become of the task, and the header only on the repetition.
    """
    before = balance(rig)
    first = create(rig, scenario="poll-paced")
    again = create(rig, scenario="failed")
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.data == first.data
    rig.shown(first.json["id"])
    rig.shown(first.json["id"])
    assert create(rig).data == first.data
    rig.control("POST", f"/tasks/{first.json['id']}/cancel")
    assert create(rig).data == first.data
    assert before - balance(rig) == 0
    assert rig.call("GET", "/v1/tasks").json["total"] == 1


@pytest.mark.parametrize("scenario", ["completed", "instant", "failed", "cancelled", "stuck"])
def test_the_answer_of_a_task_that_is_over(rig: Any, scenario: str) -> None:
    """
    It is told as it was created: pending.
    """
    first = create(rig, scenario=scenario)
    rig.advance(3600)
    assert create(rig).data == first.data
    assert first.json["status"] == "pending"


def test_a_replay_has_the_id_that_was_given(rig: Any) -> None:
    """
    Whatever the scenario makes of the id: who repeats the create gets the same answer, and no fault of its connection again.
    """
    headers = {HEADER: KEY, "X-Mock-Scenario": "odd-id id=task-unified-1-a/b"}
    first, again = rig.create(headers=headers, bent=True), rig.create(headers={HEADER: KEY}, bent=True)
    assert first.json["id"] == again.json["id"] == "task-unified-1-a/b"
    assert again.data == first.data
    assert replayed(again)


def test_many_at_once(rig: Any) -> None:
    """
    Twenty threads with one key and body: one task, one charge, one scenario used up, nineteen repetitions.
    """
    rig.control("POST", "/scenarios/next", {"name": "stuck", "times": 2}, key="sk-test")
    before, start = balance(rig), threading.Barrier(20)

    def go(_: int) -> Any:
        start.wait()
        return create(rig)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(go, range(20)))
    assert {answer.data for answer in answers} == {answers[0].data}
    assert sum(map(replayed, answers)) == 19
    assert before - balance(rig) == 36
    assert len(rig.account().queued) == 1


@pytest.mark.parametrize(("size", "status"), [("640x480", 200), ("10x10", 400)])
def test_creates_that_overlap_are_one(rig: Any, monkeypatch: pytest.MonkeyPatch, size: str, status: int) -> None:
    """
    Of two creates whose first frames are looked at together, the first to commit makes the task; each refusal is judged for itself.
    """
    both, judge = threading.Barrier(2), rig.fake.world.frames.judge

    def slow(*asked: Any) -> Any:
        """The first frame, but not before both creates ask for it."""
        both.wait(5)
        return judge(*asked)

    monkeypatch.setattr(rig.fake.world.frames, "judge", slow)
    image = f"https://image.test/{size}.png"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: create(rig, image_start=image), range(2)))
    assert [answer.status_code for answer in answers] == [status, status]
    assert sorted(replayed(answer) for answer in answers) == [False, status == 200]
    assert len(rig.account().tasks) == (status == 200)


def test_of_two_bodies_that_overlap_one_is_a_conflict(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whichever commits first has the key; the other is 409 and nothing is charged for it.
    """
    both, judge = threading.Barrier(2), rig.fake.world.frames.judge

    def slow(*asked: Any) -> Any:
        """The first frame, but not before both creates ask for it."""
        both.wait(5)
        return judge(*asked)

    monkeypatch.setattr(rig.fake.world.frames, "judge", slow)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda prompt: create(rig, prompt=prompt), ("one", "other")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(rig.account().tasks) == 1


def test_another_body_is_a_conflict(rig: Any) -> None:
    """
    409 and `param`; the key still stands for its task. A spelled-out default is another body, 5.0 is not.
    """
    first = create(rig, duration=5, note={"b": 1, "a": [1]})
    for other in ({"duration": 6}, {}, {"duration": 5}, {"duration": 5, "note": {"b": 1, "a": [2]}}):
        response = create(rig, **other)
        assert (response.status_code, response.json["error"]["param"]) == (409, HEADER)
    assert create(rig, duration=5.0, note={"a": [1], "b": 1}).data == first.data
    assert create(rig, "another-key-4567", duration=6).json["id"] != first.json["id"]


def test_keys_of_two_accounts_are_two(rig: Any) -> None:
    """
    The key is the account's own.
    """
    first, other = create(rig), rig.create(key="sk-other", headers={HEADER: KEY})
    assert not replayed(other)
    assert other.json["id"] != first.json["id"]


@pytest.mark.parametrize("bad", ["", "x" * 15, "x" * 97, "with space inside", "slash/0123456789", "ü" * 20])
def test_malformed_keys_are_refused(rig: Any, bad: str) -> None:
    """
    400 that names the header; nothing is made.
    """
    response = create(rig, bad.encode().decode("latin-1"))
    assert (response.status_code, response.json["error"]["param"]) == (400, HEADER)
    assert rig.call("GET", "/v1/tasks").json["total"] == 0


@pytest.mark.parametrize("good", ["x" * 16, "x" * 96, "AZaz09._-AZaz09._-"])
def test_bounds_of_a_key(rig: Any, good: str) -> None:
    """
    16 to 96 of the allowed characters are fine.
    """
    assert create(rig, good).status_code == 200
    assert replayed(create(rig, good))


def test_a_key_lives_a_day(rig: Any) -> None:
    """
    Up to its last moment it replays, at its end it is free, and what is over takes no memory.
    """
    first = create(rig, scenario="stuck")
    rig.account().move_to(rig.account().now_shown + LIFETIME - 0.001)
    assert replayed(create(rig))
    rig.advance(0.001)
    second = create(rig, prompt="other")
    assert second.json["id"] != first.json["id"]
    assert not replayed(second)
    for number in range(5):
        create(rig, f"yet-another-key-{number}")
    rig.advance(LIFETIME)
    create(rig, "the-last-key-of-all")
    assert rig.account().remembers("the-last-key-of-all")
    assert not rig.account().remembers(KEY)


@pytest.mark.parametrize(
    "refused",
    [{"duration": 99}, {"image_start": "https://image.test/10x10.png"}, {"callback_url": "https://10.0.0.1/"}],
)
def test_a_refused_create_binds_nothing(rig: Any, refused: Any) -> None:
    """
    Whatever it is refused for, the key is free afterwards.
    """
    assert create(rig, **refused).status_code == 400
    assert not rig.account().remembers(KEY)
    first = create(rig)
    assert first.status_code == 200
    assert not replayed(first)


def test_a_create_without_credits_binds_nothing(rig: Any) -> None:
    """
    402, then with credits the same create goes through.
    """
    rig.control("PUT", "/account", {"credits": 10}, key="sk-test")
    assert create(rig).status_code == 402
    rig.control("PUT", "/account", {"credits": 1000}, key="sk-test")
    assert create(rig).status_code == 200
    assert replayed(create(rig))


def test_an_answer_of_a_scenario_binds_nothing(stories: Callable[..., Any]) -> None:
    """
    A create that a scenario refuses leaves the key free; the next one with it makes the task.
    """
    rig = stories("{name: busy, summary: s, acts: [{when: {create: [1]}, answer: {error: RateLimited}}]}")
    assert create(rig, scenario="busy").status_code == 429
    first = create(rig, scenario="busy")
    assert first.status_code == 200
    assert not replayed(first)
    assert create(rig, scenario="busy").data == first.data


def test_reset_frees_keys(rig: Any) -> None:
    """
    After a reset the key is new.
    """
    create(rig)
    rig.control("POST", "/reset")
    assert not replayed(create(rig))


def test_forgotten_tasks_free_their_keys(make: Callable[..., Any]) -> None:
    """
    Where tasks are kept shorter than keys, a key whose task is gone makes a new one.
    """
    rig = make(service_settings={"task_retention_seconds": 60})
    create(rig, scenario="instant")
    rig.advance(61)
    assert not replayed(create(rig))


def test_it_can_be_off(make: Callable[..., Any]) -> None:
    """
    With `idempotency=false` the header means nothing, not even a malformed one.
    """
    rig = make(service_settings={"idempotency": False})
    answers = [create(rig), create(rig), create(rig, "short"), create(rig, duration=9)]
    assert len({answer.json["id"] for answer in answers}) == 4
    assert not any(map(replayed, answers))


scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e15, 1e15) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
bodies = st.dictionaries(st.text(max_size=8), values, max_size=5)


def turned(value: Any) -> Any:
    """*value* with the members of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: turned(inner) for name, inner in reversed(value.items())}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


@given(body=bodies, one=scalars, two=scalars)
@example(body={}, one=5, two=5.0)
@example(body={}, one=1, two=True)
@settings(max_examples=150, deadline=None)
def test_bodies_are_compared_by_what_they_say(body: dict[str, Any], one: Any, two: Any) -> None:
    """
    Order says nothing and 5 is 5.0; whatever else differs once decoded, and be it 1 and true, is another body.
    """
    assert same(body, b"") == same(turned(body), b"other bytes")
    equal = one == two and isinstance(one, bool) == isinstance(two, bool)
    assert (same({**body, "x": one}, b"") == same({**body, "x": two}, b"")) == equal


def test_bodies_that_cannot_be_written_again() -> None:
    """
    Nested too deep, or a number too large, they are the same letter for letter.
    """
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    for body in ({"x": deep}, {"x": 1e300}):
        assert same(body, b"a") == same(body, b"a") != same(body, b"b")
