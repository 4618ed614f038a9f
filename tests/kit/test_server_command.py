"""`kling-contract server`: exit codes, reports, variables, and a rerun command that reproduces."""

import json
import re
import shlex
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import standin_checks
from click.testing import CliRunner, Result
from rich.console import Console
from standin import StandIn

from kling_contract.cli.commands.server import command
from kling_contract.cli.progress import shown_progress
from kling_contract.driving.drivers.run_context import Options
from kling_contract.driving.drivers.running import Wanted, make_history
from kling_contract.driving.parts import Parts, Progress
from kling_contract.driving.target import Asked
from kling_contract.rules.verdicts import Choice, SetupError

KEY = "sk-super-secret-0815"


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A stand-in that knows one account."""
    with StandIn(queue=0.03, run=0.05, keys=(KEY, "sk-second-4711")) as running:
        yield running


def run(*args: str, **env: str) -> Result:
    """The command with *args*; *env* without its prefix."""
    given = {f"KLING_CONTRACT_{name.upper()}": value for name, value in env.items()}
    return CliRunner().invoke(command, list(args), standalone_mode=False, env=given)


def quick(server: StandIn, *args: str) -> Result:
    """A quick run against it."""
    return run(server.url, "--api-key", KEY, "--quick", "--seed", "1", "--poll", "0.02", *args)


def test_a_correct_server_is_good(server: StandIn, tmp_path: Path) -> None:
    """Exit 0, every report file, and the key in none of them."""
    result = quick(server, "--second-key", "sk-second-4711", "--report", str(tmp_path))

    assert (result.exception, result.return_value) == (None, 0), result.output
    names = {"report.json", "junit.xml", "report.html", "summary.md", "badge.json", "history.jsonl"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text(), path.name
    assert KEY not in result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["mode"], report["seed"], report["exit"]) == ("fake", 1, 0)
    assert not any(rule["id"].startswith(("CQ", "CM", "CP", "CD", "CW")) for rule in report["rules"])


def test_a_broken_rule_is_named_and_its_command_reproduces_it(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of the list is the first cause; what stands behind `again` shows it once more, and only it."""
    monkeypatch.setattr(standin_checks, "DURATION_MAX", 16)
    result = quick(server)

    assert result.return_value == 1, result.output
    first = next(line for line in result.output.splitlines() if line.startswith("FAIL"))
    assert "SV-09" in first
    line = re.search(r"again +kling-contract server (.*SV-09.*)", result.output)[1]
    assert KEY not in line
    assert '--api-key "$KLING_API_KEY"' in line
    again = shlex.split(line.replace("$KLING_API_KEY", KEY))

    repeated = run(*again, api_key=KEY)
    assert repeated.return_value == 1, repeated.output
    assert len(re.findall("^FAIL", repeated.output, re.MULTILINE)) == 1


def test_again_repeats_what_was_given_and_names_variables_for_secrets(server: StandIn, tmp_path: Path) -> None:
    """Every option that a rerun needs, quoted for a shell and once each; no key, and no option that was not given."""
    known = tmp_path / "known failures.yaml"
    known.write_text("SV-08: they said they would fix it\n")
    result = quick(server, "--second-key", "sk-second-4711", "--known-failing", str(known), "--timeout", "20", "--strict",
                   "--max-usd", "1", "--only", "SV-08", "--report", str(tmp_path / "out"))  # fmt: skip

    (row,) = json.loads((tmp_path / "out" / "report.json").read_text())["rules"]
    words = shlex.split(row["rerun"])
    assert result.return_value == 1, result.output
    assert "sk-second-4711" not in row["rerun"]
    assert "$KLING_CONTRACT_SECOND_KEY" in words
    assert words[words.index("--known-failing") + 1] == str(known)
    assert words[words.index("--timeout") + 1] == "20.0"
    assert [words.count(name) for name in ("--max-usd", "--strict", "--callback-listen", "--mode")] == [1, 1, 0, 0]


def test_a_bar_shows_how_far_a_run_is_on_a_terminal_alone(server: StandIn) -> None:
    """Parts are planned and counted off; where no terminal is, nothing of it is printed."""
    heard: list[Progress] = []
    asked = Asked(url=server.url, key=KEY)
    options = Options(
        seed=1, quick=True, poll=0.02, parts=Parts(heard.append), scripts=frozenset({"refusals", "reading"})
    )
    make_history(Wanted(asked, options), Choice())

    assert {one.name for one in heard} == {"scripts", "refusals", "reading"}
    assert (heard[-1].done, heard[-1].planned) == (2, 2)
    shown, silent = (Console(file=StringIO(), force_terminal=terminal) for terminal in (True, False))
    for console in (shown, silent):
        with shown_progress(console) as parts:
            parts.plan("scripts", 3)
            parts.over("refusals")
    assert "1/3" in shown.file.getvalue()
    assert silent.file.getvalue().strip() == ""


def test_every_flag_has_a_variable(server: StandIn) -> None:
    """Flags win; without them the variables count."""
    result = run(server.url, api_key=KEY, quick="1", seed="7", only="SV-08", poll="0.02")
    assert (result.exception, result.return_value) == (None, 0), result.output
    assert "1 pass" in result.output


def test_known_failures(server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A listed breach is no news; a listed rule that holds is."""
    known = tmp_path / "known.yaml"
    known.write_text("SV-09: they said they would fix it\n")
    monkeypatch.setattr(standin_checks, "DURATION_MAX", 16)
    assert quick(server, "--only", "SV-09", "--known-failing", str(known)).return_value == 0
    monkeypatch.undo()
    assert quick(server, "--only", "SV-09", "--known-failing", str(known)).return_value == 1


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--only", "SV-99"], "no such rule: SV-99"),
        (["--features", "clock,magic"], "no such feature: magic"),
        (["--mode", "paid"], "--mode paid needs --max-usd"),
        (["--image", "https://image.test/10x10.png"], ""),
    ],
)
def test_usage_is_judged_before_anything_is_sent(server: StandIn, args: list[str], line: str) -> None:
    """One line each, exit code 2 of the command line."""
    result = quick(server, *args)
    if line:
        assert isinstance(result.exception, SetupError)
        assert line in str(result.exception)
        assert not server.ledger_rows()
    else:
        assert result.return_value in (0, 1)


def test_a_target_that_draws_nothing_needs_an_image() -> None:
    """Without the drawing host the user names a first frame."""
    with StandIn(queue=0.03, run=0.05, keys=(KEY,), image_hosts=()) as running:
        result = quick(running)
    assert isinstance(result.exception, SetupError)
    assert "name another with --image" in str(result.exception)


def test_stopped_by_hand_is_still_reported(server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl-C ends the run, not the report."""
    from kling_contract.driving.drivers import plan

    real = plan.run

    def interrupted(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "run", interrupted)
    result = quick(server, "--only", "SA-01", "--report", str(tmp_path))
    assert result.return_value == 3, result.output
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("words", "variable"), [(("--debug",), ""), ((), "1")])
def test_a_traceback_on_demand(words: tuple[str, ...], variable: str, monkeypatch, capsys) -> None:
    """By option or by environment; the last line and the exit code stay, and without either there is no traceback."""
    from kling_contract.cli import main as command_line

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a seam burst")

    monkeypatch.setattr(command_line.cli, "main", broken)
    monkeypatch.setattr("sys.argv", ["kling-contract", *words, "rules"])
    monkeypatch.setenv("KLING_CONTRACT_DEBUG", variable)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    loud = capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["kling-contract", "rules"])
    monkeypatch.delenv("KLING_CONTRACT_DEBUG")
    with pytest.raises(SystemExit):
        command_line.main()
    quiet = capsys.readouterr().err
    assert ended.value.code == 2
    assert "Traceback" in loud
    assert "Traceback" not in quiet
    assert (
        loud.splitlines()[-1] == quiet.splitlines()[-1] == "kling-contract: the kit failed: RuntimeError: a seam burst"
    )


def test_a_folder_for_reports_that_cannot_be_made_is_found_out(server: StandIn, tmp_path: Path) -> None:
    """One line that names it, and exit code 2."""
    (tmp_path / "file").write_text("in the way")
    result = quick(server, "--only", "SA-06", "--report", str(tmp_path / "file" / "out"))

    assert str(result.exception).endswith(f"{tmp_path / 'file' / 'out'}: Not a directory")
    assert getattr(result.exception, "exit_code", 2) == 2
