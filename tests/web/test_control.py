"""What the calls of the control protocol do, on one account and on all."""

from collections.abc import Callable
from typing import Any

import pytest

import kling_openapi

HOOK = "https://8.8.8.8/hook"
A, B = "sk-a", "sk-b"


class TestServer:
    """Whether it is there, what it is, a fresh start."""

    def test_health_ready_and_info(self, make: Callable[..., Any]) -> None:
        """The versions and features that clients look for."""
        rig = make(seed=7)

        assert rig.control("GET", "/health") == rig.control("GET", "/ready") == {"status": "ok"}
        info = rig.control("GET", "/info")
        assert (info["name"], info["seed"], info["contract"]) == (
            "kling-mock",
            7,
            kling_openapi.service()["info"]["version"],
        )
        assert set(info["features"]) >= {"clock", "scenarios", "relays", "cancel", "credits", "journal", "wait"}

    def test_a_reset_forgets_one_account(self, rig: Any) -> None:
        """Tasks, deliveries, journal, queue, balance, permissions, clock; the other keeps its own."""
        for key in (A, B):
            rig.control("PUT", "/account", {"credits": 500, "rate_limit": 50}, key=key)
            rig.control("POST", "/scenarios/next", {"name": "failed"}, key=key)
            rig.create(key=key, callback_url=HOOK)
            rig.control("POST", "/scenarios/next", {"name": "failed"}, key=key)
            rig.advance(86_400, key=key)
        began = rig.now()
        rig.control("POST", "/reset", key=A)

        for path, name in (("/tasks", "tasks"), ("/deliveries", "deliveries"), ("/journal", "entries")):
            assert rig.control("GET", path, key=A)[name] == []
            assert rig.control("GET", path, key=B)[name]
        assert rig.account(A).credits == rig.fake.world.service_settings.starting_credits
        assert (rig.account(A).rate_limit, rig.account(B).rate_limit) == (None, 50)
        assert rig.now(A) < began + 3600 < rig.now(B)
        assert rig.account(A).tasks.keys() == set()
        task_id = rig.create(key=A).json["id"]
        assert rig.account(A).tasks[task_id].scenario == "completed"

    def test_a_reset_without_a_key_forgets_all(self, rig: Any) -> None:
        """Defaults for accounts to come and the server's queue included."""
        rig.control("PUT", "/account", {"credits": 5})
        rig.control("POST", "/scenarios/next", {"name": "failed"})
        for key in (A, B):
            rig.account(key)
        rig.advance(1000)
        rig.control("POST", "/reset")

        for key in (A, B, "sk-later"):
            assert rig.create(key=key).status_code == 200
            assert next(iter(rig.account(key).tasks.values())).scenario == "completed"
        assert {rig.now(key) for key in (A, B, "sk-later")} == {rig.now()}

    def test_a_reset_drops_what_an_advance_added(self, make: Callable[..., Any]) -> None:
        """The clock is as the server was started."""
        rig = make(clock="real")
        rig.control("PUT", "/clock", {"mode": "manual"}, key=A)
        rig.advance(86_400, key=A)
        rig.control("POST", "/reset", key=A)

        reading = rig.control("GET", "/clock", key=A)
        assert reading["mode"] == "real"
        assert abs(reading["now"] - rig.now()) < 60


class TestClock:
    """One account's time, or everybody's."""

    def test_modes_are_set_and_shown(self, rig: Any) -> None:
        """And time goes on from where it is."""
        before = rig.now()
        scaled = rig.control("PUT", "/clock", {"mode": "scaled", "rate": 60})
        manual = rig.control("PUT", "/clock", {"mode": "manual"})
        real = rig.control("PUT", "/clock", {"mode": "real"})

        assert [(one["mode"], one["rate"]) for one in (scaled, manual, real)] == [
            ("scaled", 60),
            ("manual", 0),
            ("real", 1),
        ]
        assert before <= scaled["now"] <= manual["now"] <= real["now"] < before + 600

    def test_a_keys_clock_is_its_own(self, rig: Any) -> None:
        """Once it is set or moved; the others and the server's stand."""
        task_a, task_b = rig.create(key=A).json["id"], rig.create(key=B).json["id"]
        began = rig.now()
        rig.advance(86_400, key=A)

        assert (rig.now(A), rig.now(B), rig.now()) == (began + 86_400, began, began)
        assert rig.query(task_a, key=A).json["status"] == "completed"
        assert rig.query(task_b, key=B).json["status"] == "pending"

    def test_without_a_key_all_clocks_move(self, rig: Any) -> None:
        """The server's, those cut loose from it, and those of accounts not seen yet."""
        rig.advance(100, key=A)
        began, ahead = rig.now(), rig.now(A)
        rig.advance(50)

        assert (rig.now(A), rig.now(B), rig.now()) == (ahead + 50, began + 50, began + 50)
        rig.control("PUT", "/clock", {"mode": "real"})
        assert {rig.control("GET", "/clock", key=key)["mode"] for key in (A, B, "sk-later")} == {"real"}

    def test_only_manual_clocks_are_advanced(self, rig: Any) -> None:
        """409; one that runs among them is enough, and then none moves."""
        rig.control("PUT", "/clock", {"mode": "real"}, key=A)
        began = rig.now()

        assert rig.control("POST", "/clock/advance", {"seconds": 5}, key=A, status=409)["error"]["code"] == "not_manual"
        assert rig.control("POST", "/clock/advance", {"seconds": 5}, status=409)["error"]["code"] == "not_manual"
        assert rig.now() == began

    def test_no_time_at_all_settles_what_is_due_now(self, rig: Any) -> None:
        """An advance of nothing is one."""
        rig.task("instant", callback_url=HOOK)

        assert [one["kind"] for one in rig.advance(0)] == ["status", "attempt"]
        assert rig.advance(0) == []

    def test_ten_years_are_within_reach(self, rig: Any) -> None:
        """Past every retention; everything happened and was forgotten."""
        rig.task("completed", callback_url=HOOK)
        fired = rig.advance(315_360_000)

        assert [one["kind"] for one in fired] == ["status", "status", "attempt", "retention"]
        assert rig.control("GET", "/tasks") == {"tasks": []}


class TestSetUp:
    """What the next calls will meet."""

    def test_scenarios_are_listed_with_their_params(self, rig: Any) -> None:
        """Each name once, one line each, and each can be queued as it is."""
        listed = rig.control("GET", "/scenarios")["scenarios"]

        assert len({one["name"] for one in listed}) == len(listed) >= 6
        for one in listed:
            assert "\n" not in one["summary"]
            queued = rig.control("POST", "/scenarios/next", {"name": one["name"]}, key=A)
            assert queued == {"name": one["name"], "params": one["params"], "times": 1}

    def test_queued_params_are_shown_as_they_will_be_used(self, rig: Any) -> None:
        """Defaults filled in."""
        queued = rig.control("POST", "/scenarios/next", {"name": "failed", "params": {"at": 7}, "times": 3}, key=A)

        assert queued["params"]["at"] == 7
        assert queued["params"]["code"] == "content_policy_violation"

    def test_what_is_set_without_a_key_holds_for_accounts_to_come(self, rig: Any) -> None:
        """And for those that are there; one of its own is not overrun by what is not named."""
        rig.account(A)
        rig.control("PUT", "/account", {"credits": 77, "models": ["other"]})
        rig.control("PUT", "/account", {"credits": 5}, key=B)

        assert [rig.account(key).credits for key in (A, B, "sk-later")] == [77, 5, 77]
        assert rig.create(key="sk-later").status_code == 403

    def test_what_an_account_has(self, rig: Any) -> None:
        """With a key one's own, under the name that the journal gives it; without one all, and never the key."""
        rig.control("PUT", "/account", {"credits": 500, "models": ["b", "a"], "rate_limit": 7}, key=A)
        rig.create(key=B)
        rig.advance(200)

        (own,) = rig.control("GET", "/accounts", key=A)["accounts"]
        every = rig.control("GET", "/accounts")["accounts"]
        assert {**own, "account": ""} == {
            "account": "", "credits": 500, "used": 0, "models": ["a", "b"], "rate_limit": 7,
        }  # fmt: skip
        assert every[0] == own
        assert (every[1]["used"] > 0, every[1]["models"], every[1]["rate_limit"]) == (True, None, None)
        called = {one["account"] for one in rig.control("GET", "/journal", key=B)["entries"]}
        assert called == {every[1]["account"]}


class TestFacts:
    """Tasks and deliveries, as they are."""

    def test_accounts_see_their_own(self, rig: Any) -> None:
        """With a key one's own; without one all, oldest first."""
        ids = {key: [rig.create(key=key, callback_url=HOOK).json["id"] for _ in range(2)] for key in (A, B)}
        rig.advance(200)

        for key in (A, B):
            assert [one["id"] for one in rig.control("GET", "/tasks", key=key)["tasks"]] == ids[key]
            owed = rig.control("GET", "/deliveries", key=key)["deliveries"]
            assert sorted(one["task_id"] for one in owed) == sorted(ids[key])
        assert len(rig.control("GET", "/tasks")["tasks"]) == len(rig.control("GET", "/deliveries")["deliveries"]) == 4

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/tasks/{}"),
            ("POST", "/tasks/{}/cancel"),
            ("GET", "/deliveries?task_id={}"),
            ("GET", "/wait?task_id={}"),
        ],
    )
    def test_anothers_task_is_unknown(self, rig: Any, method: str, path: str) -> None:
        """404 with another key; found without one, and with its own."""
        task_id = rig.create(key=A).json["id"]
        rig.control("POST", f"/tasks/{task_id}/cancel", key=B, status=404)

        assert rig.control(method, path.format(task_id), key=B, status=404)["error"]["code"] == "unknown_task"
        assert rig.query(task_id, key=A).json["status"] == "pending"
        rig.control("POST", f"/tasks/{task_id}/cancel")
        rig.control(method, path.format(task_id), key=A)
        rig.control(method, path.format(task_id))

    def test_a_task_is_shown_with_plan_links_and_deliveries(self, rig: Any) -> None:
        """The plan from the start; link and delivery when it has ended."""
        task_id = rig.task("completed queued=2 runs=10", callback_url=HOOK)
        before = rig.control("GET", f"/tasks/{task_id}")
        rig.advance(12)
        after = rig.control("GET", f"/tasks/{task_id}")

        assert (before["status"], before["links"], before["deliveries"]) == ("pending", [], [])
        assert (before["plan"]["queued"], before["plan"]["runs"]) == (2, 10)
        assert before["plan"] == after["plan"]
        assert (after["status"], after["progress"]) == ("completed", 100)
        assert after["links"][0]["url"] == rig.shown(task_id)["results"][0]
        assert [one["state"] for one in after["deliveries"]] == ["delivered"]

    @pytest.mark.parametrize("story", ["stuck", "poll-paced", "cancelled", "failed", "instant"])
    def test_every_plan_can_be_shown(self, rig: Any, story: str) -> None:
        """Endless ones and those that go by reads too."""
        plan = rig.control("GET", f"/tasks/{rig.task(story)}")["plan"]

        assert plan["by"] == ("polls" if story == "poll-paced" else "time")
        if story == "stuck":
            assert plan["runs"] is None

    def test_looking_is_not_reading(self, rig: Any) -> None:
        """A poll-paced task does not notice the control protocol."""
        task_id = rig.task("poll-paced pending=1 processing=1")
        for _ in range(5):
            rig.control("GET", f"/tasks/{task_id}")

        assert rig.shown(task_id)["status"] == "pending"

    def test_cancelling_ends_a_task_and_leaves_one_that_has_ended(self, rig: Any) -> None:
        """The answer shows it as it is; progress stays where it was."""
        running, ended = rig.task("completed queued=0 runs=100"), rig.task("instant")
        rig.advance(50)
        progress = rig.shown(running)["progress"]
        cancelled = rig.control("POST", f"/tasks/{running}/cancel")

        assert (cancelled["status"], cancelled["progress"]) == ("failed", progress)
        assert rig.shown(running)["error"]["code"] == "request_cancelled"
        assert rig.control("POST", f"/tasks/{ended}/cancel")["status"] == "completed"

    def test_resending_asks_for_a_delivery_of_ones_own(self, rig: Any) -> None:
        """404 for another's."""
        task_id = rig.create(key=A, callback_url=HOOK, headers={"X-Mock-Scenario": "instant"}).json["id"]
        rig.advance(0)
        (owed,) = rig.control("GET", f"/deliveries?task_id={task_id}")["deliveries"]

        rig.control("POST", f"/deliveries/{owed['id']}/resend", key=B, status=404)
        assert len(rig.control("POST", f"/deliveries/{owed['id']}/resend", key=A)["attempts"]) == 2


class TestWait:
    """Answers as soon as something is so."""

    def wait(self, rig: Any, task_id: str, until: str, timeout: float = 0, status: int = 200) -> Any:
        """The answer to one wait."""
        return rig.control("GET", f"/wait?task_id={task_id}&until={until}&timeout={timeout}", status=status)

    def test_what_is_so_already_is_answered_at_once(self, rig: Any) -> None:
        """Ended, delivered, attempted."""
        rig.receiver.script.extend([500])
        task_id = rig.task("completed queued=1 runs=1", callback_url=HOOK)
        rig.advance(100)

        assert self.wait(rig, task_id, "terminal") == {
            "met": True,
            "task_id": task_id,
            "until": "terminal",
            "state": "completed",
        }
        assert self.wait(rig, task_id, "delivered")["state"] == "delivered"
        assert self.wait(rig, task_id, "attempts:2")["met"] is True

    def test_what_can_never_be_is_answered_at_once(self, rig: Any) -> None:
        """No callback owed, given up, more attempts than there can be."""
        rig.receiver.script.extend([500] * 4)
        told, untold = rig.task("instant", callback_url=HOOK), rig.task("instant")
        rig.advance(100)

        assert self.wait(rig, untold, "delivered", 10)["met"] is False
        assert self.wait(rig, told, "delivered", 10) == {
            "met": False,
            "task_id": told,
            "until": "delivered",
            "state": "gave_up",
        }
        assert self.wait(rig, told, "attempts:4", 10)["met"] is True
        assert self.wait(rig, told, "attempts:5", 10)["met"] is False

    def test_what_is_not_yet_so_is_a_408(self, rig: Any) -> None:
        """When the timeout passes, on a clock that stands."""
        task_id = rig.task("stuck", callback_url=HOOK)

        for until in ("terminal", "delivered", "attempts:1"):
            assert task_id in self.wait(rig, task_id, until, 0.01, status=408)["error"]["message"]

    def test_waiting_moves_nothing(self, rig: Any) -> None:
        """Least of all the clock."""
        before = rig.now()
        self.wait(rig, rig.task("stuck"), "terminal", 0, status=408)
        assert rig.now() == before
