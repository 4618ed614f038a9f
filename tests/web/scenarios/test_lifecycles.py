"""How tasks get on and end, and answers that refuse: each scenario seen on the wire."""

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from kling_mock.contract import Contract

CONTRACT = Contract()
AT_ONCE = "pending=0 processing=0"


@pytest.mark.scenario("completed", "slow")
@pytest.mark.parametrize("name", ["completed", "slow"])
def test_waits(account: Any, name: str) -> None:
    """By its clock: pending first, completed when its time is over."""
    client = account(name)
    client.control("PUT", "/clock", {"mode": "manual"})
    task = client.task()
    assert client.query(task).json["status"] == "pending"
    client.control("POST", "/clock/advance", {"seconds": 121})
    assert client.query(task).json["status"] == {"completed": "completed", "slow": "processing"}[name]
    client.control("POST", "/clock/advance", {"seconds": 600})
    assert client.query(task).json["status"] == "completed"


@pytest.mark.scenario("instant")
def test_is_over_at_once(account: Any) -> None:
    """The first look shows it completed."""
    assert account("instant").looks(1) == [("completed", 100)]


@pytest.mark.scenario("stuck")
def test_never_ends(account: Any) -> None:
    """Not in a month, nor in fifty looks."""
    client = account("stuck")
    client.control("PUT", "/clock", {"mode": "manual"})
    task = client.task()
    client.control("POST", "/clock/advance", {"seconds": 29 * 86_400})
    assert client.query(task).json["status"] == "processing"
    seen = account("stuck by=polls").looks(50)
    assert {status for status, _ in seen[1:]} == {"processing"}
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)


@pytest.mark.scenario("failed")
def test_fails_with_each_code(account: Any) -> None:
    """Every task error code of the contract, at the progress that was asked for."""
    for code, words in CONTRACT.task_errors.items():
        client = account(f"failed code={code} at=17 {AT_ONCE}")
        body = client.query(client.task()).json
        assert (body["status"], body["progress"]) == ("failed", 17)
        assert body["error"] == {"code": code, "message": words, "type": CONTRACT.task_error_type}


@pytest.mark.scenario("cancelled")
def test_is_cancelled(account: Any) -> None:
    """It shows as failed, with the code of a cancelled task."""
    client = account(f"cancelled {AT_ONCE}")
    assert client.query(client.task()).json["error"]["code"] == "request_cancelled"


@pytest.mark.scenario("poll-paced")
def test_gets_on_by_looks(account: Any) -> None:
    """So many pending, so many processing, then over."""
    seen = account("poll-paced pending=2 processing=3").looks(7)
    assert [status for status, _ in seen] == ["pending"] * 2 + ["processing"] * 3 + ["completed"] * 2


@pytest.mark.scenario("late-visible")
def test_is_not_found_at_first(account: Any) -> None:
    """404 at the first looks, then the task."""
    client = account("late-visible times=2")
    task = client.task()
    assert [client.query(task).status for _ in range(3)] == [404, 404, 200]
    assert client.faults() == [None, "answer 404", "answer 404", None]


@pytest.mark.scenario("progress-stalls")
def test_stands_still(account: Any) -> None:
    """One number while it runs, 100 at the end."""
    seen = account("progress-stalls at=41 pending=1 processing=4").looks(6)
    assert seen == [("pending", 0), *[("processing", 41)] * 4, ("completed", 100)]


@pytest.mark.scenario("progress-drops")
def test_goes_up_and_down(account: Any) -> None:
    """Down, while it runs; 100 at the end."""
    seen = account("progress-drops pending=0 processing=4").looks(5)
    assert [progress for _, progress in seen] == [80, 20, 80, 20, 100]


# Refusals


@pytest.mark.scenario("rate-limited")
def test_is_told_to_wait(account: Any) -> None:
    """In seconds on the create, as a date of the account's clock on the query; in the words of each."""
    client = account("rate-limited times=2 retry_after=3")
    refused = client.create()
    assert (refused.error, refused.headers["retry-after"]) == ((429, "rate_limit_exceeded"), "3")
    assert [client.create().status, client.create().status] == [429, 200]
    assert client.faults() == ["answer 429", "answer 429", None]
    client = account("rate-limited on=query from=2 retry_after=90 form=date")
    client.control("PUT", "/clock", {"mode": "manual"})
    now = client.control("GET", "/clock")["now"]
    task = client.task()
    assert client.query(task).status == 200
    refused = client.query(task)
    assert refused.error == (429, "rate_limit_exceeded")
    assert refused.json["error"]["type"] == "evo_api_error"
    assert 90 <= parsedate_to_datetime(refused.headers["retry-after"]).timestamp() - now < 91
    assert 0 <= now - parsedate_to_datetime(refused.headers["date"]).timestamp() < 1
    assert client.query(task).status == 200


@pytest.mark.scenario("rate-limited-twice")
def test_is_told_to_wait_twice(account: Any) -> None:
    """Two refusals with the interface's own words, then a task."""
    client = account("rate-limited-twice")
    answers = [client.create() for _ in range(3)]
    assert [one.status for one in answers] == [429, 429, 200]
    assert (answers[0].headers["retry-after"], answers[0].error[1]) == ("2", "rate_limit_exceeded")
    assert len(client.tasks()) == 1


@pytest.mark.scenario("insufficient-quota", "permission-denied", "revoked-key", "not-found")
@pytest.mark.parametrize("name", ["insufficient-quota", "permission-denied", "revoked-key", "not-found"])
def test_is_refused(account: Any, name: str) -> None:
    """On the create, and in the middle of a task for good; in the words of each."""
    on_create, on_query = {
        "insufficient-quota": ((402, "insufficient_quota"), (402, "quota_exceeded")),
        "permission-denied": ((403, "model_access_denied"), (403, "permission_denied")),
        "revoked-key": ((401, "unauthorized"), (401, "unauthorized")),
        "not-found": ((404, "not_found"), (404, "task_not_found")),
    }[name]
    error = " error=not_found" if name == "not-found" else ""
    client = account(f"{name} on=create from=1{error}")
    assert client.create().error == on_create
    assert client.tasks() == []
    client = account(f"{name} on=query from=2")
    task = client.task()
    assert client.query(task).status == 200
    assert [client.query(task).error, client.query(task).error] == [on_query, on_query]
    assert client.faults()[2:] == [f"answer {on_query[0]}"] * 2


@pytest.mark.scenario("server-error")
def test_fails_itself(account: Any) -> None:
    """Each status in the documented words, or as a gateway's page; the task is made where it was asked for."""
    for status, code in ((500, "internal_error"), (503, "service_unavailable")):
        client = account(f"server-error status={status}")
        assert client.create().error == (status, code)
        assert (client.tasks(), client.create().status) == ([], 200)
    for status, title in ((502, b"<h1>502 Bad Gateway</h1>"), (504, b"<h1>504 Gateway Timeout</h1>")):
        client = account(f"server-error status={status} on=query times=2")
        task = client.task()
        page = client.query(task)
        assert (page.status, page.headers["content-type"]) == (status, "text/html")
        assert title in page.body
        assert [client.query(task).status, client.query(task).status] == [status, 200]
    client = account("server-error status=502 as=json accepted=true")
    assert client.create().error == (502, "upstream_error")
    assert len(client.tasks()) == 1


@pytest.mark.scenario("scattered-errors")
def test_every_second_query_fails(account: Any) -> None:
    """Five in all, a good one after each, in the documented words of the status that was asked for."""
    for params, error in (("", (503, "service_unavailable")), (" status=500", (500, "internal_error"))):
        client = account(f"scattered-errors{params}")
        task = client.task()
        answers = [client.query(task) for _ in range(12)]
        assert [answer.status for answer in answers] == [200, error[0]] * 5 + [200, 200]
        assert {answer.error for answer in answers if answer.status != 200} == {error}


@pytest.mark.scenario("odd-id")
def test_the_id_needs_encoding(account: Any) -> None:
    """What the create answers is no path as it stands, and leads to no task however it is written."""
    client = account("odd-id")
    assert client.create().json["id"] == "task-unified-1700000000-a/b?c#d"
    assert client.query("task-unified-1700000000-a%2Fb%3Fc%23d").status == 404
    assert client.faults()[0] == "edit id"
