"""Callbacks: when they are sent, what they carry, how often they are tried, and what they never change."""

import threading
from collections.abc import Callable
from ipaddress import ip_address
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kling_openapi

HOOK = "https://8.8.8.8/hook?order=7"
POLICY = kling_openapi.service()["paths"]["/v1/videos/generations"]["post"]["callbacks"]["taskFinished"][
    "{$request.body#/callback_url}"
]["post"]["x-delivery"]
QUICK = "completed queued=1 runs=4"


def attempts(rig: Any, task_id: str) -> list[dict[str, Any]]:
    """The attempts of the task's one delivery, as the control protocol lists them."""
    (delivery,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]
    found: list[dict[str, Any]] = delivery["attempts"]
    return found


@pytest.mark.parametrize("story", [QUICK, "failed queued=1 runs=4 at=20", "cancelled queued=1 runs=4"])
def test_every_end_is_reported_once_it_is_settled(rig: Any, story: str) -> None:
    """Completed, failed, cancelled: billing is settled before the POST, and its body is the query's, field for field."""
    seen = []

    def meanwhile(call: Any) -> None:
        account = rig.account()
        held = sum(task.reserved for task in account.tasks.values() if not task.settled)
        seen.append((call.body, rig.shown(task_id), held))

    rig.receiver.meanwhile = meanwhile
    task_id = rig.task(story, callback_url=HOOK)
    rig.advance(4)
    assert not rig.receiver.calls
    rig.advance(1)

    (call,) = rig.receiver.calls
    ((body, shown, held),) = seen
    assert body == shown == rig.shown(task_id)
    assert held == 0
    assert (call.url, call.relay, call.headers) == (HOOK, None, {"content-type": "application/json"})


def test_a_cancel_is_reported_at_once_on_a_manual_clock(rig: Any) -> None:
    """Due now means now: no advance is needed."""
    task_id = rig.task(callback_url=HOOK)
    rig.advance(5)
    rig.control("POST", f"/tasks/{task_id}/cancel")

    (call,) = rig.receiver.calls
    assert call.body["error"]["code"] == "request_cancelled"
    assert call.body == rig.shown(task_id)
    rig.control("POST", f"/tasks/{task_id}/cancel")
    rig.advance(1000)
    assert len(rig.receiver.calls) == 1


def test_a_poll_that_ends_a_task_owes_its_callback(rig: Any) -> None:
    """Poll-paced: due when the last read shows it completed, sent with the next step of the clock, if it is one of nothing."""
    task_id = rig.task("poll-paced pending=0 processing=1", callback_url=HOOK)
    rig.shown(task_id)
    assert rig.shown(task_id)["status"] == "completed"
    rig.advance(0)

    assert [call.body["status"] for call in rig.receiver.calls] == ["completed"]


def test_without_a_url_nobody_is_called(rig: Any) -> None:
    """And nothing is owed."""
    task_id = rig.task(QUICK)
    rig.advance(100)

    assert not rig.receiver.calls
    assert rig.control("GET", f"/deliveries?task_id={task_id}") == {"deliveries": []}


def test_failures_are_tried_again_after_one_two_and_four_seconds(rig: Any) -> None:
    """500, 500, 500, 204: at 0, +1, +3 and +7 from the first, each gap from the end of the one before."""
    rig.receiver.script.extend([500, 500, 500, 204])
    began = rig.now()
    task_id = rig.task(QUICK, callback_url=HOOK)
    counts = []
    for _ in range(14):
        rig.advance(1)
        counts.append(len(rig.receiver.calls))

    made = attempts(rig, task_id)
    assert counts == [0] * 4 + [1, 2, 2, 3, 3, 3, 3, 4, 4, 4]
    assert [one["due"] - began for one in made] == [5, 6, 8, 12]
    assert all(one["due"] == one["sent"] == one["ended"] for one in made)
    assert [(one["attempt"], one["outcome"], one["status"]) for one in made] == [
        (1, "status", 500),
        (2, "status", 500),
        (3, "status", 500),
        (4, "2xx", 204),
    ]


def test_one_leap_does_what_many_steps_do(rig: Any) -> None:
    """A day at once: everything happens at its own time, in order, and is listed so."""
    rig.receiver.script.extend([500, "timeout", "refused", 200])
    began = rig.now()
    task_id = rig.task(QUICK, callback_url=HOOK)
    fired = rig.advance(86_400)

    assert [(one["at"] - began, one["kind"], one.get("status", one.get("outcome"))) for one in fired] == [
        (1, "status", "processing"),
        (5, "status", "completed"),
        (5, "attempt", "status"),
        (6, "attempt", "timeout"),
        (8, "attempt", "refused"),
        (12, "attempt", "2xx"),
    ]
    assert {one["task_id"] for one in fired} == {task_id}
    assert [one["attempt"] for one in fired if one["kind"] == "attempt"] == [1, 2, 3, 4]


@settings(max_examples=40, deadline=None)
@given(
    answers=st.lists(
        st.sampled_from(
            [
                200,
                201,
                204,
                299,
                100,
                300,
                302,
                307,
                400,
                404,
                410,
                429,
                500,
                503,
                "timeout",
                "refused",
                "dns",
                "blocked",
            ]
        ),
        max_size=6,
    )
)
def test_any_2xx_and_nothing_else_is_success(new_rig: Callable[..., Any], answers: list[int | str]) -> None:
    """Whatever a receiver does, it is called until the first 2xx, and never more often than the contract says; the task stands."""
    rig = _shared(new_rig)
    rig.receiver.calls.clear()
    rig.receiver.script.clear()
    rig.receiver.script.extend([*answers, *[500] * 9])
    task_id = rig.task(QUICK, callback_url=HOOK)
    rig.advance(5)
    before = rig.shown(task_id)
    rig.advance(1000)

    most = len(POLICY["retry_delays_seconds"]) + 1
    taken = next((number for number, one in enumerate(answers, 1) if isinstance(one, int) and 200 <= one < 300), most)
    assert len(rig.receiver.calls) == min(taken, most)
    (delivery,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]
    assert delivery["state"] == ("delivered" if delivery["attempts"][-1]["outcome"] == "2xx" else "gave_up")
    assert delivery["next_due"] is None
    assert rig.shown(task_id) == before
    assert all(call.body == before for call in rig.receiver.calls)
    assert not rig.judge.found


_kept: list[Any] = []


def _shared(new_rig: Callable[..., Any]) -> Any:
    """One rig for all examples of a property."""
    if not _kept:
        _kept.append(new_rig())
    return _kept[0]


def test_tasks_end_alike_whatever_their_receivers_do(rig: Any) -> None:
    """One that is taken, one that is refused, one that nobody is told of: the same end at the same time."""
    rig.receiver.script.extend([500] * 4)
    told, untold = rig.task(QUICK, callback_url=HOOK), rig.task(QUICK)
    rig.advance(5)

    one, other = rig.shown(told), rig.shown(untold)
    for body in (one, other):
        for name in ("id", "results", "result_data"):
            del body[name]
    assert one == other


def test_an_attempt_has_the_contracts_seconds(rig: Any) -> None:
    """Real ones on a clock that stands; fewer on one that runs faster."""
    task_id = rig.task(QUICK, callback_url=HOOK)
    rig.advance(5)
    (delivery,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]
    rig.control("PUT", "/clock", {"mode": "scaled", "rate": 50})
    rig.control("POST", f"/deliveries/{delivery['id']}/resend")

    seconds = POLICY["timeout_seconds"]
    assert [call.timeout for call in rig.receiver.calls] == [seconds, seconds / 50]


def test_a_resend_is_one_more_attempt_now(rig: Any) -> None:
    """Beside the retries, which go on as they were; after a delivery too."""
    rig.receiver.script.extend([500, 503, 204])
    task_id = rig.task(QUICK, callback_url=HOOK)
    rig.advance(5)
    (delivery,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]
    resent = rig.control("POST", f"/deliveries/{delivery['id']}/resend")
    assert [one["status"] for one in resent["attempts"]] == [500, 503]
    assert resent["next_due"] == delivery["next_due"] == rig.now() + 1
    rig.advance(1)
    again = rig.control("POST", f"/deliveries/{delivery['id']}/resend")

    assert [one["status"] for one in again["attempts"]] == [500, 503, 204, 204]
    assert again["state"] == "delivered"
    assert rig.advance(100) == []


def test_a_receiver_may_ask_and_act_while_it_is_called(rig: Any) -> None:
    """No lock is held: it reads, cancels another task and creates one, all before it answers."""
    other = rig.task(QUICK)
    made = []

    def meanwhile(call: Any) -> None:
        assert rig.shown(call.body["id"]) == call.body
        rig.control("POST", f"/tasks/{other}/cancel")
        made.append(rig.task("stuck"))

    rig.receiver.meanwhile = meanwhile
    rig.task("completed queued=1 runs=2", callback_url=HOOK)
    rig.advance(10)

    assert rig.shown(other)["error"]["code"] == "request_cancelled"
    assert len(made) == 1


def test_a_reset_in_the_middle_of_an_attempt_leaves_nothing_behind(rig: Any) -> None:
    """The attempt ends, and nothing of it is owed or remembered."""
    rig.receiver.script.append(500)
    rig.receiver.meanwhile = lambda call: rig.control("POST", "/reset", key="sk-test")
    rig.task(QUICK, callback_url=HOOK)
    rig.control("POST", "/clock/advance", {"seconds": 5})

    assert rig.control("GET", "/deliveries") == {"deliveries": []}
    assert rig.control("GET", "/tasks") == {"tasks": []}
    assert rig.account().next_due() is None


def test_a_reset_among_many_attempts_ends_them_all(rig: Any) -> None:
    """More callbacks at one moment than senders; the first receiver resets. Those not yet sent are not, and nothing breaks."""
    for _ in range(80):
        rig.task("completed queued=1 runs=1", callback_url=HOOK)
    account, pause = rig.account(), threading.Event()
    # Of a store that processes share no more is taken than there are senders: there is no queue to wait for.
    looks = 0 if rig.fake.world.store.blocking else 60_000

    def meanwhile(call: Any) -> None:
        for _ in range(looks):
            if (account.next_due() or inf) > account.clock.now():
                break
            pause.wait(0.001)  # until all of them stand in the senders' queue
        rig.control("POST", "/reset", key="sk-test")

    rig.receiver.meanwhile = meanwhile
    fired = rig.advance(10)

    sent = [one for one in fired if one["kind"] == "attempt"]
    assert len(sent) == len(rig.receiver.calls) < 80
    assert rig.control("GET", "/deliveries") == {"deliveries": []}


def test_what_falls_due_together_is_sent_in_order_and_listed_in_order(rig: Any) -> None:
    """Ten tasks of two accounts on the server's clock: by time, and at one time by age."""
    ids = []
    for number in range(10):
        key = f"sk-{number % 2}"
        task = rig.create(
            key=key, callback_url=HOOK, headers={"X-Mock-Scenario": f"completed queued=1 runs={10 - number // 2}"}
        )
        ids.append(task.json["id"])
    fired = rig.advance(60)

    assert [one["at"] for one in fired] == sorted(one["at"] for one in fired)
    assert len([one for one in fired if one["kind"] == "attempt"]) == 10
    assert {one["task_id"] for one in fired} == set(ids)
    for key in ("sk-0", "sk-1"):
        assert not [
            one for one in rig.control("GET", "/deliveries", key=key)["deliveries"] if one["state"] != "delivered"
        ]


class TestRelays:
    """Public addresses that are really served next door."""

    def test_a_relay_takes_an_origins_callbacks(self, rig: Any) -> None:
        """The URL stays as it was registered; where it goes is told beside it."""
        rig.control("PUT", "/relays", {"https://Hooks.Example.com:443": "http://127.0.0.1:9000/"})
        task_id = rig.task(QUICK, callback_url="https://hooks.example.com/a/b?c=d")
        rig.advance(5)

        (call,) = rig.receiver.calls
        assert (call.url, call.relay) == ("https://hooks.example.com/a/b?c=d", "http://127.0.0.1:9000")
        assert rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"][0]["url"] == call.url

    def test_an_internal_address_is_refused_relay_or_not(self, rig: Any) -> None:
        """The address is judged as if there were none."""
        rig.control("PUT", "/relays", {"https://127.0.0.1": "http://127.0.0.1:9000"})

        assert rig.create(callback_url="https://127.0.0.1/hook").status_code == 400

    def test_accounts_first_seen_later_have_them_too(self, make: Callable[..., Any]) -> None:
        """Those of the command line, and those set without a key; one's own take their place."""
        rig = make(relays={"https://hooks.example.com": "http://127.0.0.1:1"})
        assert rig.account("sk-a").relays == {"https://hooks.example.com": "http://127.0.0.1:1"}
        rig.control("PUT", "/relays", {"https://b.example.com": "http://127.0.0.1:2"})
        assert (
            rig.account("sk-b").relays == rig.account("sk-a").relays == {"https://b.example.com": "http://127.0.0.1:2"}
        )
        rig.control("PUT", "/relays", {}, key="sk-a")
        assert (rig.account("sk-a").relays, len(rig.account("sk-b").relays)) == ({}, 1)

    def test_a_reset_keeps_them(self, rig: Any) -> None:
        """They are part of the set-up."""
        rig.control("PUT", "/relays", {"https://hooks.example.com": "http://127.0.0.1:9000"}, key="sk-test")
        rig.control("POST", "/reset", key="sk-test")

        assert rig.account().relays == {"https://hooks.example.com": "http://127.0.0.1:9000"}


class TestNames:
    """Callback hosts that are names."""

    @pytest.mark.parametrize(
        ("addresses", "status"),
        [(["8.8.8.8"], 200), (["10.0.0.1"], 400), (["8.8.8.8", "::1"], 400), (["::ffff:192.168.0.1"], 400), ([], 200)],
    )
    def test_are_refused_where_they_lead_inside(
        self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, addresses: list[str], status: int
    ) -> None:
        """Any one address inside is too many; a name that does not resolve is judged again when it is called."""

        def resolve(host: str, *_: Any) -> Any:
            if not addresses:
                raise OSError("no such name")
            return [ip_address(text) for text in addresses]

        monkeypatch.setattr("kling_mock.app.resolve_system", resolve)
        rig = make()

        response = rig.create(callback_url="https://hooks.example.com/")
        assert response.status_code == status
        assert len(rig.account().tasks) == (1 if status == 200 else 0)

    def test_local_callbacks_may_go_anywhere(self, make: Callable[..., Any]) -> None:
        """Loopback, plain http and names of this machine, for whoever says so."""
        rig = make(callbacks="local")
        for url in ("http://127.0.0.1:9000/", "https://localhost/", "http://10.0.0.1/", "http://[::1]:8080/x"):
            assert rig.create(callback_url=url).status_code == 200
        assert rig.create(callback_url="ftp://127.0.0.1/").status_code == 400


@pytest.mark.parametrize("clock", ["real", "x500"])
def test_a_clock_that_runs_needs_nobody(make: Callable[..., Any], clock: str) -> None:
    """The courier's own thread ends the task and delivers; `wait` answers as soon as it has."""
    rig = make(clock=clock)
    rig.fake.courier.start()
    rig.receiver.script.extend([500] if clock != "real" else [])
    task_id = rig.task(
        "completed queued=0.01 runs=0.02" if clock == "real" else "completed queued=2 runs=8", callback_url=HOOK
    )
    answer = rig.control("GET", f"/wait?task_id={task_id}&until=delivered&timeout=10")

    assert answer == {"met": True, "task_id": task_id, "until": "delivered", "state": "delivered"}
    assert len(rig.receiver.calls) == (1 if clock == "real" else 2)
    assert rig.shown(task_id)["status"] == "completed"


def test_the_couriers_thread_needs_no_call(make: Callable[..., Any]) -> None:
    """Nothing but the passing of time makes it deliver; once it was stopped its thread is gone."""
    rig = make(clock="real")
    came, before = threading.Event(), set(threading.enumerate())
    rig.receiver.meanwhile = lambda _: came.set()
    rig.fake.courier.start()
    (follower,) = (one for one in set(threading.enumerate()) - before if one.name == "courier")
    rig.task("completed queued=0.01 runs=0.02", callback_url=HOOK)
    assert came.wait(60)

    rig.fake.courier.stop()

    assert not follower.is_alive()


def test_a_resend_that_arrives_ends_the_retries(rig: Any) -> None:
    """A retry that was due after it is not sent: after a 2xx nothing more comes (SC-06)."""
    rig.receiver.script += [500, 204]
    task_id = rig.create(callback_url=HOOK, headers={"X-Mock-Scenario": "instant"}).json["id"]
    (owed,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]
    assert owed["state"] == "waiting"

    assert rig.control("POST", f"/deliveries/{owed['id']}/resend")["state"] == "delivered"
    rig.advance(60)

    (owed,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]
    assert [attempt["outcome"] for attempt in owed["attempts"]] == ["status", "2xx"]
