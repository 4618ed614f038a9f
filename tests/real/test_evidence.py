"""Evidence: what a run against the service leaves behind, who may write it, and how pages point to it."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from runs import Ran, run
from standins.service import Behaviour, Service

from kling_contract.cli.commands.rules import command as rules_command
from kling_contract.cli.commands.server import command
from kling_contract.reading.contract import shipped
from kling_contract.reports import evidence
from kling_contract.rules.verdicts import SetupError
from kling_openapi import provenance
from kling_openapi import service as contract_document
from kling_openapi.evidence import BadEvidence, read_all

SERVICE = str(shipped().document["servers"][0]["url"])
KEPT = evidence.Kept("first", {"mode": "paid"})


@pytest.fixture(scope="module")
def paid() -> Ran:
    """A paid run, against a stand-in."""
    with Service(Behaviour(charges=1.5)) as service:
        return run(service, "paid", 2.0)


def written(paid: Ran, folder: Path, **changed: Any) -> Path:
    """The run as if it had been against the service."""
    return evidence.write(replace(paid.judged, target=SERVICE, **changed), KEPT, folder, shipped())


def test_a_run_against_anything_else_is_none(paid: Ran, tmp_path: Path) -> None:
    """Neither a stand-in nor a fake, whoever asks."""
    with pytest.raises(SetupError, match="is no evidence of the service"):
        evidence.write(paid.judged, KEPT, tmp_path, shipped())
    with pytest.raises(SetupError, match="mode fake is no evidence"):
        written(paid, tmp_path, mode="fake")
    with Service() as service:
        result = CliRunner().invoke(command, [service.url, "--api-key", "k", "--evidence", "x"], standalone_mode=False)
        assert "is no evidence" in str(result.exception)
        assert service.ledger.seen == []
    assert list(tmp_path.iterdir()) == []


def test_it_holds_plan_history_verdicts_hashes_and_versions(paid: Ran, tmp_path: Path) -> None:
    """And no key."""
    folder = written(paid, tmp_path)
    assert folder.name.endswith("-first")
    assert {path.name for path in folder.iterdir()} == {"evidence.json", "history.jsonl", "plan.json", "verdicts.json"}
    given = json.loads((folder / "evidence.json").read_text())
    assert {"date", "target", "mode", "contract", "kit", "python", "rules", "settings", "files"} <= set(given)
    assert "sk-real" not in "".join(path.read_text() for path in folder.iterdir())
    assert given["rules"]["SW-11"] == "confirms"
    assert given["settings"]["cancel_field"] == {"seen": True, "says": "confirms"}
    assert given["settings"]["minimum_credits"]["says"] == "contradicts"
    assert given["settings"]["usd_per_credit"]["says"] == "confirms"


def test_a_name_is_used_once_a_day(paid: Ran, tmp_path: Path) -> None:
    """Evidence is never written over."""
    written(paid, tmp_path)
    with pytest.raises(SetupError, match="there already"):
        written(paid, tmp_path)


def test_evidence_that_was_changed_is_refused(paid: Ran, tmp_path: Path) -> None:
    """By its hashes; and what is no evidence is one line."""
    folder = written(paid, tmp_path)
    with (folder / "history.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(BadEvidence, match=r"history.jsonl was changed"):
        read_all(tmp_path)
    (folder / "evidence.json").write_text("{}")
    with pytest.raises(BadEvidence, match="no evidence that can be read"):
        read_all(tmp_path)


def test_pages_point_to_it_with_its_date(paid: Ran, tmp_path: Path) -> None:
    """Rules and settings of grade S, C and A, each with what it says; those without say so."""
    written(paid, tmp_path)
    every = read_all(tmp_path)
    page = provenance.provenance_page(contract_document(), provenance.sentences(), every, {"SW-11": "S", "SW-18": "S"})
    assert f"| SW-11 | S | confirms {every[0].day.isoformat()} (`evidence/{every[0].name}`) |" in page
    assert "| SW-18 | S | none yet |" in page
    assert "contradicts" in next(line for line in page.splitlines() if line.startswith("| `minimum_credits`"))
    assert every[0].age(date(every[0].day.year + 1, 1, 1)).endswith("ago")


def test_the_rule_says_how_old_its_evidence_is(paid: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From ./evidence; none yet where there is none."""
    monkeypatch.chdir(tmp_path)
    none = CliRunner().invoke(rules_command, ["SW-11"], standalone_mode=False)
    assert "none yet" in none.output
    written(paid, tmp_path / "evidence")
    some = CliRunner().invoke(rules_command, ["SW-11"], standalone_mode=False)
    assert "confirms, today" in some.output


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "x" * 80])
def test_a_name_is_a_name(name: str) -> None:
    """It becomes a folder."""
    with pytest.raises(SetupError, match="--evidence"):
        evidence.check_name(name)


def test_the_projects_own_evidence_can_be_read() -> None:
    """Whatever is kept in this repository is whole."""
    read_all(Path(__file__).parents[2] / "evidence")
