"""What comes again is not read, judged or rendered again, and nobody can tell: bodies of creates, and what is shown of tasks."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from test_models import FAMILY, NAMES

from kling_mock import clock as clocks
from kling_mock.service import creating, views
from kling_mock.service.lately import Lately
from kling_mock.web import incoming

STEPS = (0.0, 1.0, 2.0, 7.0, 0.5, 30.0, 0.001, 40.0, 90_000.0)
"""Seconds between looks: from pending to a link that has expired."""


def shown(rig: Any, name: str) -> list[bytes]:
    """Return what callers see of creates of each example, three times, and of the tasks and the list at many moments."""
    seen = []
    for body in FAMILY.models[name].examples:
        sent = {key: value for key, value in body.items() if key != "callback_url"}
        ids = []
        for headers in ({}, {}, {"X-Mock-Scenario": "failed"}):
            made = rig.call("POST", "/v1/videos/generations", json=sent, bent=True, headers=headers)
            seen.append(made.data)
            ids.append(made.json["id"])
        for seconds in STEPS:
            rig.advance(seconds)
            paths = [*(f"/v1/tasks/{it}" for it in ids), *["/v1/tasks?page_size=3"] * 2]
            seen += [rig.call("GET", path, bent=True).data for path in paths]
    return seen


@pytest.mark.parametrize("expired", ["dies", "empty"])
@NAMES
def test_every_model_is_shown_as_if_nothing_were_kept(
    make: Callable[..., Any], name: str, expired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fakes of one seed, of which the second keeps nothing: letter for letter the same."""
    more = {"service_settings": {"expired_results": "empty"}} if expired == "empty" else {}
    keeps, plain = (make(seed=5, images="offline", start="2026-11-30T12:00:00Z", **more) for _ in range(2))
    plain.fake.world.views.keeps = False

    kept = shown(keeps, name)
    monkeypatch.setattr(creating, "_KEPT_BYTES", -1)
    monkeypatch.setattr(incoming, "_KEPT_BYTES", -1)
    monkeypatch.setattr(views, "_KEPT_CREATES", 0)
    read = shown(plain, name)

    assert kept == read


def test_a_cancelled_task_is_shown_as_such_at_once(rig: Any) -> None:
    """What was kept of it while it ran counts no longer."""
    task_id = rig.task()
    rig.advance(4)
    before = rig.query(task_id).json["status"], rig.query(task_id).json["status"]

    rig.control("POST", f"/tasks/{task_id}/cancel")

    assert before == ("processing", "processing")
    assert rig.query(task_id).json["error"]["code"] == "request_cancelled"
    assert rig.call("GET", "/v1/tasks").json["data"][0]["has_error"]


@pytest.mark.parametrize("path", ["/v1/tasks/{}", "/v1/tasks"])
def test_a_task_that_is_cancelled_while_it_is_looked_at_is_not_kept(
    rig: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel comes in another thread: the look that it meets may still show the task running, and no later one does."""
    task_id = rig.task("completed queued=1 runs=3600")
    rig.advance(100)
    seen = rig.fake.world.views._progress

    def cancelled_meanwhile(stage: Any) -> int:
        monkeypatch.undo()
        rig.control("POST", f"/tasks/{task_id}/cancel")
        return int(seen(stage))

    monkeypatch.setattr(rig.fake.world.views, "_progress", cancelled_meanwhile)
    first, then = (rig.call("GET", path.format(task_id)).json for _ in range(2))

    shown = [one["data"][0] if "data" in one else one for one in (first, then)]
    assert [one["status"] for one in shown] == ["processing", "failed"]


def test_an_id_that_is_drawn_again_is_another_task(rig: Any) -> None:
    """After a reset the same seed gives the same ids."""
    rig.control("POST", "/clock/advance", {"seconds": 1})
    first = rig.task("completed queued=1 runs=1")
    rig.advance(10)
    done = rig.query(first).json["status"]

    rig.control("POST", "/reset")
    again = rig.task("completed queued=1 runs=1")

    assert done == "completed"
    assert again.rpartition("-")[2] == first.rpartition("-")[2]
    assert rig.query(again).json["status"] == "pending"


def test_an_uploaded_picture_that_is_gone_is_missed(rig: Any) -> None:
    """A create whose body came before is judged by what its media are now."""
    upload = rig.call(
        "POST", "/api/v1/files/upload/url", json={"file_url": "https://image.test/640x480.png"}, bent=True
    )
    body = {"image_start": upload.json["data"]["file_url"]}
    before = [rig.create(**body).json for _ in range(2)]
    file_id = upload.json["data"]["file_id"]
    rig.call("DELETE", f"/api/v1/files/{file_id}", bent=True)

    after = rig.create(bent=True, **body)
    told = after.json.get("error") or rig.shown(after.json["id"])

    assert [one["status"] for one in before] == ["pending", "pending"]
    assert told["status" if after.status_code == 200 else "code"] != "pending"


def test_few_tasks_are_kept(monkeypatch: pytest.MonkeyPatch, rig: Any) -> None:
    """What was shown of tasks has a bound, and only that of tasks that stay as they are is kept."""
    monkeypatch.setattr("kling_mock.service.lately._MOST", 2)
    lately: Lately = rig.fake.world.views._bodies
    for _ in range(5):
        rig.query(rig.task())
    rig.query(rig.task("completed pending=3 processing=3"))

    if rig.fake.world.store.blocking:
        assert not lately._shown
    else:
        assert 0 < len(lately._shown) <= 2


# What is due is left to the thread that follows the clocks


class Following:
    """A fake on a clock that runs as the test says, whose courier has a thread that never comes to anything."""

    def __init__(self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.now = 1_790_000_000.0
        monkeypatch.setattr(clocks, "wall", lambda: self.now)
        self.rig = make(clock="real", service_settings=settings)
        monkeypatch.setattr(self.rig.fake.courier, "_thread", threading.current_thread())
        self.account = self.rig.fake.world.account(f"Bearer {self.rig.account().key}")

    def create(self, scenario: str = "failed queued=0 runs=0", **headers: str) -> Any:
        """A create whose task ends at once, unless *scenario* says otherwise."""
        return self.rig.create(headers={"X-Mock-Scenario": scenario, **headers})


def test_a_create_lets_things_happen_where_it_needs_the_credits(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed task gives back is there when the next one needs it, and not before."""
    here = Following(make, monkeypatch)
    if here.rig.fake.world.store.blocking:
        return
    cost = here.create().json["usage"]["credits_reserved"]
    here.account.credits = cost * 1.5
    here.create()
    left = here.account.credits

    made = here.create()

    assert left == pytest.approx(cost * 0.5)
    assert made.status_code == 200
    assert here.account.credits == pytest.approx(cost * 1.5)


def test_an_account_that_is_full_drops_its_oldest_tasks(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast they are made: only those that have ended are dropped, so that has to have happened."""
    here = Following(make, monkeypatch, task_retention_count=3)

    ids = [here.create("completed queued=0 runs=0").json["id"] for _ in range(8)]

    assert [here.rig.query(it).status_code for it in ids] == [404] * 5 + [200] * 3


def test_a_key_stands_for_no_task_that_is_forgotten(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on at which a query no longer finds it."""
    here = Following(make, monkeypatch, task_retention_seconds=100)
    first = here.create(**{"Idempotency-Key": "0f8fad5b-d9cb-469f-a165-70867728950e"}).json["id"]
    here.now += 100.001

    again = here.create(**{"Idempotency-Key": "0f8fad5b-d9cb-469f-a165-70867728950e"})

    assert here.rig.query(first).status_code == 404
    assert again.json["id"] != first
