"""`kling-contract matrix`: several reports on one page, made from their report.json."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tape import BODY, CREATE, Tape

from kling_contract.cli.commands.matrix import command
from kling_contract.judging import again, judge_history
from kling_contract.reports import files, saved
from kling_contract.rules.verdicts import Choice, Run, SetupError


def run_of(*durations: int, folder: Path) -> Run:
    """A report in *folder* on a server that takes *durations*."""
    tape = Tape()
    for duration in durations:
        tape.create({"duration": duration})
    tape.call(
        "POST",
        CREATE,
        {**BODY, "quality": "4k"},
        status=400,
        answer={"error": {"code": "<b>", "message": "x", "type": "y"}},
    )
    run = judge_history(tape.events, Choice(), again("check", ["run.jsonl"]))
    files.write(run, folder)
    return run


def test_a_page_of_two_reports(tmp_path: Path) -> None:
    """A row for each run, the rule that only one of them breaks, and the paths where targets share a name."""
    good, bad = run_of(5, folder=tmp_path / "good"), run_of(2, folder=tmp_path / "bad")
    places = [str(tmp_path / "good"), str(tmp_path / "bad" / "report.json")]
    done = CliRunner().invoke(command, [*places, "--out", str(tmp_path / "side")], standalone_mode=False)

    assert (done.exception, done.return_value) == (None, 1), done.output
    html = (tmp_path / "side" / "report.html").read_text()
    assert html.count('href="#SV-08"') == 3  # a tile in each row, and the list of what needs doing
    for place, run in zip(places, (good, bad), strict=True):
        assert f"{run.target} ({place})" in html
    assert "<b>" not in html.partition("<main>")[2].replace("<b>{", "")


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """Verdicts, totals and the exit code survive; so does a rule that the rulebook no longer has."""
    written = run_of(2, folder=tmp_path)
    read = saved.read(tmp_path)

    assert (read.target, read.mode, read.exit, read.totals) == (written.target, written.mode, 1, written.totals)
    assert [(one.rule.id, one.result, one.seen) for one in read.verdicts] == [
        (one.rule.id, one.result, one.seen) for one in written.verdicts
    ]
    document = json.loads((tmp_path / "report.json").read_text())
    document["rules"][0]["id"] = "ZZ-99"
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert saved.read(tmp_path).verdicts[0].rule.id == "ZZ-99"


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"rules": 3}', '{"target": "", "mode": "", "rules": [{}]}', "\x00", "7"]
)
def test_what_is_no_report_is_one_line(text: str, tmp_path: Path) -> None:
    """Any other file is named, with what would write a right one."""
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(SetupError, match=r"report\.json: this is no report.json of the kit; `--report DIR`"):
        saved.read(path)
    with pytest.raises(SetupError, match="No such file or directory; `--report DIR`"):
        saved.read(tmp_path / "elsewhere")
