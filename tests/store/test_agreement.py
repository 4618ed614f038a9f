"""Memory, SQLite and PostgreSQL give the same responses to the same calls, whatever the calls are."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from kling_mock import app as app_module

HOOK = "https://8.8.8.8/hook"
KEYS = st.sampled_from(["sk-a", "sk-b"])
SCENARIOS = st.sampled_from(
    [
        "",
        "completed queued=1 runs=5",
        "failed queued=2 runs=3",
        "instant",
        "poll-paced pending=0 processing=1",
        "callback-twice",
        "stuck",
    ]
)


class Agreement(RuleBasedStateMachine):
    """Every call goes to every fake."""

    fakes: ClassVar[list[Any]]
    ids: list[str]

    @initialize()
    def begin(self) -> None:
        """From nothing."""
        self.ids = []
        self.both("POST", "/__mock/reset", key=None)

    def both(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Return what all fakes say."""
        seen = [fake.call(method, path, body, **more) for fake in self.fakes]
        assert all(one == seen[0] for one in seen), (method, path, seen)
        return seen[0]

    @rule(key=KEYS, scenario=SCENARIOS, seconds=st.integers(3, 6), again=st.sampled_from(["", "an-idempotency-key"]))
    def create(self, key: str, scenario: str, seconds: int, again: str) -> None:
        """A create, with a callback."""
        body = {"duration": seconds, "callback_url": HOOK}
        seen = [fake.create(scenario, key=key, again=again, **body) for fake in self.fakes]
        assert all(one == seen[0] for one in seen), seen
        if seen[0][0] == 200:
            self.ids.append(seen[0][1]["id"])

    @rule(key=KEYS, nth=st.integers(0, 9))
    def read(self, key: str, nth: int) -> None:
        """A query, of one's own task or another's."""
        if self.ids:
            self.both("GET", f"/v1/tasks/{self.ids[nth % len(self.ids)]}", key=key)

    @rule(nth=st.integers(0, 9))
    def cancel(self, nth: int) -> None:
        """A cancel."""
        if self.ids:
            self.both("POST", f"/__mock/tasks/{self.ids[nth % len(self.ids)]}/cancel", key=None)

    @rule(key=st.none() | KEYS, seconds=st.integers(0, 20), status=st.sampled_from([204, 500]))
    def advance(self, key: str | None, seconds: int, status: int) -> None:
        """Time passes, and the receiver takes callbacks or does not."""
        for fake in self.fakes:
            fake.receiver.script = [status] * 50
        self.both("POST", "/__mock/clock/advance", {"seconds": seconds}, key=key)
        for fake in self.fakes:
            fake.receiver.script = []

    @rule(key=KEYS, credits=st.integers(0, 200))
    def account(self, key: str, credits: int) -> None:
        """A balance."""
        self.both("PUT", "/__mock/account", {"credits": credits}, key=key)

    @rule(key=st.none() | KEYS, times=st.integers(1, 2))
    def queue(self, key: str | None, times: int) -> None:
        """A scenario for the next creates."""
        self.both("POST", "/__mock/scenarios/next", {"name": "rate-limited", "times": times}, key=key)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        """A reset of one account."""
        self.both("POST", "/__mock/reset", key=key)

    @rule(first=st.integers(0, 20), count=st.integers(1, 8))
    def strangers(self, first: int, count: int) -> None:
        """Keys that do nothing but ask, more than are kept: that the stores forget them, and whom, shows in no response."""
        for number in range(first, first + count):
            self.both("GET", "/v1/credits", key=f"sk-stranger-{number}")

    @rule(
        path=st.sampled_from(["/v1/credits", "/v1/tasks", "/__mock/tasks", "/__mock/deliveries", "/__mock/clock"]),
        key=KEYS,
    )
    def look(self, path: str, key: str) -> None:
        """What is there."""
        self.both("GET", path, key=key)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.e2e)])
def test_stores_agree(
    kind: str, new_url: Callable[[str], str], process_class: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and another store, side by side."""
    monkeypatch.setattr(app_module, "MOST_UNTOUCHED", 4)
    fakes = [process_class(url) for url in ("memory", new_url(kind))]
    case = type("Agreement", (Agreement,), {"fakes": fakes})
    run_state_machine_as_test(case, settings=settings(max_examples=5, stateful_step_count=10, deadline=None))
    for fake in fakes:
        fake.close()
