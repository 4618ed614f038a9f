"""The modes of a run against a service that bills, each against stand-ins whose own books say what was charged."""

import re
from pathlib import Path

import click
import pytest
from runs import run
from standins.service import Behaviour, Service

from kling_contract.rules.verdicts import SetupError


def test_readonly_is_free_whatever_the_service_accepts() -> None:
    """Its key goes on reads alone, so a service that accepts every body that carries it has nothing to accept."""
    with Service(Behaviour(accepts="everything")) as service:
        ran = run(service, "readonly")

    assert service.ledger.rows == []
    assert service.ledger.creates == []
    assert any(row["method"] == "POST" for row in service.ledger.seen)
    assert {"SA-01", "SA-02", "SA-03", "SL-16", "SW-11"} <= ran.ids("pass")


def test_readonly_says_what_the_other_rules_need() -> None:
    """A rule that is not run names the mode that would run it."""
    with Service() as service:
        ran = run(service, "readonly")

    reasons = {verdict.rule.id: verdict.reason for verdict in ran.judged.verdicts if verdict.result == "not-run"}
    assert "--mode refusals" in reasons["SV-09"]
    assert "--mode paid" in reasons["SL-01"]
    assert "fake" in reasons["SC-11"]


def test_refusals_of_an_honest_service_cost_nothing() -> None:
    """Everything is refused, the balance stays, and the rules that could be seen hold."""
    with Service() as service:
        ran = run(service, "refusals", 5.0)

    assert service.ledger.rows == []
    assert ran.stopped == ""
    assert ran.ids("fail", "warn") == set()
    assert {"SV-01", "SV-08", "SV-09", "SV-13", "SV-16", "SV-17", "SV-28", "SV-29", "SB-05"} <= ran.ids("pass")


def test_what_is_only_assumed_to_be_refused_is_not_sent() -> None:
    """A field of a sibling model is sent only where the user asks for assumptions."""
    with Service() as service:
        run(service, "refusals", 5.0)
        sure = service.ledger.creates
        run(service, "refusals", 5.0, assumptions=True)
        every = service.ledger.creates[len(sure) :]

    assert not any(b"audio_urls" in row["body"] or b"NaN" in row["body"] for row in sure)
    assert any(b"audio_urls" in row["body"] for row in every)
    assert len(every) > len(sure)


def test_an_accepted_refusal_is_named_with_its_price_and_its_rule_and_the_run_goes_on() -> None:
    """While the cap allows it every other refusal is still asked for."""
    with Service(Behaviour(accepts="aspect_ratio")) as service:
        ran = run(service, "refusals", 9.0)

    assert len(service.ledger.rows) >= 2
    assert "aspect_ratio: '16:9'" in ran.text
    assert "breaks SV-16 (MUST, grade D)" in ran.text
    assert "it may have cost $" in ran.text
    assert ran.ids("fail") == {"SV-16"}
    assert {"SV-09", "SV-17"} <= ran.ids("pass")


def test_beyond_the_cap_what_is_free_is_finished_and_what_was_not_sent_is_named() -> None:
    """The terminal says which request was not sent and why; rules without any try say so too."""
    with Service(Behaviour(accepts="everything")) as service:
        ran = run(service, "refusals", 0.7)

    assert service.ledger.usd <= 0.7
    assert len(service.ledger.rows) == 1
    assert "was not sent" in ran.stopped
    assert {"SA-01", "SL-16"} <= ran.ids("pass")
    assert any("not sent" in verdict.reason for verdict in ran.judged.verdicts)


def test_paid_makes_one_task_that_serves_forty_rules() -> None:
    """One create in the service's books, within the cap, and forty verdicts or more."""
    with Service(Behaviour(work=0.7)) as service:
        ran = run(service, "paid", 1.0)

    assert [row["credits"] for row in service.ledger.rows] == [21.6]
    assert ran.ids("fail", "warn") == set()
    assert len(ran.ids("pass")) >= 40, sorted(ran.ids("pass"))
    page = (Path(__file__).parents[2] / "docs" / "real-service.md").read_text()
    listed = page.partition("yields verdicts for these ")[2].partition("With a callback receiver")[0]
    assert set(re.findall(r"S[A-Z]-[0-9]{2}", listed)) == ran.ids("pass")
    assert listed.startswith(f"{len(ran.ids('pass'))} rules")


@pytest.mark.parametrize("cap", [0.0, 0.32, 0.63])
def test_paid_below_its_worst_price_sends_no_create(cap: float) -> None:
    """The price is no promise, so twice of it must fit."""
    with Service() as service:
        ran = run(service, "paid", cap)

    assert service.ledger.creates == []
    assert "raise --max-usd" in ran.stopped
    assert "may cost $0.64 (expected $0.32)" in ran.stopped


def test_a_service_that_charges_double_stays_within_the_cap() -> None:
    """The worst case covers it, and the bill shows it."""
    with Service(Behaviour(charges=2)) as service:
        ran = run(service, "paid", 0.64)

    assert service.ledger.usd == pytest.approx(43.2 / 68)
    assert "the balance fell by 43.2 credits ($0.64)" in ran.text


def test_a_lost_reply_ends_the_run_as_unknown() -> None:
    """The create is never sent again, and the user is told where to look."""
    with Service(Behaviour(loses=1.0)) as service:
        ran = run(service, "paid", 5.0)

    assert len(service.ledger.creates) == 1
    assert "outcome of a create is unknown" in ran.stopped
    assert "the cheapest task" in ran.stopped
    assert "list of tasks" in ran.stopped


def test_a_reply_that_comes_too_late_is_a_lost_one() -> None:
    """Sent once, counted as charged."""
    with Service(Behaviour(late=1.0)) as service:
        ran = run(service, "paid", 5.0, timeout=0.2)

    assert len(service.ledger.creates) == 1
    assert "unknown" in ran.stopped


def test_a_balance_that_moves_by_itself_stops_what_may_cost() -> None:
    """Somebody else uses the account: the next create is not sent."""
    with Service(Behaviour(drifts=1.0)) as service:
        ran = run(service, "paid", 5.0)

    assert service.ledger.creates == []
    assert "no accepted create explains it" in ran.stopped


def test_a_refusal_that_costs_is_noticed_at_once() -> None:
    """After one of them nothing more is sent."""
    with Service(Behaviour(refusals_cost=True)) as service:
        ran = run(service, "refusals", 5.0)

    assert len(service.ledger.rows) == 1
    assert "charges for what it refuses" in ran.stopped


def test_without_balance_the_run_says_so() -> None:
    """402: one line that says what to do."""
    with Service(Behaviour(poor=True)) as service:
        ran = run(service, "paid", 5.0)

    assert service.ledger.rows == []
    assert "402: The balance is too low.; top up the account" in ran.stopped


def test_a_service_that_dies_in_the_middle() -> None:
    """The run ends in time and says so; what it saw is judged."""
    with Service(Behaviour(dies_after=12)) as service:
        ran = run(service, "refusals", 5.0)

    assert "stopped answering" in ran.stopped
    assert ran.ids("pass")
    assert service.ledger.usd == 0


def test_a_clock_that_is_an_hour_wrong_is_told() -> None:
    """One line, and the run goes on."""
    with Service(Behaviour(skew=3600.0)) as service:
        ran = run(service, "paid", 1.0)

    assert "clock is 3600 s ahead of this machine's" in ran.text or "clock is 3599 s ahead" in ran.text
    assert len(service.ledger.rows) == 1


def test_a_wrong_key_is_one_line() -> None:
    """Nothing is driven."""
    with Service(key="sk-another-0002") as service, pytest.raises(SetupError, match=r"the API key is refused \(401\)"):
        run(service, "readonly")


def test_the_kit_names_itself() -> None:
    """Every request has its declared User-Agent."""
    with Service() as service:
        run(service, "readonly")

    assert {row["agent"].partition("/")[0] for row in service.ledger.seen if row["method"] == "POST"} == {
        "kling-contract"
    }


@pytest.mark.parametrize("mode", ["refusals", "paid"])
def test_what_may_cost_needs_a_cap(mode: str) -> None:
    """Before anything is sent."""
    with Service() as service, pytest.raises(SetupError, match="needs --max-usd"):
        run(service, mode)
    assert service.ledger.seen == []


SOMEWHERE = "https://api.example.com"
FRAME = ("--image", "https://example.com/a.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((SOMEWHERE, "--mode", "refusals", "--max-usd", "nan"), "nan is not a finite number"),
        ((SOMEWHERE, "--mode", "refusals", "--max-usd", "inf"), "inf is not a finite number"),
        ((SOMEWHERE, "--mode", "refusals", "--max-usd", "-1"), "-1.0 is not in the range"),
        ((SOMEWHERE, "--mode", "refusals", "--max-usd", "2", "--usd-per-second", "0"), "0.0 is not in the range"),
        ((SOMEWHERE, "--mode", "refusals", "--max-usd", "2", "--usd-per-second", "nan"), "nan is not a finite number"),
        ((SOMEWHERE, "--mode", "paid", "--max-usd", "2", *FRAME, "--poll", "0.5"), "allows a read every"),
        (("http://api.example.com", "--mode", "readonly"), "--allow-http"),
    ],
)
def test_a_cap_that_caps_nothing_is_refused_before_anything_is_sent(words: tuple[str, ...], said: str) -> None:
    """No number is above NaN, and a second that costs nothing lets any number of them through."""
    from click.testing import CliRunner

    from kling_contract.cli.commands.server import command

    result = CliRunner().invoke(command, [*words, "--api-key", "sk-a"], standalone_mode=False)
    assert isinstance(result.exception, SetupError | click.UsageError), result.output
    assert said in str(result.exception)
