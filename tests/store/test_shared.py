"""Several processes on one store: money, keys, ids, clocks and callbacks hold as in one, and outlive each of them."""

from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from kling_mock import clock as clocks
from kling_mock.store.sql import blobs

HOOK = "https://8.8.8.8/hook"
COST = 36


def test_facts_outlive_the_process(url: str, process: Callable[..., Any]) -> None:
    """A task made before a restart completes after it, calls back, and has the link it would have had."""
    first = process(url)
    _, made = first.create(callback_url=HOOK)
    first.advance(1)
    first.close()
    second = process(url)
    fired = second.advance(100)

    assert [one["kind"] for one in fired] == ["status", "status", "attempt"]
    assert [call[0] for call in second.receiver.calls] == [HOOK]
    shown = second.call("GET", f"/v1/tasks/{made['id']}")[1]
    assert (shown["status"], shown["usage"]["credits_used"]) == ("completed", COST)
    third = process(url)
    assert third.call("GET", f"/v1/tasks/{made['id']}")[1] == shown
    assert third.control("GET", "/clock") == second.control("GET", "/clock")


def test_another_clock_option_goes_on_from_where_it_is(url: str, process: Callable[..., Any]) -> None:
    """Facts win over options, save the mode of the server's clock, which never goes back."""
    process(url).advance(1000, key=None)
    assert process(url).control("GET", "/clock", key=None)["now"] == 1_757_169_743 + 1000
    scaled = process(url, clock="x60", start=None).control("GET", "/clock", key=None)
    assert (scaled["mode"], scaled["rate"]) == ("scaled", 60)
    assert scaled["now"] >= 1_757_169_743 + 1000


def test_two_processes_cannot_overspend(url: str, process: Callable[..., Any]) -> None:
    """Credits for five tasks, twenty creates at once through two processes: five are made, and the balance is nothing."""
    pair = [process(url), process(url)]
    pair[0].control("PUT", "/account", {"credits": 5 * COST})
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(status for status, _ in pool.map(lambda nth: pair[nth % 2].create(), range(20)))

    assert statuses == [200] * 5 + [402] * 15
    assert pair[1].control("GET", "/accounts")["accounts"][0]["credits"] == 0
    tasks = pair[1].control("GET", "/tasks")["tasks"]
    assert len({task["id"] for task in tasks}) == 5


def test_one_key_and_body_is_one_task_for_all_processes(url: str, process: Callable[..., Any]) -> None:
    """Twelve creates with one Idempotency-Key through two processes."""
    pair = [process(url), process(url)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda nth: pair[nth % 2].create(again="a-key-0123456789"), range(12)))

    assert {status for status, _ in made} == {200}
    assert len({body["id"] for _, body in made}) == 1
    assert pair[0].create(again="a-key-0123456789", prompt="other")[0] == 409


def test_a_rate_limit_counts_all_processes(url: str, process: Callable[..., Any]) -> None:
    """Three requests in a minute, through whichever process."""
    pair = [process(url), process(url)]
    pair[0].control("PUT", "/account", {"rate_limit": 3})
    statuses = [pair[nth % 2].call("GET", "/v1/credits")[0] for nth in range(5)]

    assert statuses == [200, 200, 200, 429, 429]


def test_advance_through_one_settles_for_all(url: str, process: Callable[..., Any]) -> None:
    """The clock is one row: what fell due has happened for every process when the call returns."""
    pair = [process(url), process(url)]
    pair[0].control("POST", "/scenarios/next", {"name": "failed"})
    _, made = pair[1].create("", callback_url=HOOK)
    pair[0].advance(1000)

    assert pair[1].control("GET", "/clock") == pair[0].control("GET", "/clock")
    assert pair[1].call("GET", f"/v1/tasks/{made['id']}")[1]["status"] == "failed"
    assert pair[1].control("GET", "/deliveries")["deliveries"][0]["state"] == "delivered"
    kinds = [entry["kind"] for entry in pair[1].control("GET", "/journal")["entries"]]
    assert kinds.count("attempt") == 1


def test_an_attempt_that_was_begun_and_never_ended(
    url: str, process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal says "sent, outcome unknown", then comes the resend; the lost attempt does not count against the policy."""
    first = process(url)
    _, made = first.create("completed queued=1 runs=1", callback_url=HOOK)
    first.receiver.meanwhile = _die
    with pytest.raises(SystemExit):
        first.fake.courier.advance(first.fake.world.store.seen("sk-test"), 5)
    second = process(url)
    second.receiver.script += [500] * 10
    assert not second.advance(0)  # another process has it in hand, as far as anybody knows
    wall = clocks.wall
    monkeypatch.setattr(clocks, "wall", lambda: wall() + 120)
    second.advance(100)

    (delivery,) = second.control("GET", f"/deliveries?task_id={made['id']}")["deliveries"]
    outcomes = [attempt["outcome"] for attempt in delivery["attempts"]]
    assert outcomes == ["unknown", "status", "status", "status", "status"]
    entries = [one for one in second.control("GET", "/journal")["entries"] if one["kind"] == "attempt"]
    assert [one["outcome"] for one in entries] == outcomes


def _die() -> None:
    raise SystemExit


def test_a_courier_of_another_process_sends(url: str, process: Callable[..., Any]) -> None:
    """A process that was started without a courier leaves callbacks of running clocks to one that has one."""
    web = process(url, clock="real", start=None, no_courier=True)
    courier = process(url, clock="real", start=None)
    _, made = web.create("instant", callback_url=HOOK)
    courier.fake.courier.start()
    met = web.control("GET", f"/wait?task_id={made['id']}&until=delivered&timeout=30")

    assert met["met"]
    assert (len(web.receiver.calls), len(courier.receiver.calls)) == (0, 1)


def test_uploads_are_shared(url: str, process: Callable[..., Any]) -> None:
    """What one process took another serves, also as a first frame."""
    pair = [process(url), process(url)]
    body = {"base64_data": _PIXELS}
    _, uploaded = pair[0].call("POST", "/api/v1/files/upload/base64", body)
    found = urlsplit(uploaded["data"]["file_url"]).path

    assert pair[1].app.test_client().get(found).status_code == 200
    assert pair[1].create(image_start=uploaded["data"]["file_url"])[0] == 200
    pair[1].control("POST", "/reset")
    assert pair[0].app.test_client().get(found).status_code == 404


def test_a_file_of_the_same_name_and_folder_is_replaced(any_url: str, process: Callable[..., Any]) -> None:
    """Every store keeps the folder that an upload named."""
    fake = process(any_url)
    body = {"base64_data": _PIXELS, "file_name": "frame.png", "upload_path": "kept/here"}
    _first, again, elsewhere = (
        fake.call("POST", "/api/v1/files/upload/base64", given)[1]["data"]["file_id"]
        for given in (body, body, {**body, "upload_path": "kept"})
    )
    listed = fake.call("GET", "/api/v1/files/list")[1]["data"]["files"]

    assert {one["file_id"] for one in listed} == {again, elsewhere}


def test_an_account_keeps_so_many_tasks(any_url: str, process: Callable[..., Any]) -> None:
    """The oldest that have ended go, with their callbacks and what the agenda had of them; one that still runs stays."""
    fake = process(any_url, service_settings={"task_retention_count": 32})
    _, running = fake.create("stuck")
    for _ in range(8):
        made = [fake.create("completed queued=1 runs=1", callback_url=HOOK)[1]["id"] for _ in range(8)]
        fake.advance(100)
    tasks = [task["id"] for task in fake.control("GET", "/tasks")["tasks"]]

    assert tasks[0] == running["id"]
    assert set(made) < set(tasks)
    assert len(tasks) == 1 + 33
    assert len(fake.control("GET", "/deliveries")["deliveries"]) == 33
    assert fake.control("GET", "/accounts")["accounts"][0]["credits"] == 10**9 - 65 * COST
    retired = fake.advance(40 * 86400)
    assert [one["kind"] for one in retired].count("retention") == len(tasks)


def test_first_frames_are_shared(url: str, process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that never saw a first frame makes the same video as the one that judged it; the oldest go when there are too many."""
    pair = [process(url), process(url)]
    monkeypatch.setattr(blobs, "PICTURES", 2000)
    urls = []
    for shade in range(4):
        _, uploaded = pair[0].call("POST", "/api/v1/files/upload/base64", {"base64_data": _pixels(shade)})
        urls.append(uploaded["data"]["file_url"])
        assert pair[0].create(image_start=urls[-1])[0] == 200
    store = pair[0].fake.world.store
    frames = [task.frame for task in store.tasks(store.seen("sk-test"))]
    found = [pair[1].fake.world.frames.content(*one) for one in zip(urls, frames, strict=True)]

    assert found[-1] == b64decode(_pixels(3))
    assert found[0] is None


def _pixels(shade: int = 0) -> str:
    import io
    from base64 import b64encode

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (400, 400), (shade, 0, 0)).save(buffer, "PNG")
    return b64encode(buffer.getvalue()).decode()


_PIXELS = _pixels()
