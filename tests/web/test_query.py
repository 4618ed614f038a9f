"""Reading: what a task shows while it gets on, when it is over, and who may see it."""

from collections.abc import Callable
from typing import Any

import pytest

POLLED = "poll-paced pending=2 processing=3"
CODES = ["content_policy_violation", "image_processing_error", "service_error", "generation_timeout", "unknown_error"]


def test_a_task_goes_through_its_stages(rig: Any) -> None:
    """Pending at 0, processing with progress that rises, completed at 100 with a link."""
    task_id = rig.task("completed queued=2 runs=60")
    seen = []
    for _ in range(70):
        seen.append(rig.shown(task_id))
        rig.advance(1)
    statuses = [one["status"] for one in seen]
    percents = [one["progress"] for one in seen]

    assert statuses == ["pending"] * 2 + ["processing"] * 60 + ["completed"] * 8
    assert percents == sorted(percents)
    assert len(set(percents[2:62])) >= 6
    assert (percents[0], max(percents[:62]) < 100, percents[62]) == (0, True, 100)
    assert seen[-1]["results"][0].endswith(seen[-1]["results"][0].partition("?")[2])


def test_a_completed_task_shows_its_video_and_its_price(rig: Any) -> None:
    """A link, the same in result_data with the seconds; used is what was reserved, in credits and dollars."""
    task_id = rig.task(duration=7, quality="1080p")
    rig.advance(12)
    body = rig.shown(task_id)

    cost = 7 * rig.fake.world.service_settings.credits_per_second["1080p"]
    assert body["result_data"] == [{"video_url": body["results"][0], "url": body["results"][0], "duration": 7}]
    assert body["usage"]["credits_used"] == body["usage"]["credits_reserved"] == cost
    assert body["usage"]["cost"] == {
        "credits": cost,
        "usd": round(cost * rig.fake.world.service_settings.usd_per_credit, 6),
    }
    assert body["task_info"]["can_cancel"] is False


@pytest.mark.parametrize("code", CODES)
def test_a_failed_task_says_why(rig: Any, code: str) -> None:
    """Code and message of the contract, progress where it failed, nothing used."""
    task_id = rig.task(f"failed code={code} at=33")
    rig.advance(60)
    body = rig.shown(task_id)

    assert (body["status"], body["progress"], body["error"]["code"]) == ("failed", 33, code)
    assert body["error"]["message"] == rig.fake.world.contract.task_errors[code]
    assert (body["usage"]["credits_used"], body["task_info"]["can_cancel"]) == (0, False)


def test_reading_changes_nothing(rig: Any) -> None:
    """Read a hundred times at one moment, it says the same; and a task nobody read shows no less."""
    watched, alone = rig.task(), rig.task()
    rig.advance(5)

    assert len({rig.query(watched).data for _ in range(100)}) == 1
    assert rig.shown(alone)["status"] == rig.shown(watched)["status"]
    rig.advance(10)
    first = rig.shown(watched)
    rig.advance(3600)
    assert rig.shown(watched) == first


def test_a_poll_paced_task_goes_by_reads(rig: Any) -> None:
    """So many pending, so many processing, then completed; the clock may stand or run."""
    task_id = rig.task(POLLED)
    rig.advance(100_000)

    seen = [rig.shown(task_id) for _ in range(8)]

    assert [one["status"] for one in seen] == ["pending"] * 2 + ["processing"] * 3 + ["completed"] * 3
    assert [one["progress"] for one in seen] == sorted(one["progress"] for one in seen)


def test_a_head_is_a_get_without_its_body(rig: Any) -> None:
    """Same status, same headers."""
    response = rig.query(rig.task())

    head = rig.call("HEAD", f"/v1/tasks/{response.json['id']}")
    assert (head.status_code, head.data, head.content_length) == (200, b"", response.content_length)


def test_tasks_are_forgotten_in_the_end(make: Callable[..., Any]) -> None:
    """When retention ends the id is unknown, on the account's clock."""
    rig = make(service_settings={"task_retention_seconds": 3600})
    task_id = rig.task()
    rig.advance(3599)
    assert rig.query(task_id).status_code == 200
    fired = rig.advance(1)

    assert rig.query(task_id).status_code == 404
    assert [one["kind"] for one in fired] == ["retention"]
    assert not rig.account().tasks


def test_retention_never_takes_a_task_before_it_has_ended_owing_nobody(make: Callable[..., Any]) -> None:
    """A task that outlives its retention is settled all the same: nothing reserved is lost."""
    rig = make(service_settings={"task_retention_seconds": 60})
    before = rig.fake.world.service_settings.starting_credits
    task_id = rig.task("failed queued=10 runs=100")
    rig.advance(60)
    assert rig.query(task_id).status_code == 404
    rig.advance(1000)

    assert rig.account().credits == before
    assert not rig.account().tasks


def test_another_accounts_task_is_refused_as_chosen(make: Callable[..., Any]) -> None:
    """403 by default, 404 on request; and it is not read by it."""
    for choice, status in (("forbidden", 403), ("not_found", 404)):
        rig = make(service_settings={"foreign_task": choice})
        task_id = rig.task(POLLED)
        assert [rig.query(task_id, key="sk-other").status_code for _ in range(9)] == [status] * 9
        assert rig.shown(task_id)["status"] == "pending"


@pytest.mark.parametrize(
    "task_id", ["nonsense", "task-1757169743-7cvnl5zw", "TASK-UNIFIED-1", "-", "%00", "task-unified"]
)
def test_an_id_of_another_form_is_a_400(rig: Any, task_id: str) -> None:
    """With `param: task_id`."""
    response = rig.query(task_id)

    assert (response.status_code, response.json["error"]["param"]) == (400, "task_id")


@pytest.mark.parametrize(
    "task_id", ["task-unified-", "task-unified-1-aaaaaaaa", "task-unified-" + "9" * 5000, "task-unified-%F0%9F%98%80"]
)
def test_an_id_that_nobody_has_is_a_404(rig: Any, task_id: str) -> None:
    """However strange, once it begins as ids do."""
    assert rig.query(task_id).status_code == 404


def test_clients_that_probe_the_old_route_are_told(rig: Any) -> None:
    """404 with the words that they look for."""
    response = rig.call("GET", "/v1/videos/generations/task-unified-1-aaaaaaaa")

    assert response.status_code == 404
    assert "Invalid URL" in response.json["error"]["message"]


def test_open_questions_are_choices(make: Callable[..., Any]) -> None:
    """can_cancel, result_data and a failed task's progress, as another reading of the sources has them."""
    rig = make(service_settings={"cancel_field": False, "result_data": False, "failed_progress": "zero"})
    done, failed = rig.task(), rig.task("failed at=40 queued=1 runs=5")
    rig.advance(30)

    assert "can_cancel" not in rig.shown(done)["task_info"]
    assert "result_data" not in rig.shown(done)
    assert rig.shown(failed)["progress"] == 0
