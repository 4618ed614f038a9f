"""`GET /metrics`: what Prometheus reads, and whom it is for."""

from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

HOOK = "https://8.8.8.8/hook"


def metrics(rig: Any, **headers: str) -> dict[tuple[str, str], float]:
    """The samples by name and first label, of a call that must succeed."""
    response = rig.app.test_client().get("/metrics", headers=headers)
    assert response.status_code == 200
    families = text_string_to_metric_families(response.get_data(as_text=True))
    return {(one.name, next(iter(one.labels.values()), "")): one.value for family in families for one in family.samples}


def test_tasks_attempts_and_requests_are_counted(rig: Any) -> None:
    """One task that completes, its callback refused once; no key and no URL among the labels."""
    rig.receiver.script.append(500)
    task_id = rig.task(callback_url=HOOK)
    rig.query(task_id)
    rig.advance(100)
    seen = metrics(rig)

    assert [seen["kling_mock_tasks_total", status] for status in ("pending", "processing", "completed")] == [1, 1, 1]
    assert seen["kling_mock_callback_attempts_total", "status"] == 1
    assert seen["kling_mock_callback_attempts_total", "2xx"] == 1
    assert seen["kling_mock_callback_lag_seconds_count", ""] == 2
    assert seen["kling_mock_callback_lag_seconds_sum", ""] == 0, "a manual clock is never late"
    assert seen["kling_mock_request_seconds_count", "createVideo"] == 1
    assert seen["kling_mock_request_seconds_count", "getTask"] == 1
    assert (seen["kling_mock_store_up", ""], seen["kling_mock_store_errors_total", ""]) == (1, 0)
    text = rig.app.test_client().get("/metrics").get_data(as_text=True)
    assert "sk-test" not in text
    assert "8.8.8.8" not in text


def test_off_the_loopback_it_takes_the_token(make: Callable[..., Any]) -> None:
    """As every call that tells what others do."""
    rig = make(admin_token="right")
    far = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}

    assert rig.app.test_client().get("/metrics", **far).status_code == 403
    assert rig.app.test_client().get("/metrics", headers={"X-Mock-Token": "right"}, **far).status_code == 200
