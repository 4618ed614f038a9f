"""The kit against a service that bills: the stand-in, whose ledger says what was really accepted and charged."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from standin import StandIn

from kling_contract.cli.commands.server import command
from kling_contract.driving.target import choose_mode
from kling_contract.rules.verdicts import SetupError

SERVICE = "https://api.evolink.ai"


@pytest.fixture
def service() -> Iterator[StandIn]:
    """A service that bills, with an account of a hundred dollars."""
    with StandIn(queue=0.05, run=0.1, credits=10_000) as running:
        yield running


def run(service: StandIn, *args: str) -> Result:
    """`kling-contract server` against it."""
    given = [service.url, "--api-key", "sk-a", "--seed", "1", *args]
    return CliRunner().invoke(command, given, standalone_mode=False)


def rows(service: StandIn, event: str) -> list[dict[str, Any]]:
    """Rows of the ledger."""
    return [row for row in service.ledger_rows() if row["event"] == event]


@pytest.mark.parametrize(
    ("base", "asked", "control", "mode"),
    [
        ("http://127.0.0.1:4010", None, False, "fake"),
        ("http://localhost:4010", None, False, "fake"),
        ("http://[::1]:4010", None, False, "fake"),
        ("https://fake.example.com", None, True, "fake"),
        ("https://fake.example.com", None, False, "readonly"),
        ("http://192.168.1.7", None, False, "readonly"),
        ("http://localhost.example.com", None, False, "readonly"),
        (SERVICE, None, False, "readonly"),
        (SERVICE, None, True, "readonly"),
        ("http://127.0.0.1:4010", "paid", True, "paid"),
    ],
)
def test_what_is_taken_for_the_real_service(base: str, asked: str | None, control: bool, mode: str) -> None:
    """Whatever is not on this machine and offers no control protocol; the service itself whatever it offers."""
    assert choose_mode(base, asked, control=control, services=[SERVICE]) == mode


@pytest.mark.parametrize("base", ["https://fake.example.com", SERVICE])
def test_fake_mode_is_refused_where_money_may_flow(base: str) -> None:
    """Nobody can talk the kit into fuzzing a service."""
    with pytest.raises(SetupError, match="may bill"):
        choose_mode(base, "fake", control=base == SERVICE, services=[SERVICE])


def test_readonly_makes_nothing_and_costs_nothing(service: StandIn, tmp_path) -> None:
    """Near misses are all refused, the balance stays, and every rule that could be seen holds."""
    result = run(service, "--mode", "readonly", "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert not rows(service, "accepted")
    assert len(rows(service, "refused")) > 50
    assert service.balance("sk-a") == 10_000
    report = json.loads((tmp_path / "report.json").read_text())
    verdicts = {rule["id"]: rule["verdict"] for rule in report["rules"]}
    assert report["mode"] == "readonly"
    assert {"fail", "warn"}.isdisjoint(verdicts.values())
    assert [verdicts[name] for name in ("SV-09", "SV-27", "SA-01", "SB-05", "SL-16", "SW-11")] == ["pass"] * 6


def test_readonly_pokes_at_no_private_network(service: StandIn) -> None:
    """Internal callback addresses and a duration without bounds are for fakes."""
    run(service, "--mode", "readonly")
    params = [row.get("param") for row in rows(service, "refused")]
    assert params.count("callback_url") <= 12


def test_readonly_stops_at_the_first_accepted_negative(service: StandIn, tmp_path, monkeypatch) -> None:
    """One task was made, so nothing more is sent; the finding is that task."""
    import standin_checks

    monkeypatch.setattr(standin_checks, "DURATION_MAX", 20)
    result = run(service, "--mode", "readonly", "--report", str(tmp_path))

    assert result.return_value == 1, result.output
    assert len(rows(service, "accepted")) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert [rule["id"] for rule in report["rules"] if rule["verdict"] == "fail"] == ["SV-09"]
    assert service.ledger_rows()[-1]["event"] in ("accepted", "settled")


def test_readonly_with_a_cap_leaves_out_what_may_cost_more(service: StandIn) -> None:
    """A negative whose worst charge is above the cap is never sent."""
    result = run(service, "--mode", "readonly", "--max-usd", "0.35")
    assert result.return_value == 0, result.output
    assert [row.get("param") for row in rows(service, "refused")].count("duration") <= 4  # the ones below the least


def test_paid_makes_exactly_one_task_within_the_cap(service: StandIn, tmp_path) -> None:
    """The shortest task in the default quality; forty rules and more are seen on it."""
    result = run(service, "--mode", "paid", "--max-usd", "0.5", "--poll", "0.05", "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    (row,) = rows(service, "accepted")
    assert (row["duration"], row["quality"]) == (3, "720p")
    assert row["usd_reserved"] <= 0.5
    assert [r["event"] for r in service.ledger_rows()] == ["accepted", "settled"]
    report = json.loads((tmp_path / "report.json").read_text())
    passed = {rule["id"] for rule in report["rules"] if rule["verdict"] == "pass"}
    assert {"SW-02", "SL-01", "SL-03", "SL-17", "SK-02", "SK-09", "SK-10", "SB-02", "SB-03", "SV-05"} <= passed
    assert len(passed) >= 40


@pytest.mark.parametrize("cap", ["0", "0.29"])
def test_paid_below_its_price_sends_no_create(service: StandIn, cap: str) -> None:
    """Stopped by the cap: exit code 3, and the ledger is empty."""
    result = run(service, "--mode", "paid", "--max-usd", cap)
    assert result.return_value == 3, result.output
    assert service.ledger_rows() == []


def test_the_user_knows_the_price_better(service: StandIn) -> None:
    """A price a second takes the place of the assumed one."""
    result = run(service, "--mode", "paid", "--max-usd", "5", "--usd-per-second", "2")
    assert result.return_value == 3, result.output
    assert service.ledger_rows() == []


def test_paid_needs_a_cap(service: StandIn) -> None:
    """Without it nothing is sent."""
    result = run(service, "--mode", "paid")
    assert isinstance(result.exception, SetupError)
    assert "--max-usd" in str(result.exception)


@pytest.mark.parametrize("mode", ["readonly", "paid", "fake"])
def test_a_plan_sends_nothing(service: StandIn, mode: str, monkeypatch) -> None:
    """Not one request, whatever the mode; every call stands there with two charges."""
    from kling_contract.driving.sender import Sender

    sent: list[object] = []
    monkeypatch.setattr(Sender, "send", lambda *args, **_: sent.append(args))
    result = run(service, "--mode", mode, "--max-usd", "1", "--plan")

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert sent == []
    assert "expected: $" in result.output
    assert "at worst $" in result.output
    assert "POST /v1/videos/generations" in result.output


def test_a_plan_needs_no_service_at_all() -> None:
    """The real service's plan is printed without a look at it; it is read only unless asked otherwise."""
    result = CliRunner().invoke(command, [SERVICE, "--api-key", "sk-a", "--plan"], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, 0), result.output
    assert "mode readonly" in result.output


def test_a_lost_reply_ends_the_run_as_unknown(service: StandIn, monkeypatch) -> None:
    """The create may have been taken: it is not sent again, and the run says so."""
    from dataclasses import replace

    from kling_contract.driving.sender import Sender

    send = Sender.send

    def losing(self: Sender, method: str, *args: Any) -> Any:
        reply = send(self, method, *args)
        return replace(reply, status=None, lost="cut") if method == "POST" else reply

    monkeypatch.setattr(Sender, "send", losing)
    result = run(service, "--mode", "paid", "--max-usd", "1")
    assert result.return_value == 3, result.output
    assert len(rows(service, "accepted")) == 1
    assert "may have cost $0.30" in result.output
