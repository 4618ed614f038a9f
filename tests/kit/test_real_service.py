"""The kit against a service that bills: the stand-in, whose ledger says what was really accepted and charged."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from click.testing import CliRunner, Result
from standin import StandIn

from kling_contract.cli.commands import server
from kling_contract.driving.drivers import running
from kling_contract.driving.drivers.run_context import QUICK, Options, body_of
from kling_contract.driving.drivers.running import Money, Wanted, make_history, plan_of, skewed
from kling_contract.driving.pricing import MARGIN
from kling_contract.driving.target import Asked, Target, choose_mode
from kling_contract.history.events import Exchange, Response
from kling_contract.reading.contract import shipped
from kling_contract.rules.verdicts import Choice, SetupError

SERVICE = "https://api.evolink.ai"


@pytest.fixture
def service() -> Iterator[StandIn]:
    """A service that bills, with an account of a hundred dollars."""
    with StandIn(queue=0.05, run=0.1, credits=10_000) as running:
        yield running


def run(service: StandIn, *args: str) -> Result:
    """`kling-contract server` against it."""
    given = [service.url, "--api-key", "sk-a", "--seed", "1", *args]
    return CliRunner().invoke(server.command, given, standalone_mode=False)


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


def plan_hash(*args: str) -> str:
    """The hash that `--plan` ends with."""
    result = CliRunner().invoke(server.command, [*args, "--plan"], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, 0), result.output
    return result.output.split("plan hash: ")[1].split()[0]


def paid(service: StandIn, *args: str) -> Result:
    """A paid run that was agreed to."""
    given = ["--mode", "paid", "--poll", "0.05", *args]
    return run(service, *given, "--plan-hash", plan_hash(service.url, "--api-key", "sk-a", *given))


def test_readonly_makes_nothing_and_costs_nothing(service: StandIn, tmp_path) -> None:
    """Not one create carries the key, the balance stays, and every rule that could be seen holds."""
    result = run(service, "--mode", "readonly", "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert not rows(service, "accepted")
    assert service.balance("sk-a") == 10_000
    report = json.loads((tmp_path / "report.json").read_text())
    verdicts = {rule["id"]: rule["verdict"] for rule in report["rules"]}
    assert report["mode"] == "readonly"
    assert {"fail", "warn"}.isdisjoint(verdicts.values())
    assert [verdicts[name] for name in ("SA-01", "SA-05", "SB-07", "SL-16", "SW-11")] == ["pass"] * 5


def test_refusals_poke_at_no_private_network(service: StandIn) -> None:
    """Internal callback addresses and a duration without bounds are for fakes."""
    result = run(service, "--mode", "refusals", "--max-usd", "5")
    assert (result.exception, result.return_value) == (None, 0), result.output
    params = [row.get("param") for row in rows(service, "refused")]
    assert len(params) > 30
    assert params.count("callback_url") <= 16


def test_refusals_go_on_after_an_accepted_one(service: StandIn, tmp_path, monkeypatch) -> None:
    """The finding is that request, said on the terminal with its charge; the other rules are tried as well."""
    import standin_checks

    monkeypatch.setattr(standin_checks, "DURATION_MAX", 20)
    result = run(service, "--mode", "refusals", "--max-usd", "9", "--poll", "0.05", "--report", str(tmp_path))

    assert result.return_value == 1, result.output
    assert len(rows(service, "accepted")) == 1
    assert "ACCEPTED, and must be refused: POST /v1/videos/generations  duration: 16" in result.output
    assert "may have cost $3.39" in result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert [rule["id"] for rule in report["rules"] if rule["verdict"] == "fail"] == ["SV-09"]


def test_refusals_leave_out_what_may_cost_more_than_the_cap(service: StandIn) -> None:
    """Stopped by the cap, with the first request that was not sent."""
    result = run(service, "--mode", "refusals", "--max-usd", "0.65")
    assert result.return_value == 3, result.output
    assert "was not sent" in result.output
    assert [row.get("param") for row in rows(service, "refused")].count("duration") == 0


def test_paid_makes_exactly_one_task_within_the_cap(service: StandIn, tmp_path) -> None:
    """The shortest task in the default quality; forty rules and more are seen on it."""
    result = paid(service, "--max-usd", "0.7", "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    (row,) = rows(service, "accepted")
    assert (row["duration"], row["quality"]) == (3, "720p")
    assert row["usd_reserved"] <= 0.7
    assert [r["event"] for r in service.ledger_rows() if r["key"]] == ["accepted", "settled"]
    report = json.loads((tmp_path / "report.json").read_text())
    passed = {rule["id"] for rule in report["rules"] if rule["verdict"] == "pass"}
    assert {"SW-02", "SL-01", "SL-03", "SL-17", "SK-02", "SK-09", "SK-10", "SB-02", "SB-03", "SV-05"} <= passed
    assert len(passed) >= 40


def test_paid_below_its_price_sends_no_create(service: StandIn) -> None:
    """Stopped by the cap: exit code 3, and nothing was accepted."""
    result = paid(service, "--max-usd", "0.29")
    assert result.return_value == 3, result.output
    assert not rows(service, "accepted")


def test_the_user_knows_the_price_better(service: StandIn) -> None:
    """A price a second takes the place of the assumed one, in both directions."""
    result = paid(service, "--max-usd", "5", "--usd-per-second", "2")
    assert result.return_value == 3, result.output
    assert not rows(service, "accepted")
    result = paid(service, "--max-usd", "0.45", "--usd-per-second", "0.15")
    assert result.return_value == 0, result.output


@pytest.mark.parametrize("mode", ["refusals", "paid"])
def test_what_may_cost_needs_a_cap(service: StandIn, mode: str) -> None:
    """Without it nothing is sent."""
    result = run(service, "--mode", mode)
    assert isinstance(result.exception, SetupError)
    assert "--max-usd" in str(result.exception)


def test_paid_needs_a_plan_that_was_agreed_to(service: StandIn) -> None:
    """Without a terminal that is its hash, and a stale one is no agreement."""
    none = run(service, "--mode", "paid", "--max-usd", "5")
    assert "needs --plan-hash" in str(none.exception)
    stale = run(service, "--mode", "paid", "--max-usd", "5", "--plan-hash", "0123456789abcdef")
    assert "is not the hash of this plan" in str(stale.exception)
    assert service.ledger_rows() == []


@pytest.mark.parametrize(("said", "accepted"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_on_a_terminal_paid_asks_for_a_yes(service: StandIn, said: str, accepted: int, monkeypatch) -> None:
    """After the plan; anything else sends nothing."""
    from kling_contract.cli import money

    class Terminal:
        """Standard input, as far as the question whether it is a terminal goes."""

        @staticmethod
        def isatty() -> bool:
            """It is."""
            return True

    monkeypatch.setattr(money, "sys", type("sys", (), {"stdin": Terminal}))
    given = [service.url, "--api-key", "sk-a", "--mode", "paid", "--max-usd", "5", "--poll", "0.05"]
    result = CliRunner().invoke(server.command, given, standalone_mode=False, input=said)
    assert "plan hash: " in result.output
    assert len(rows(service, "accepted")) == accepted


def test_the_hash_is_of_the_calls() -> None:
    """Another first frame, target or price is another plan; the cap and the pace are not part of it."""
    base = [SERVICE, "--api-key", "sk-a", "--mode", "paid", "--image", "https://example.com/a.png"]
    first = plan_hash(*base)
    assert first == plan_hash(*base, "--max-usd", "3", "--poll", "20")
    assert first != plan_hash(*base[:-1], "https://example.com/b.png")
    assert first != plan_hash(*base, "--usd-per-second", "9")


@pytest.mark.parametrize("mode", ["readonly", "refusals", "paid", "fake"])
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
    """The real service's plans are printed without a look at it: one for each mode, each with its hash."""
    result = CliRunner().invoke(server.command, [SERVICE, "--api-key", "sk-a", "--plan"], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, 0), result.output
    assert [f"mode {mode}" in result.output for mode in ("readonly", "refusals", "paid")] == [True] * 3
    assert result.output.count("plan hash: ") == 3
    assert "audio_urls" not in result.output


@pytest.mark.parametrize("base", ["https://api.other.example", "https://10.0.0.5:8080"])
def test_what_is_not_on_this_machine_may_bill(base: str) -> None:
    """A plan asks nobody, so it cannot know that there is a control protocol."""
    result = CliRunner().invoke(server.command, [base, "--api-key", "sk-a", "--plan"], standalone_mode=False)

    assert result.output.count("plan hash: ") == 3


@pytest.mark.parametrize("cap", [0.0, 0.64, 0.8, 1.06, 3.2, 9.0])
def test_a_plan_says_how_many_calls_the_cap_forbids(service: StandIn, cap: float) -> None:
    """Those whose worst is more; one that costs as much as the cap may be sent."""
    asked = Asked(url=service.url, key="sk-a", mode="refusals")
    steps = plan_of(Wanted(asked), "refusals").steps
    over = sum(round(step.worst_usd, 9) > cap for step in steps)

    said = run(service, "--mode", "refusals", "--max-usd", str(cap), "--plan").output

    assert f"cap: ${cap:.2f}" in said
    assert (f"{over} of these calls may cost more" in said) is (over > 0)
    assert ("may cost more" in said) is (over > 0)


def plan_lines(service: StandIn, mode: str) -> list[str]:
    """The plan of one mode, a line each."""
    result = run(service, "--mode", mode, "--max-usd", "1", "--plan")
    return str(result.output).splitlines()


def test_a_plan_shows_the_reads_of_the_task_that_it_makes(service: StandIn) -> None:
    """Behind the create that is meant to be accepted, and nowhere else."""
    reads = {mode: [line for line in plan_lines(service, mode) if "until it ends" in line] for mode in MODES}

    assert [len(reads[mode]) for mode in MODES] == [0, 0, 1]
    assert "GET /v1/tasks/{id}" in reads["paid"][0]


def test_a_plan_says_what_it_costs_in_the_words_of_its_mode(service: StandIn) -> None:
    """Nothing; nothing unless the service errs; the price of a task."""
    free, refused, paid_for = ("\n".join(plan_lines(service, mode)) for mode in MODES)

    assert "at worst $0.00, because no create carries the key" in free
    assert "if the service accepted every one" in refused
    assert "expected: $0.00" in refused
    assert "accepted every one" not in paid_for
    assert "expected: $0.00" not in paid_for


@pytest.mark.parametrize("mode", ["refusals", "paid"])
def test_a_plan_says_why_the_worst_is_more_than_the_price(service: StandIn, mode: str) -> None:
    """Where it is the kit's own margin, and nothing where the user knows the price."""
    words = "times the contract's price, which no document states"

    assumed = run(service, "--mode", mode, "--max-usd", "1", "--plan").output
    known = run(service, "--mode", mode, "--max-usd", "1", "--usd-per-second", "0.2", "--plan").output

    assert f"({MARGIN:g} {words})" in assumed
    assert words not in known


def test_a_plan_shows_how_sure_each_refusal_is(service: StandIn) -> None:
    """In brackets behind its rules; what is no refusal has none."""
    lines = [line for line in plan_lines(service, "refusals") if "POST /v1/videos/generations" in line]

    assert not [line for line in lines if "()" in line]
    assert [line for line in lines if re.search(r" SV-09 \(\w+\)  ", line)]


@pytest.mark.parametrize(("mode", "creates"), [("readonly", 1), ("refusals", None), ("paid", 1), ("fake", 1)])
def test_how_many_creates_a_mode_allows_where_nobody_says(mode: str, creates: int | None) -> None:
    """A run of refusals means none, so money is its cap; whoever names a number gets it."""
    assert Money(max_usd=1.0).caps(mode).creates == creates
    assert Money(max_usd=1.0, creates=0).caps(mode).creates == 0
    assert Money(max_usd=1.0, creates=3).caps(mode).creates == 3


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        ([], ""),
        ([None, None], ""),
        ([120], ""),
        ([-120], ""),
        ([121], "121 s ahead of this machine's"),
        ([None, -121], "121 s behind this machine's"),
        ([0, 4000], "4000 s ahead of this machine's"),
    ],
)
def test_a_clock_that_is_wrong_is_said(dates: list[float | None], said: str) -> None:
    """By the Date of any response, from two minutes on."""
    at, events = 1_757_169_743.0, []
    for ahead in dates:
        headers = () if ahead is None else (("Date", formatdate(at + ahead, usegmt=True)),)
        lost = Exchange(method="GET", url="https://service.example/v1/credits", lost="cut", at=at, ended_at=at)
        events += [lost, replace(lost, lost="", answer=Response(status=200, headers=headers))]

    lines = skewed(events)

    assert len(lines) == (1 if said else 0)
    assert said in "".join(lines)


MODES = ("readonly", "refusals", "paid")


PICTURE = "https://pictures.example/first.jpg"


@pytest.mark.parametrize(
    ("mode", "base", "image", "asked"),
    [
        ("paid", "https://api.other.example", "", True),
        ("paid", "https://api.other.example", PICTURE, False),
        ("paid", "http://127.0.0.1:4010", "", False),
        ("refusals", "https://api.other.example", "", False),
        ("readonly", "https://api.other.example", "", False),
    ],
)
def test_who_is_asked_for_a_picture_that_the_service_can_fetch(
    monkeypatch: pytest.MonkeyPatch, mode: str, base: str, image: str, asked: bool
) -> None:
    """A paid run against another machine: what the kit would name otherwise leads nowhere, and the money would be spent on it."""
    driven: list[Options] = []
    monkeypatch.setattr(running, "discover", lambda it, *_: Target(base=it.base, key=it.key, mode=it.mode))
    monkeypatch.setattr(running.real, "run", lambda context, *_: driven.append(context.options))
    options = Options(image=image) if image else Options()
    wanted = Wanted(Asked(url=base, key="sk-a", mode=mode), options, Money(max_usd=1.0))
    wanted = replace(wanted, agreed=plan_of(wanted, "paid").hash)

    if asked:
        with pytest.raises(SetupError, match="--mode paid needs --image"):
            make_history(wanted, Choice())
    else:
        make_history(wanted, Choice())
    assert [(one.image, one.drawn) for one in driven] == ([] if asked else [(options.image, False)])


@pytest.mark.parametrize(
    ("given", "patience", "poll"),
    [
        ((), 6, 0.2),
        (("--real-time",), 1800, 0.2),
        (("--mode", "readonly"), 1800, 10),
        (("--mode", "refusals", "--max-usd", "1"), 1800, 10),
        (("--mode", "readonly", "--patience", "90", "--poll", "15"), 90, 15),
    ],
)
def test_how_long_a_task_is_waited_for(
    given: tuple[str, ...], patience: float, poll: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour in real time, and a read of the real service every ten seconds; six seconds where a clock is moved."""
    asked: list[Wanted] = []

    def make(wanted: Wanted, _: Choice) -> Any:
        asked.append(wanted)
        raise SetupError("that is all")

    monkeypatch.setattr(server, "make_history", make)
    CliRunner().invoke(server.command, ["http://127.0.0.1:4010", "--api-key", "sk-a", *given], standalone_mode=False)

    (wanted,) = asked
    assert (wanted.options.patience, wanted.options.poll) == (patience, poll)


def test_how_a_run_is_driven_where_nobody_says() -> None:
    """Five reads a second in real time, everything that can be tried, a receiver on this machine on a port that is free."""
    options = Options()

    assert (options.poll, options.patience, options.seed) == (0.2, QUICK, None)
    assert (options.quick, options.real_time, options.drawn, options.scripts) == (False, False, True, frozenset())
    assert (options.callback_base, options.callback_listen, options.callback_ca) == ("", ("127.0.0.1", 0), None)
    assert (options.image, options.video, options.audio) == ("https://image.test/1280x720.jpg", "", "")
    assert body_of(shipped(), options)["image_start"] == options.image
    assert (options.story_out, options.replay) == (None, None)
    wanted = Wanted(Asked(url="http://127.0.0.1:4010", key="sk-a"))
    assert (wanted.timeout, wanted.assumptions, wanted.agreed, wanted.ca_file) == (30.0, False, "", None)
    money = Money()
    assert (money.max_usd, money.usd_per_second, money.seconds, money.wall, money.at_once) == (
        None,
        None,
        None,
        None,
        1,
    )
