"""How long the kit waits: for callbacks that must come, for those that must not, and for a task of a service that bills."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn
from standin_callbacks import Courier
from test_drivers import CONTRACT, context_at

from kling_contract.driving.drivers import callbacks, real
from kling_contract.driving.drivers.run_context import ARRIVES, RunContext
from kling_contract.driving.drivers.running import Wanted, for_servers, plan_of, write_authority
from kling_contract.driving.receiver import HOST, Route
from kling_contract.driving.target import Asked
from kling_contract.history.labels import Topic
from kling_contract.judging import judge_history
from kling_contract.rules.verdicts import Choice, Result
from kling_mock.serving.process import Running

POLL = 0.01


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the courier of a stand-in was given to deliver."""
    found: list[Any] = []
    deliver = Courier.deliver
    monkeypatch.setattr(Courier, "deliver", lambda *given: (found.append(given), deliver(*given)))
    return found


@pytest.fixture
def service(tmp_path: Path, sent: list[Any]) -> Iterator[StandIn]:
    """A service that bills and calls back; where its callbacks lead is known once the kit listens."""
    with StandIn(
        queue=0.05, run=0.05, credits=10_000, resolve={}, ca_file=tmp_path / "ca.pem", allow_internal_callbacks=True
    ) as running:
        yield running


def paid(context: RunContext, service: StandIn, wait: Any) -> dict[str, str]:
    """Play a paid run with callbacks; return what is wrong, by rule."""
    assert context.options.callback_ca
    write_authority(context.receiver, context.options.callback_ca)
    where: Any = service.options.resolve
    where[HOST] = ("127.0.0.1", int(context.receiver.origin.rpartition(":")[2]))
    plan = plan_of(Wanted(Asked(url=service.url, key="sk-a", mode="paid"), context.options), "paid")
    real.run(context, plan, print, wait)
    run = judge_history(context.recorder.events, for_servers(Choice()), lambda _: "")
    assert {found.rule.id: found.result for found in run.verdicts}["SC-01"] is Result.PASS
    return {found.rule.id: found.seen for found in run.having(Result.FAIL, Result.WARN, Result.KIT_ERROR)}


@pytest.mark.parametrize("again", [False, True])
def test_a_paid_run_waits_for_a_callback_that_must_not_come(
    service: StandIn, sent: list[Any], tmp_path: Path, again: bool
) -> None:
    """Twice the first pause between attempts, once the first one was taken; what comes meanwhile is judged."""
    courier, waited = service.running.api.courier, []

    def wait(seconds: float) -> None:
        if seconds == POLL:
            threading.Event().wait(seconds)
            return
        waited.append(seconds)
        if again:
            Courier.deliver(*sent[0])
            while len(courier.rows) < 2:
                threading.Event().wait(POLL)

    options = {"callback_base": f"https://{HOST}", "callback_ca": tmp_path / "ca.pem", "poll": POLL}
    with context_at(service.url, **options) as context:
        wrong = paid(context, service, wait)

    assert list(wrong) == (["SC-06"] if again else [])
    assert waited == [2 * CONTRACT.retry_delays[0]]


@pytest.mark.parametrize(("poll", "waits"), [(600.0, 4), (600.25, 3)])
def test_a_task_that_does_not_end_is_waited_for_half_an_hour(
    poll: float, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once more when that is over, and then the run goes on to what comes after it."""
    waited: list[float] = []
    options = {"poll": poll, "patience": real.PATIENCE}
    with StandIn(queue=0.0, run=1e9, credits=10_000) as service, context_at(service.url, **options) as context:
        monkeypatch.setattr(context.recorder, "mono", lambda: sum(waited))
        plan = plan_of(Wanted(Asked(url=service.url, key="sk-a", mode="paid"), context.options), "paid")
        real.run(context, plan, print, waited.append)

    assert waited == [poll] * waits


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    """The fake in a process of its own; its URL."""
    with Running() as running:
        yield running.url


def test_a_slow_receiver_is_given_its_attempts_and_five_seconds(fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt where it responds in time, two where it does not, each as long as the timeout on a clock that runs faster."""
    given: list[tuple[int, float]] = []
    monkeypatch.setattr(Route, "wait", lambda _, attempts, seconds: given.append((attempts, seconds)))
    monkeypatch.setattr(callbacks, "wait", lambda _: None)
    with context_at(fake) as context:
        context.noise = type(context.noise)(1000.0)
        callbacks.slow(context, context.session("callback-slow"))
        assert any(event.kind == "note" and event.topic is Topic.SETTLED for event in context.recorder.events)

    assert set(given) == {
        (attempts, ARRIVES + attempts * CONTRACT.timeout / rate) for attempts in (1, 2) for rate in (5.0, 1.5)
    }


def test_a_receiver_that_says_no_is_given_every_attempt_in_real_time(
    fake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one and each retry, and twice their pauses; one that says yes is given those up to its yes."""
    given: list[tuple[int, float]] = []
    naps: list[float] = []
    monkeypatch.setattr(Route, "wait", lambda _, attempts, seconds: given.append((attempts, seconds)))
    monkeypatch.setattr(callbacks, "wait", naps.append)
    with context_at(fake) as context:
        callbacks.live(context, context.session("callback-live"))

    every, longest = 1 + len(CONTRACT.retry_delays), 2 * sum(CONTRACT.retry_delays) + ARRIVES
    assert given == [(attempts, longest) for attempts in (1, 1, 2, every, every, every, every)]
    assert naps == [2 * CONTRACT.retry_delays[0]]
