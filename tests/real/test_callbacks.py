"""A paid run with a receiver behind a tunnel: `--callback-base` and `--callback-listen`, against a billed stand-in that calls back."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from standins.service import KEY, Behaviour, Service

from kling_contract.cli.commands.server import command
from kling_contract.serving import free_port

pytestmark = pytest.mark.e2e
BASE = "https://tunnel.example.com/hooks"


def paid(service: Service, port: int, *options: str) -> Result:
    """The command, its plan agreed to."""
    given = [service.url, "--api-key", KEY, "--mode", "paid", "--poll", "0.1", "--callback-base", BASE,
             "--callback-listen", f"127.0.0.1:{port}"]  # fmt: skip
    plan = CliRunner().invoke(command, [*given, "--plan"], standalone_mode=False)
    agreed = plan.output.rpartition("plan hash: ")[2].split()[0]
    return CliRunner().invoke(
        command, [*given, "--max-usd", "1", "--plan-hash", agreed, *options], standalone_mode=False
    )


def test_a_paid_run_receives_its_callback_through_a_tunnel(tmp_path: Path) -> None:
    """One task, one callback; the rules of callbacks that one task can show have a verdict, and the page lists them."""
    port = free_port()
    with Service(Behaviour(work=0.7, tunnel=("https://tunnel.example.com", f"http://127.0.0.1:{port}"))) as service:
        result = paid(service, port, "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    assert len(service.ledger.rows) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    seen = {rule["id"] for rule in report["rules"] if rule["verdict"] == "pass"}
    page = (Path(__file__).parents[2] / "docs" / "real-service.md").read_text()
    without, _, more = page.partition("yields verdicts for these ")[2].partition(
        "With a callback receiver (below) there are "
    )
    ids = r"S[A-Z]-[0-9]{2}"
    assert seen == set(re.findall(ids, without)) | set(re.findall(ids, more.partition("Against the real")[0]))
    assert KEY not in (tmp_path / "history.jsonl").read_text()


def test_a_service_that_never_calls_back_fails_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver was there, and nothing came within the time that it is given."""
    monkeypatch.setattr("kling_contract.driving.drivers.real._ARRIVES", 0.3)
    with Service(Behaviour(work=0.2)) as service:
        result = paid(service, free_port(), "--report", str(tmp_path))
    report = json.loads((tmp_path / "report.json").read_text())
    by_id = {rule["id"]: rule["verdict"] for rule in report["rules"]}
    assert by_id["SC-01"] == "fail", result.output
