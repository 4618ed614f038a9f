"""`kling-contract compare`: the fake beside a stand-in, without differences, with ten planted ones, and with the profile it writes."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from standins.planted import ODD, PLANTS, Odd, Planted
from standins.service import KEY, Behaviour, Service, Task

from kling_common.launch import Launched
from kling_contract.cli.commands.compare import command
from kling_contract.rules.verdicts import SetupError
from kling_contract.serving import free_port

pytestmark = pytest.mark.e2e
IDS = {
    "no can_cancel": "member:/task_info/can_cancel:absent",
    "a member more": "member:/queue:present",
    "404 for a malformed id": "status:SL-16:400-404",
    "aspect_ratio is taken": "status:SV-16:400-200",
    "another price": "price:credits",
    "no param": "member:/error/param:absent",
    "no request id": "header:x-request-id",
    "another billing rule": "value:/usage/billing_rule:per_second-per_call",
    "progress 99 at the end": "value:/progress:100-99",
    "another code for an unknown id": "value:/error/code:task_not_found-no_such_task",
}

ODD_IDS = {
    "created as a text": "type:/created:integer-string",
    "credits as a text": "type:/usage/credits_reserved:number-string",
    "no estimate": "type:/task_info/estimated_time:integer-null",
    "no billing rule": "member:/usage/billing_rule:absent",
    "another object": "value:/object:video.generation.task-task",
    "warnings": "member:/warnings:present",
    "403 for a wrong key": "status:a wrong key:401-403",
    "errors without a message": "member:/error/message:absent",
    "404 for a wrong method": "status:SW-16:405-404",
    "rows without a type": "member:/data/0/type:absent",
}


@contextmanager
def fake(*options: str) -> Iterator[str]:
    """The project's fake, as users start it; its URL."""
    given = [
        sys.executable,
        "-m",
        "kling_mock",
        "serve",
        "--port",
        "0",
        "--ready-json",
        "--stop-with-stdin",
        "--quiet",
        *options,
    ]
    with Launched(given) as running:
        yield running.ready["url"]


def compared(a: str, b: str, *options: str) -> Result:
    """The command on two places."""
    given = [a, b, "--api-key", KEY, "--patience", "30", "--poll", "0.1", *options]
    return CliRunner().invoke(command, given, standalone_mode=False)


def found(folder: Path) -> list[dict[str, Any]]:
    """The differences in the report."""
    return json.loads((folder / "compare.json").read_text())["differences"]


def test_a_stand_in_that_keeps_to_the_page_has_no_difference(tmp_path: Path) -> None:
    """Exit 0, the number is 0, and the reports say so."""
    with fake() as url, Service(Behaviour(work=0.5)) as service:
        result = compared(url, service.url, "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert result.output.splitlines()[-1] == "differences: 0"
    assert found(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"compare.json", "compare.md", "compare.html"}


@pytest.mark.parametrize(("planted", "ids"), [(Planted, IDS), (Odd, ODD_IDS)])
def test_ten_planted_differences_are_those_ten_and_the_profile_makes_the_fake_equal(
    planted: type[Service], ids: dict[str, str], tmp_path: Path
) -> None:
    """Each once, however many responses show it; a fake started with the profile compares equal."""
    profile = tmp_path / "seen.yaml"
    with planted() as service:
        with fake() as url:
            result = compared(url, service.url, "--report", str(tmp_path), "--profile", str(profile))
        assert (result.exception, result.return_value) == (None, 1), result.output
        assert sorted(one["id"] for one in found(tmp_path)) == sorted(ids.values()), result.output
        assert "differences: 10" in result.output
        assert "no profile can say" not in result.output
        with fake("--profile", str(profile)) as url:
            again = compared(url, service.url)
    assert (again.exception, again.return_value) == (None, 0), again.output
    assert again.output.splitlines()[-1] == "differences: 0"


def test_differences_say_which_rule_they_break_and_who_is_wrong(tmp_path: Path) -> None:
    """A documented promise that is broken speaks against the document; the rest against our model of the service."""
    with fake() as url, Planted(("aspect_ratio is taken", "no can_cancel")) as service:
        compared(url, service.url, "--report", str(tmp_path))
    by_id = {one["id"]: one for one in found(tmp_path)}
    assert "SV-16" in by_id[IDS["aspect_ratio is taken"]]["rules"]
    assert by_id[IDS["aspect_ratio is taken"]]["class"] == "document wrong"
    assert by_id[IDS["no can_cancel"]]["class"] == "fake wrong"


def test_allowances_need_a_reason_and_a_difference(tmp_path: Path) -> None:
    """What is allowed does not count; what is not needed fails the run."""
    allow = tmp_path / "allow.yaml"
    allow.write_text(yaml.safe_dump({IDS["no can_cancel"]: "the newest pages drop it"}))
    with fake() as url:
        with Planted(("no can_cancel",)) as service:
            good = compared(url, service.url, "--allow", str(allow))
        with Service(Behaviour(work=0.5)) as service:
            stale = compared(url, service.url, "--allow", str(allow))
    assert (good.return_value, good.output.splitlines()[-1]) == (0, "differences: 0"), good.output
    assert "the newest pages drop it" in good.output
    assert stale.return_value == 1
    assert "STALE" in stale.output


def test_histories_are_compared_as_servers_are(tmp_path: Path) -> None:
    """A recording with itself is equal; of one target at two times the differences are changes."""
    from runs import run

    from kling_contract.history.events import jsonl

    with Service() as service:
        one = run(service, "paid", 1.0).judged.events
        service.behaviour.tariff.at_least = 30.0
        other = run(service, "paid", 1.0).judged.events
    (tmp_path / "one.jsonl").write_bytes(jsonl(one))
    (tmp_path / "other.jsonl").write_bytes(jsonl(other))
    same = compared(str(tmp_path / "one.jsonl"), str(tmp_path / "one.jsonl"))
    assert same.return_value == 0, same.output
    changed = compared(str(tmp_path / "one.jsonl"), str(tmp_path / "other.jsonl"), "--report", str(tmp_path))
    assert changed.return_value == 1, changed.output
    assert [(row["id"], row["class"]) for row in found(tmp_path)] == [("price:credits", "changed since")]


def test_a_stand_in_of_this_machine_is_guarded_where_a_mode_that_bills_is_named() -> None:
    """It has no control protocol, so the user's word counts: its own books stay within the cap; the fake is driven as a fake."""
    with fake() as url, Service(Behaviour(accepts="everything", work=0.1)) as service:
        result = compared(url, service.url, "--mode", "refusals", "--max-usd", "1.3")
    assert result.exception is None, result.output
    assert 0 < service.ledger.usd <= 1.3
    assert "was not sent" in result.output


def test_a_callback_is_compared_where_a_receiver_is_reachable(tmp_path: Path) -> None:
    """The fake is relayed to it, the stand-in comes through its tunnel; what differs in the callback alone is a difference."""
    port, public = free_port(), "https://tunnel.example.com"
    tunnel = (public, f"http://127.0.0.1:{port}")
    receiver = ("--callback-base", f"{public}/hooks", "--callback-listen", f"127.0.0.1:{port}")

    class Gone(Service):
        """Leaves a member out of its callbacks."""

        def called_back(self, task: Task) -> dict[str, Any]:
            return {name: value for name, value in super().called_back(task).items() if name != "type"}

    with fake() as url:
        with Service(Behaviour(work=0.5, tunnel=tunnel)) as service:
            same = compared(url, service.url, *receiver)
        with Gone(Behaviour(work=0.5, tunnel=tunnel)) as service:
            other = compared(url, service.url, *receiver, "--report", str(tmp_path))
    assert (same.exception, same.return_value) == (None, 0), same.output
    assert "callback; " not in same.output
    assert [(one["id"], one["steps"]) for one in found(tmp_path)] == [("member:/type:absent", ["callback"])], (
        other.output
    )


def test_one_cap_holds_for_both_sides_and_one_hash_for_their_plan() -> None:
    """Two services, one paid task each: the second is not sent where the money is for one."""
    with Service(Behaviour(work=0.1)) as one, Service(Behaviour(work=0.1)) as other:
        sides = (one.url, other.url, "--mode", "paid")
        plan = compared(*sides, "--plan")
        agreed = ("--plan-hash", plan.output.rpartition("plan hash: ")[2].split()[0])
        refused = compared(*sides, "--max-usd", "5")
        assert isinstance(refused.exception, SetupError), refused.output
        assert [row for row in (*one.ledger.seen, *other.ledger.seen) if row["method"] == "POST"] == []
        short = compared(*sides, "--max-usd", "1", *agreed)
        assert (len(one.ledger.rows), len(other.ledger.rows)) == (1, 0), short.output
        both = compared(*sides, "--max-usd", "2", *agreed)
    assert f"plan for {one.url} and {other.url}, mode paid" in plan.output
    assert "at worst $1.27" in plan.output
    assert (len(one.ledger.rows), len(other.ledger.rows)) == (2, 1)
    assert both.return_value == 0, both.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such.jsonl", "no-such.jsonl"], "No such file"),
        (["http://127.0.0.1:9", "http://127.0.0.1:9"], "refused"),
        (["https://api.example.com", "https://api.example.com", "--mode", "fake"], "may bill"),
        (["https://api.example.com", "https://api.example.com", "--mode", "refusals"], "--max-usd"),
        (["https://api.example.com", "https://api.example.com", "--mode", "paid", "--max-usd", "2"], "--plan-hash"),
        (["a.jsonl", "a.jsonl", "--allow", "no-such.yaml"], "no-such.yaml: No such file"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is sent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kling_contract.driving.control.Control.info", lambda _: None)
    result = compared(*words[:2], *words[2:])
    assert isinstance(result.exception, SetupError), result.output
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


def test_every_plant_has_an_id() -> None:
    """The ten are ten."""
    assert (set(IDS), set(ODD_IDS)) == (set(PLANTS), set(ODD))
    assert (len(IDS), len(ODD_IDS)) == (10, 10)
