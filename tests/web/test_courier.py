"""The courier between requests: what is late, and what the journal keeps of an attempt."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from kling_mock import clock as clocks
from kling_mock.service.courier import Courier
from kling_mock.store.interface import StoreDown

HOOK = "https://8.8.8.8/hook"


def test_what_fell_due_before_a_request_is_sent_by_it(make: Callable[..., Any]) -> None:
    """On a clock that runs; with a store that processes share it is left to the courier's own thread."""
    rig = make(clock="real")
    came = threading.Event()
    rig.receiver.meanwhile = lambda _: came.set()
    if rig.fake.world.store.blocking:
        rig.fake.courier.start()
    rig.task("completed queued=0.001 runs=0.001", callback_url=HOOK)

    for _ in range(1000):
        rig.control("GET", "/accounts")
        if came.wait(0.02):
            break

    assert came.is_set()


def test_the_journal_gives_the_length_of_a_body_that_it_keeps_in_part(rig: Any) -> None:
    """A callback of megabytes is kept by its start; one that is kept whole needs no length."""
    for story in ("completed queued=1 runs=4", "callback-huge bytes=1500000"):
        rig.task(story, callback_url=HOOK)
    rig.advance(1000)

    small, large = sorted(
        (one for one in rig.control("GET", "/journal")["entries"] if one["kind"] == "attempt"),
        key=lambda one: "request_body_bytes" in one,
    )
    assert "request_body_bytes" not in small
    assert large["request_body_bytes"] > 1_500_000


def test_a_clock_that_is_made_manual_later_is_one(make: Callable[..., Any]) -> None:
    """Whoever looks then finds that what is due now has happened."""
    rig = make(clock="real")
    rig.control("PUT", "/clock", {"mode": "manual"})
    task_id = rig.create(callback_url=HOOK, headers={"X-Mock-Scenario": "instant"}).json["id"]

    (owed,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]

    assert owed["state"] == "delivered"


def test_the_journal_has_the_urls_and_the_seconds(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a request with its query, and of an attempt as the transport measured it; in its own form and in HAR."""
    post = rig.receiver.post
    monkeypatch.setattr(rig.receiver, "post", lambda *given, **more: replace(post(*given, **more), seconds=1.25))
    task_id = rig.task("completed queued=1 runs=4", callback_url=f"{HOOK}?order=7")
    rig.call("GET", f"/v1/tasks/{task_id}?look=twice&b=%20")
    rig.advance(5)

    entries = rig.control("GET", "/journal")["entries"]
    (read,) = [one for one in entries if one["kind"] == "exchange" and one["request"]["method"] == "GET"]
    (attempt,) = [one for one in entries if one["kind"] == "attempt"]
    assert read["request"]["url"] == f"/v1/tasks/{task_id}?look=twice&b=%20"
    assert read["seconds"] > 0
    assert attempt["seconds"] == 1.25
    shown = [one["request"] for one in rig.control("GET", "/journal.har")["log"]["entries"]]
    (har,) = [one for one in shown if "look=twice" in one["url"]]
    assert {one["name"]: one["value"] for one in har["queryString"]} == {"look": "twice", "b": " "}


def test_a_cancelled_task_has_called_back_when_the_cancel_returns(make: Callable[..., Any]) -> None:
    """On a manual clock, also on one that was made manual later: nobody has to ask before the receiver knows."""
    rig = make(clock="real")
    rig.control("PUT", "/clock", {"mode": "manual"})
    task_id = rig.task("completed queued=5 runs=5", callback_url=HOOK)

    rig.control("POST", f"/tasks/{task_id}/cancel")

    assert [call.body["status"] for call in rig.receiver.calls] == ["failed"]


@pytest.mark.parametrize("story", ["completed queued=1 runs=4", "failed queued=1 runs=4"])
def test_a_callback_that_is_asked_for_again_is_one_more_attempt(rig: Any, story: str) -> None:
    """Sent at once and kept with its moment, beside those that the schedule made."""
    rig.task(story, callback_url=HOOK)
    rig.advance(60)
    (owed,) = rig.control("GET", "/deliveries")["deliveries"]
    rig.advance(30)

    rig.control("POST", f"/deliveries/{owed['id']}/resend")

    (again,) = rig.control("GET", "/deliveries")["deliveries"]
    assert len(rig.receiver.calls) == len(again["attempts"]) == len(owed["attempts"]) + 1
    assert again["attempts"][-1]["sent"] == again["attempts"][-1]["due"] == rig.now()
    *scheduled, asked_for = [one for one in rig.control("GET", "/journal")["entries"] if one["kind"] == "attempt"]
    assert asked_for["resent"] is True
    assert not [one for one in scheduled if "resent" in one]


def test_an_attempt_that_failed_says_how(rig: Any) -> None:
    """In the words of whoever found out: in the list of deliveries and in the journal; one that got through has nothing to say."""
    rig.receiver.script += ["refused", 204]
    rig.task("completed queued=1 runs=4", callback_url=HOOK)
    rig.advance(60)

    (owed,) = rig.control("GET", "/deliveries")["deliveries"]
    noted = [one for one in rig.control("GET", "/journal")["entries"] if one["kind"] == "attempt"]
    for failed, delivered in (owed["attempts"], noted):
        assert failed["detail"] == "refused, as the test wants it"
        assert "detail" not in delivered


def test_whoever_waits_for_senders_waits_for_all_of_them(make: Callable[..., Any]) -> None:
    """One callback has ended while another is under way: that is not the end."""
    rig = make(clock="real")
    rig.control("PUT", "/clock", {"mode": "manual"})
    courier, account = rig.fake.courier, rig.account().seen
    first, second, free = threading.Event(), threading.Event(), threading.Event()

    def meanwhile(call: Any) -> None:
        if call.url.endswith("slow"):
            second.set()
            assert free.wait(60)
        else:
            first.set()

    rig.receiver.meanwhile = meanwhile
    for ending in ("slow", "fast"):
        rig.task("completed queued=1 runs=1", callback_url=f"{HOOK}/{ending}")
    advancing = threading.Thread(target=rig.advance, args=(5,), daemon=True)
    advancing.start()
    assert first.wait(60)
    assert second.wait(60)
    while len(rig.receiver.calls) < 1:
        advancing.join(0.01)
    waiting = threading.Thread(target=courier.wait_for_senders, args=(account,), daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()

    free.set()
    waiting.join()
    advancing.join()
    assert sorted(call.url[-4:] for call in rig.receiver.calls) == ["fast", "slow"]


def test_whoever_waited_in_vain_for_a_sender_waits_for_it_again(rig: Any) -> None:
    """A look gives up after a while where one receiver of two is slow; the next move of the clock still waits for that one."""
    courier, account = rig.fake.courier, rig.account().seen
    free = {"slow": threading.Event(), "fast": threading.Event()}
    rig.receiver.meanwhile = lambda call: free[call.url[-4:]].wait(60)
    for ending in free:
        rig.create(callback_url=f"{HOOK}/{ending}", headers={"X-Mock-Scenario": "instant"})
    courier.settle(account)
    waiting = threading.Thread(target=courier.wait_for_senders, args=(account, 0.2), daemon=True)
    waiting.start()
    waiting.join(0.02)
    free["fast"].set()
    waiting.join()

    advancing = threading.Thread(target=rig.advance, args=(5,), daemon=True)
    advancing.start()
    advancing.join(0.05)
    assert advancing.is_alive()

    free["slow"].set()
    advancing.join()
    assert {call.url[-4:] for call in rig.receiver.calls} == {"fast", "slow"}


def test_the_thread_of_the_courier_holds_no_process_up(make: Callable[..., Any]) -> None:
    """Whoever forgets to stop a fake can end all the same."""
    rig = make(clock="real")
    before = {*threading.enumerate()}
    rig.fake.courier.start()

    (started,) = {*threading.enumerate()} - before
    assert (started.name, started.daemon) == ("courier", True)
    rig.fake.courier.stop()


def test_a_courier_goes_on_when_its_store_fails(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a second, whatever it was; one that is down is counted. In between it sleeps for an hour at the most."""
    rig = make(clock="real")
    courier, world = rig.fake.courier, rig.fake.world
    ends: list[Exception | None] = [StoreDown("the store", "no way to it"), ValueError("a defect"), None]
    asked, paused, counted = [], [], []

    def due(seconds: float, most: int) -> AbstractContextManager[Sequence[Any]]:
        assert most > 0
        asked.append(seconds)
        if len(asked) == len(ends):
            monkeypatch.setattr(courier, "_stopping", True)
        if (error := ends[len(asked) - 1]) is not None:
            raise error
        return nullcontext(())

    monkeypatch.setattr(world.store, "due", due)
    monkeypatch.setattr(clocks, "pause", paused.append)
    monkeypatch.setattr(world.measures, "store_error", lambda: counted.append(1))
    before = {*threading.enumerate()}
    courier.start()
    for thread in {*threading.enumerate()} - before:
        thread.join()

    assert (asked, paused, counted) == ([3600.0] * 3, [1.0, 1.0], [1])
    assert [record.getMessage() for record in caplog.records if record.name.endswith("courier")] == [
        "the store: no way to it; the courier tries again in 1 s",
        "the courier failed, and goes on in 1 s",
    ]


@pytest.mark.parametrize(("mode", "waits"), [("manual", [1.0]), ("real", []), ("x60", [])])
def test_a_look_waits_for_a_second_for_callbacks_that_are_due(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, mode: str, waits: list[float]
) -> None:
    """Where the clock is moved by hand: a receiver that looks while it is called is what this would wait for."""
    rig = make(clock=mode)
    courier, seen = rig.fake.courier, []
    monkeypatch.setattr(courier, "wait_for_senders", lambda _, seconds=None: seen.append(seconds))

    courier.come_to_rest(rig.account().seen)

    assert seen == waits


def test_a_courier_that_does_not_send_starts_no_thread(make: Callable[..., Any]) -> None:
    """What clocks that run owe is left to other processes."""
    rig = make(clock="real")
    before = {*threading.enumerate()}
    idle = Courier(rig.fake.world, rig.receiver, sends=False)

    idle.start()
    assert {*threading.enumerate()} == before
    idle.stop()


@pytest.mark.parametrize("ends", [2, 3])
def test_what_happened_is_told_in_order_attempts_last(rig: Any, ends: int) -> None:
    """Of one moment: the task has ended before its callback is sent; attempts are numbered from 1, each with how it ended."""
    rig.receiver.script += [500, 500]
    rig.task(f"completed queued=1 runs={ends - 1}", callback_url=HOOK)
    rig.task(f"completed queued=1 runs={ends - 1}", callback_url=HOOK)

    fired = rig.advance(ends)
    together = [one for one in fired if one["at"] == fired[-1]["at"]]

    assert [one["kind"] for one in together] == ["status"] * 2 + ["attempt"] * 2
    assert [(one["attempt"], one["outcome"]) for one in together[2:]] == [(1, "status")] * 2
