"""The drivers: probes derived from the contract, cases that show what they should, stories that shrink and play again."""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import standin_checks
from standin import StandIn

from kling_contract.driving.drivers import machine, plan, schema
from kling_contract.driving.drivers.probes import long_url, near_misses, public_neighbours
from kling_contract.driving.drivers.run_context import Options, RunContext
from kling_contract.driving.drivers.running import Made, Wanted, for_servers, make_history
from kling_contract.driving.drivers.trace import load, save
from kling_contract.driving.guard import Guard
from kling_contract.driving.sender import Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import Asked, discover
from kling_contract.history.events import Recorder
from kling_contract.judging import judge_history
from kling_contract.reading.contract import Contract, shipped
from kling_contract.reports.documents import report
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Choice, Result, Run, SetupError
from kling_contract.serving import free_port
from kling_mock.serving.process import Running

CONTRACT = shipped()
BASE = {"model": CONTRACT.model, "image_start": "https://image.test/1280x720.jpg", "duration": 3, "quality": "720p"}
FAST: dict[str, Any] = {"queue": 0.03, "run": 0.05}


SENT = {
    "SA-01": 6, "SA-02": 9, "SA-03": 10, "SA-04": 5, "SA-05": 4, "SA-06": 2, "SA-07": 5, "SA-09": 2, "SA-10": 1,
    "SA-11": 6, "SA-12": 2, "SB-06": 2, "SB-09": 16, "SB-12": 3, "SB-16": 6, "SB-17": 1, "SB-20": 4, "SC-16": 1,
    "SF-01": 5, "SF-06": 1, "SF-08": 2, "SF-09": 1, "SF-10": 2, "SF-11": 6, "SF-13": 3, "SF-14": 1, "SL-16": 7,
    "ST-02": 15, "ST-03": 15, "ST-06": 4, "SV-01": 1, "SV-02": 11, "SV-03": 2, "SV-04": 20, "SV-06": 8, "SV-07": 7,
    "SV-08": 3, "SV-09": 3, "SV-10": 13, "SV-11": 14, "SV-13": 1, "SV-14": 25, "SV-15": 3, "SV-16": 5, "SV-17": 19,
    "SV-18": 88, "SV-19": 3, "SV-20": 13, "SV-21": 23, "SV-29": 13, "SV-31": 4, "SV-32": 12, "SV-33": 21, "SV-34": 3,
    "SV-35": 9, "SW-15": 9, "SW-16": 7, "SW-17": 6, "SW-18": 1, "SW-19": 5, "SW-20": 3, "SW-24": 3, "SW-25": 1,
}  # fmt: skip
"""Probes that reach the wire in a run against the fake, by rule. A driver that stops sending one is found here: its rule would go on
passing. Whoever adds a probe adds it here."""


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    """The fake in a process of its own; its URL."""
    with Running() as running:
        yield running.url


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A stand-in whose tasks are soon over."""
    with StandIn(**FAST) as running:
        yield running


def changed(**members: Any) -> Contract:
    """The contract with one schema or delivery member changed."""
    document: Any = copy.deepcopy(dict(CONTRACT.document))
    if "maximum" in members:
        document["components"]["schemas"]["Duration"]["maximum"] = members["maximum"]
    if "retries" in members:
        path = document["paths"]["/v1/videos/generations"]["post"]["callbacks"]["taskFinished"]
        path["{$request.body#/callback_url}"]["post"]["x-delivery"]["retry_delays_seconds"] = members["retries"]
    return Contract(document)


def driven(url: str, contract: Contract = CONTRACT, **options: Any) -> tuple[Made, Run]:
    """A whole run and its verdicts."""
    choice = for_servers(Choice(only=options.pop("only", frozenset())))
    asked = Asked(url=url, key="sk-a", second_key="sk-b", features=options.pop("features", "auto"))
    wanted = Wanted(asked, Options(seed=1, **{"quick": True, "poll": 0.02, **options}), timeout=10, contract=contract)
    made = make_history(wanted, choice)
    return made, judge_history(made.recorder.events, choice, lambda _: "", contract)


def context_at(url: str, **options: Any) -> RunContext:
    """A context for one driver alone."""
    wire = Sender()
    target = discover(Asked(url=url, key="sk-a"), CONTRACT, wire)
    line = Line(target, CONTRACT, Recorder(salt=b"salt"), wire, Guard())
    return RunContext(line, Options(**{"seed": 1, "poll": 0.02, **options}), b"salt")


def broken(run: Run) -> dict[str, str]:
    """What is wrong, by rule."""
    return {found.rule.id: found.seen for found in run.having(Result.FAIL, Result.WARN, Result.KIT_ERROR)}


# Probes


def test_every_near_miss_is_one() -> None:
    """The contract finds something wrong with each, or it is no JSON object; none is sent twice."""
    found = near_misses(CONTRACT, BASE)
    assert all(near.raw is not None or CONTRACT.create_flaws(near.body) for near in found)
    shapes = [repr((near.body, near.raw)) for near in found]
    assert len(shapes) == len(set(shapes)) > 90


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration", 16), ("duration", 2), ("duration", 5.5), ("duration", "5"), ("duration", None), ("quality", "4k"),
        ("quality", "720P"), ("quality", "480p"), ("quality", 1080), ("prompt", "\U0001f600" * 2501), ("aspect_ratio", "16:9"),
        ("callback_url", "http://hooks.example.com/done"), ("callback_url", "https://2130706433/done"),
        ("callback_url", "https://[::ffff:10.0.0.1]/done"), ("callback_url", "https://100.127.255.255/done"),
    ],
)  # fmt: skip
def test_the_near_misses_that_must_be_there(field: str, value: Any) -> None:
    """One past each bound, each value's neighbours, the right value in the wrong type."""
    assert any(
        near.field == field and near.body[field] == value for near in near_misses(CONTRACT, BASE) if near.raw is None
    )


def test_probes_follow_the_contract() -> None:
    """A longer greatest duration moves the probe, with no code edit."""
    values = {
        near.value
        for near in near_misses(changed(maximum=20), BASE)
        if near.field == "duration" and near.rules == ("SV-09",)
    }
    assert values == {21, 10**9}


def test_public_neighbours_are_right_and_internal_ones_are_not() -> None:
    """Both sides of each range."""
    hosts = public_neighbours(CONTRACT)
    assert {"11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"} <= set(hosts)
    for host in hosts:
        assert not CONTRACT.create_flaws({**BASE, "callback_url": f"https://{host}/done"}), host
    longest = long_url(CONTRACT)
    assert len(longest) == CONTRACT.callback_url_max
    assert not CONTRACT.create_flaws({**BASE, "callback_url": longest})


def test_first_frames_take_turns_in_the_allowed_shapes(fake: str) -> None:
    """The widest and the tallest, at twice the smallest side; the user's own where the fake draws none."""
    limits = CONTRACT.image
    side = 2 * limits.min_side
    wide, tall = (
        f"https://image.test/{width}x{height}.jpg"
        for width, height in ((round(side * limits.ratio_max), side), (side, round(side / limits.ratio_min)))
    )
    with context_at(fake, drawn=True) as context:
        assert [context.picture(number)[1] for number in range(5)] == [wide, tall, wide, tall, wide]
    with context_at(fake, drawn=False, image="https://example.com/mine.png") as context:
        assert context.picture(1) == (None, "https://example.com/mine.png")


# The scripted run


@pytest.mark.parametrize(
    ("options", "live"),
    [
        ({}, False),
        ({"callback_base": "https://hooks.example.com"}, False),
        ({"real_time": True}, False),
        ({"callback_base": "https://hooks.example.com", "real_time": True}, True),
    ],
)
def test_real_callbacks_need_a_way_in_and_real_time(server: StandIn, options: dict[str, Any], live: bool) -> None:
    """Without either, nothing could arrive."""
    with context_at(server.url, **options) as context:
        assert ("callback-live" in [case.name for case in plan.every_script(context)]) is live


def test_cases_name_rules_that_exist(fake: str) -> None:
    """And between them they serve every rule that is not seen everywhere."""
    with context_at(fake) as context:
        served = {rule for case in plan.every_script(context) for rule in case.rules}
    known = rules(CONTRACT)
    assert served <= set(known)
    special = {
        rule.id for rule in known.values() if not rule.for_clients and rule.id[:2] in ("SV", "SK", "SA", "SB", "SC")
    }
    assert special <= served


def test_only_picks_the_cases_that_serve_a_rule(fake: str) -> None:
    """A rule that looks at everything takes every case."""
    with context_at(fake) as context:
        cases = plan.every_script(context)
    assert [case.name for case in plan.chosen(cases, frozenset({"SA-06"}))] == ["isolation"]
    assert plan.chosen(cases, frozenset({"SA-06", "SW-01"})) == cases
    assert plan.chosen(cases, frozenset()) == cases


def test_the_fake_passes_on_everything(fake: str) -> None:
    """Every rule is seen, and holds."""
    made, run = driven(fake)
    assert broken(run) == {}
    assert dict(run.probes) == SENT
    misses = Counter(rule for near in near_misses(CONTRACT, BASE) for rule in near.rules)
    assert {rule: number for rule, number in misses.items() if run.probes[rule] < number} == {}
    report_rows = {row["id"]: row["probes"] for row in report(run)["rules"]}
    assert {rule: number for rule, number in report_rows.items() if number} == SENT
    unseen = {found.rule.id for found in run.verdicts if found.result is not Result.PASS}
    # Models need --model; SC-10 and SC-11 need real seconds, of which a machine at its limits may leave too few to say anything.
    assert unseen - {rule for rule in rules(CONTRACT) if rule.startswith("SM")} <= {"SC-10", "SC-11"}
    assert made.target.accounts


@pytest.mark.parametrize(
    "liberty",
    [
        {}, {"slow": 0.01}, {"extra_fields": True}, {"jumpy_progress": True, "run": 0.3}, {"refuse_unknown": True},
        {"late_image_check": True}, {"dialect": "legacy"}, {"no_cancel_field": True}, {"queue": 0, "run": 0},
    ],
    ids=lambda liberty: ",".join(liberty) or "plain",
)  # fmt: skip
def test_a_correct_server_of_another_make_passes(liberty: dict[str, Any]) -> None:
    """The stand-in, whatever liberties a correct server may take."""
    with StandIn(**{**FAST, **liberty}) as running:
        _, run = driven(running.url)
    assert broken(run) == {}
    assert run.exit == 0
    assert run.totals["pass"] > 85


def test_what_needs_a_clock_is_not_run_and_says_why(server: StandIn) -> None:
    """Without a control protocol, the reason stands beside the rule."""
    _, run = driven(server.url)
    reasons = {found.rule.id: found.reason for found in run.verdicts if found.result is Result.NOT_RUN}
    assert reasons["SK-05"] == "needs a fake with the control protocol (clock)"
    assert reasons["SB-09"] == "needs a fake with the control protocol (credits)"


def test_a_declared_feature_that_lacks_is_a_finding(server: StandIn) -> None:
    """Declared by the user, missed by the kit: SS-03, and the rest is judged without it."""
    _, run = driven(server.url, features="clock,cancel")
    assert list(broken(run)) == ["SS-03"]
    assert run.totals["pass"] > 80


def test_callbacks_in_real_time(tmp_path: Path) -> None:
    """A server without a clock to steer calls the kit over HTTPS; every way of receiving is tried side by side."""
    authority, waits = tmp_path / "ca.pem", [0.2, 0.3, 0.4]
    shown = frozenset(f"SC-{number:02}" for number in (1, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 17, 18, 21, 22, 23))
    port = free_port()
    host = "hooks.example.com"
    resolve = {host: ("127.0.0.1", port)}
    with StandIn(
        **FAST, retry_gaps=tuple(waits), ca_file=authority, resolve=resolve, allow_internal_callbacks=True
    ) as running:
        _, run = driven(
            running.url, changed(retries=waits), only=shown, real_time=True, callback_base=f"https://{host}",
            callback_listen=("127.0.0.1", port), callback_ca=authority,
        )  # fmt: skip
    # SC-09 is about seconds of a real clock: a machine at its limits may send a retry late.
    unseen = {found.rule.id: found.seen for found in run.verdicts if found.result is not Result.PASS}
    assert unseen.keys() <= {"SC-09"}, unseen


def test_a_case_that_cannot_go_on_is_untestable() -> None:
    """A create that is refused for want of credits is no verdict about anything else."""
    with StandIn(**FAST, credits=0) as running:
        _, run = driven(running.url)
    assert {"SB-02", "SK-02"} <= {found.rule.id for found in run.having(Result.UNTESTABLE)}
    assert run.exit == 0


# Drawn runs


def test_a_machine_finds_and_shrinks(server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One step is left of the story, it is saved, and playing it again shows the same breach."""
    monkeypatch.setattr(machine, "SHRINKING", 4.0)
    monkeypatch.setattr(
        machine, "near_misses", lambda *given: [near for near in near_misses(*given) if near.rules == ("SV-09",)]
    )
    monkeypatch.setattr(standin_checks, "DURATION_MAX", 16)
    story = tmp_path / "story.json"
    with context_at(server.url, story_out=story) as context:
        lines = machine.run(context, Choice())

    assert lines[0].startswith("machine: SV-09: expected 400 for duration 16, seen 200")
    assert len(load(story)) == 1
    run = judge_history(context.recorder.events, Choice(only=frozenset({"SV-09"})), lambda _: "")
    assert run.exit == 1

    with context_at(server.url) as again:
        machine.replay(again, story)
    assert judge_history(again.recorder.events, Choice(only=frozenset({"SV-09"})), lambda _: "").exit == 1


def test_known_failures_stop_no_story(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is listed with a reason is not looked for."""
    monkeypatch.setattr(machine, "EXAMPLES", 8)
    monkeypatch.setattr(standin_checks, "DURATION_MAX", 16)
    known = dict.fromkeys(("SV-09", "SL-21", "SB-01"), "we know")
    with context_at(server.url) as context:
        assert "stories drawn" in machine.run(context, Choice(known=known))[0]


def test_schema_draws_feed_the_history(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right and wrong requests, all judged, none of them a false alarm."""
    monkeypatch.setattr(schema, "EXAMPLES", 12)
    monkeypatch.setattr(schema, "SECONDS", 240.0)  # a busy machine draws slowly
    with context_at(server.url) as context:
        (line,) = schema.run(context)
    run = judge_history(context.recorder.events, for_servers(Choice()), lambda _: "")
    assert len(context.recorder.events) >= 40, line
    assert broken(run) == {}
    assert not Path(".hypothesis").exists() or not any(Path(".hypothesis").glob("examples/*/schema*"))


def test_a_seed_draws_the_same_requests(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what one run has found is found again."""
    monkeypatch.setattr(schema, "EXAMPLES", 4)
    monkeypatch.setattr(schema, "SECONDS", 240.0)
    sent = []
    for seed in (1, 1, 2):
        with context_at(server.url) as context:
            context.options = replace(context.options, seed=seed)
            schema.run(context)
            exchanges = [
                event for event in context.recorder.events if event.kind == "exchange" and event.case == "schema"
            ]
            sent.append([(one.method, one.request.body.text) for one in exchanges if one.request.body.size])

    assert sent[0]
    assert sent[0] == sent[1]
    assert sent[0] != sent[2]


def test_a_story_file_that_is_none(tmp_path: Path) -> None:
    """One line for each way in which it is none."""
    path = tmp_path / "story.json"
    for text in ("", "[]", '{"steps": [{"do": "burn"}]}', '{"steps": [1]}'):
        path.write_text(text)
        with pytest.raises(SetupError, match=r"story\.json: "):
            load(path)
    save(path, [{"do": "credits"}], 1, "because")
    assert load(path) == [{"do": "credits"}]


def test_rooms_of_their_own_share_nothing(fake: str) -> None:
    """A story's context writes into its own history and has its own clocks."""
    with context_at(fake) as context:
        shared = machine.Run(context, Choice())
        recorder = Recorder(salt=b"salt")
        with shared.room_of_its_own(recorder) as own:
            own.session("alone").credits()
        assert context.recorder.events == ()
        assert recorder.events
        assert replace(context.line).clocks == {}
