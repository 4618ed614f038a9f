"""What clients call beside the two endpoints: balance, models, lists, batches. Every answer is judged against the contract."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kling_openapi

MODEL = "kling-v3-turbo-image-to-video"
OTHER = "sk-other"
PATHS = kling_openapi.service()["paths"]
START = 1_000_000_000


def credits(rig: Any, **more: Any) -> tuple[Any, Any]:
    """What is left and what was used, the same for the key and its user."""
    data = rig.call("GET", "/v1/credits", **more).json["data"]
    token, user = data["token"], data["user"]
    assert token == {**user, "unlimited_credits": False}
    return user["remaining_credits"], user["used_credits"]


def listed(rig: Any, query: str = "", **more: Any) -> Any:
    """One page of tasks."""
    response = rig.call("GET", f"/v1/tasks?{query}", **more)
    assert response.status_code == 200, response.json
    return response.json


def ids(page: Any) -> list[str]:
    """The ids of its rows."""
    return [row["id"] for row in page["data"]]


def batch(rig: Any, *task_ids: Any, **more: Any) -> Any:
    """A batch's answer."""
    return rig.call("POST", "/v1/tasks/batch", json={"task_ids": list(task_ids)}, **more)


def test_every_operation_has_one_handler(rig: Any) -> None:
    """
    The contract's operations and the handlers are the same set, and nothing can be taken twice or be made up.
    """
    described = [operation["operationId"] for item in PATHS.values() for operation in item.values()]
    assert sorted(rig.fake.api.handlers) == sorted(described)
    for name in ("getTask", "getWeather"):
        with pytest.raises(ValueError, match=name):
            rig.fake.api.take({name: rig.fake.api.get_task})


def test_credits_follow_a_task(rig: Any) -> None:
    """
    Reserved at the create, used when it completes, given back when it fails; a credit read is settled up to now.
    """
    assert credits(rig) == (START, 0)
    rig.task("completed queued=1 runs=1", duration=3)
    rig.task("failed queued=1 runs=1", duration=10)
    assert credits(rig) == (START - 93.6, 0)
    rig.account().move_to(rig.now() + 5)  # past both ends, and nobody was told
    left, used = credits(rig)
    assert (left, used) == (START - 21.6, 21.6)
    assert rig.call("GET", "/v1/credits").json["message"] == ""
    assert credits(rig, key=OTHER) == (START, 0)


def test_credits_show_fractions_clean(make: Callable[..., Any]) -> None:
    """
    A balance carries no dust of binary fractions.
    """
    rig = make(service_settings={"credits_per_second": {"720p": 0.1}, "minimum_credits": 0, "starting_credits": 1})
    rig.task(duration=3)
    assert credits(rig) == (0.7, 0)


def test_an_estimate_is_the_price(rig: Any) -> None:
    """
    What a create of those parameters reserves, as decimal strings in every unit; nothing is made.
    """
    asked = {"model_id": MODEL, "operation": "generate", "parameters": {"quality": "1080p", "duration": 7}}
    found = rig.call("POST", "/v1/agent-estimates", json={**asked, "expected_usage": {}}).json
    assert found["amounts"] == {"uc": "630000", "credits": "63", "cny": "6.3", "usd": "0.926471"}
    assert (found["amount"], found["currency"], found["settlement_basis"]) == ("0.926471", "USD", "request_only")
    assert found["components"][0]["billed_quantity"] == "7"
    assert rig.create(quality="1080p", duration=7).json["usage"]["credits_reserved"] == 63
    for wrong, param in (({"model_id": "veo"}, "model_id"), ({"parameters": {"duration": 2}}, "parameters.duration")):
        response = rig.call("POST", "/v1/agent-estimates", json={**asked, **wrong})
        assert (response.status_code, response.json["error"]["param"]) == (400, param)


def test_models(rig: Any) -> None:
    """
    Every model of the contract, the document's own first, until the account is given others.
    """
    every = list(kling_openapi.family().models)
    assert every[0] == MODEL
    assert [one["id"] for one in rig.call("GET", "/v1/models").json["data"]] == every
    rig.control("PUT", "/account", {"models": ["b", "a"]}, key="sk-test")
    assert [one["id"] for one in rig.call("GET", "/v1/models").json["data"]] == ["a", "b"]
    assert [one["id"] for one in rig.call("GET", "/v1/models", key=OTHER).json["data"]] == every


def test_list_is_filtered(rig: Any) -> None:
    """
    Newest first; `processing` takes in what is pending; other models and types have no tasks; other keys neither.
    """
    completed = rig.task("completed queued=1 runs=1")
    failed = rig.task("failed queued=1 runs=1")
    processing = rig.task("completed queued=1 runs=100")
    pending = rig.task("completed queued=100 runs=1")
    rig.advance(5)
    assert ids(listed(rig)) == [pending, processing, failed, completed]
    assert ids(listed(rig, "status=processing")) == [pending, processing]
    for status, expected in (("pending", pending), ("failed", failed), ("completed", completed)):
        assert ids(listed(rig, f"status={status}")) == [expected]
    assert len(ids(listed(rig, f"type=video&model={MODEL}"))) == 4
    rig.control("POST", f"/tasks/{pending}/cancel")
    assert ids(listed(rig, "status=cancelled")) == [pending]
    (row,) = listed(rig, "status=cancelled")["data"]
    assert (row["status"], row["has_error"], row["has_results"], row["credits_used"]) == ("failed", True, False, 0)
    for nothing in ("type=image", "model=veo", "status=failed&type=text"):
        assert listed(rig, nothing) == {"data": [], "total": 0, "page": 1, "page_size": 20}
    assert ids(listed(rig, key=OTHER)) == []


@pytest.mark.parametrize("expired", ["keep", "empty"])
@pytest.mark.parametrize("progress", ["keep", "zero"])
def test_a_row_says_what_the_query_says(make: Callable[..., Any], expired: str, progress: str) -> None:
    """At each moment of each kind of task, its links dead or alive: the row is drawn without them, and must not differ."""
    rig = make(service_settings={"expired_results": expired, "failed_progress": progress})
    for scenario in (
        "completed queued=2 runs=5",
        "failed queued=2 runs=5",
        "link-early-expiry queued=1 runs=2 lifetime=20s",
        "stuck",
    ):
        rig.task(scenario)
    element = kling_openapi.family().models["kling-custom-element"].examples[0]
    assert rig.call("POST", "/v1/videos/generations", json=element, bent=True).status_code == 200
    rig.control("POST", f"/tasks/{rig.task('completed queued=100 runs=1')}/cancel")
    for seconds in (0, 1, 2, 4, 3, 12.999999, 0.000001, 86400):
        rig.advance(seconds)
        for row in listed(rig, bent=True)["data"]:
            shown = rig.call("GET", f"/v1/tasks/{row['id']}", bent=True).json
            facts = {"created_at": shown["created"], "has_error": "error" in shown}
            facts["has_results"] = bool(shown.get("results"))
            facts["credits_used"] = shown["usage"].get("credits_used", 0)
            assert row == {name: shown[name] for name in ("id", "model", "type", "status", "progress")} | facts


def test_rows_are_tasks_without_links(rig: Any) -> None:
    """
    A row says which task, how far it is and whether there is a result or an error; looking at a list counts as no read.
    """
    task_id, paced = rig.task("instant"), rig.task("poll-paced")
    for _ in range(10):
        row = listed(rig)["data"][1]
    shown = rig.shown(task_id)
    facts = {"created_at": shown["created"], "has_results": True, "has_error": False, "credits_used": 36}
    assert row == {name: shown[name] for name in ("id", "model", "type", "status", "progress")} | facts
    assert rig.shown(paced)["status"] == "pending"


def test_forgotten_tasks_are_not_listed(make: Callable[..., Any]) -> None:
    """
    Retention takes a task out of the list at its very moment.
    """
    rig = make(service_settings={"task_retention_seconds": 100})
    rig.task()
    rig.advance(99.9)
    assert listed(rig)["total"] == 1
    rig.account().move_to(rig.now() + 0.1)
    assert listed(rig)["total"] == 0


@pytest.mark.parametrize("call", ["/v1/tasks", "/api/v1/files/list"])
@pytest.mark.parametrize(
    "bad",
    [
        *("page=abc", "page=0", "page=-1", "page=1.0", "page=1_0", "page=", "page=%FF", "page=" + "9" * 5000),
        *("page_size=0", "page_size=101", "page_size=True", "page=1&page=x"),
    ],
)
def test_bad_paging_is_refused(rig: Any, call: str, bad: str) -> None:
    """
    400 that names the parameter.
    """
    files = "files" in call
    asked = bad.replace("page_size", "pageSize") if files else bad
    response = rig.call("GET", f"{call}?{asked}")
    assert response.status_code == 400
    name = asked.partition("=")[0]
    assert response.json["msg"].startswith(name) if files else response.json["error"]["param"] == name


@pytest.mark.parametrize(
    "bad", ["status=foo", "status=", "status=Pending", "type=movie", "model=", "model=" + "x" * 201]
)
def test_bad_filters_are_refused(rig: Any, bad: str) -> None:
    """
    400 that names the filter; what the contract does not name is ignored.
    """
    response = rig.call("GET", f"/v1/tasks?{bad}")
    assert (response.status_code, response.json["error"]["param"]) == (400, bad.partition("=")[0])
    assert listed(rig, "order=asc&limit=x&page=01&;&&=")["page"] == 1


@pytest.fixture(scope="module")
def many(new_rig: Callable[..., Any]) -> Any:
    """An account with 23 tasks, oldest first."""
    rig = new_rig()
    rig.made = [rig.task() for _ in range(23)]
    yield rig
    rig.close()


@given(size=st.integers(1, 100), beyond=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_pages_are_the_whole(many: Any, size: int, beyond: int) -> None:
    """
    Pages of any size, one after the other, are the list; past its end there is nothing, and the total stays.
    """
    count = -(-len(many.made) // size)
    pages = [listed(many, f"page={number}&page_size={size}") for number in range(1, count + 1)]
    assert [task_id for page in pages for task_id in ids(page)] == many.made[::-1]
    past = listed(many, f"page={count + 1 + beyond}&page_size={size}")
    assert past == {"data": [], "total": 23, "page": count + 1 + beyond, "page_size": size}


def test_batch(rig: Any) -> None:
    """
    In the order asked for, each once, as the query shows them; what is unknown, malformed or another's is absent.
    """
    first, second, foreign = rig.task("instant"), rig.task(), rig.task(key=OTHER)
    answer = batch(rig, second, "task-unified-1-aaaaaaaa", foreign, first, "", "\0", second).json["data"]
    assert answer == [rig.shown(second), rig.shown(first)]
    assert batch(rig, "nothing").json == {"data": []}


def test_batch_reads_tasks(rig: Any) -> None:
    """
    Who polls by batches only gets a poll-paced task to its end, and its charge settled.
    """
    task_id = rig.task("poll-paced pending=1 processing=1")
    seen = [batch(rig, task_id).json["data"][0]["status"] for _ in range(3)]
    assert seen == ["pending", "processing", "completed"]
    assert credits(rig)[1] == 36


def test_batch_meets_scenarios(stories: Callable[..., Any]) -> None:
    """
    A task that its scenario hides is absent, an edited one is edited, and a failing read fails the batch.
    """
    rig = stories(
        "{name: hidden, summary: s, acts: [{when: {query: [1]}, answer: {error: TaskNotFound}}]}",
        "{name: odd, summary: s, acts: [{when: {query: [1]}, edit: {set: {mood: fine}}}]}",
        "{name: broken, summary: s, acts: [{when: {query: [1]}, answer: {error: InternalError}}]}",
    )
    hidden, odd, plain = rig.task("hidden"), rig.task("odd"), rig.task()
    rows = batch(rig, hidden, odd, plain).json["data"]
    assert [(row["id"], row.get("mood")) for row in rows] == [(odd, "fine"), (plain, None)]
    broken = rig.task("broken")
    assert batch(rig, plain, broken).status_code == 500
    assert [row["id"] for row in batch(rig, plain, broken, hidden).json["data"]] == [plain, broken, hidden]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"task_ids": []}, "task_ids"),
        ({"task_ids": ["x"] * 51}, "task_ids"),
        ({"task_ids": "x"}, "task_ids"),
        ({"task_ids": None}, "task_ids"),
        ({"task_ids": [1]}, "task_ids[0]"),
        ({}, "task_ids"),
        ([], None),
        (None, None),
    ],
)
def test_bad_batches_are_refused(rig: Any, body: Any, param: str | None) -> None:
    """
    400 that names the member; fifty are fine.
    """
    response = rig.call("POST", "/v1/tasks/batch", json=body)
    assert (response.status_code, response.json["error"].get("param")) == (400, param)
    assert batch(rig, *["x"] * 50).status_code == 200


def test_batch_bodies(rig: Any) -> None:
    """
    Not JSON is 400, another type 415, too long 413; `GET /v1/tasks/batch` is a method that the path does not take.
    """
    call = ("POST", "/v1/tasks/batch")
    assert rig.call(*call, data=b"{", content_type="application/json").status_code == 400
    assert rig.call(*call, data=b"{}", content_type="text/plain").status_code == 415
    assert rig.call(*call, data=b" " * (2 << 20), content_type="application/json").status_code == 413
    refused = rig.call("GET", "/v1/tasks/batch", bent=True)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
    assert rig.call("DELETE", "/v1/tasks").status_code == 405


def test_all_need_a_key_and_count(rig: Any) -> None:
    """
    Without a key 401; past the rate limit 429 in the query's words, whichever call it is.
    """
    calls = [("GET", "/v1/credits"), ("GET", "/v1/models"), ("GET", "/v1/tasks"), ("GET", "/api/v1/files/quota")]
    for method, path in calls:
        assert rig.call(method, path, key=None).status_code == 401
    rig.control("PUT", "/account", {"rate_limit": 2}, key="sk-test")
    assert [rig.call(*call).status_code for call in calls] == [200, 200, 429, 429]
