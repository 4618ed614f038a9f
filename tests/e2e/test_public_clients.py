"""Small clients in the manner of public ones, untouched: other models, field sets, languages, link checks, the files API."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kling_contract.cli.main import cli

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).parent / "clients"
CLIENTS = {
    "text_urllib.py": [sys.executable],
    "reference_requests.py": [sys.executable],
    "upload_first.py": [sys.executable],
    "frame_fetch.mjs": ["node"],
    "motion_https.cjs": ["node"],
    "turbo.sh": ["bash"],
    "no_environment.py": [sys.executable],
    "edit_fetch.mjs": ["node"],
    "wan.sh": ["sh"],
}
EACH = pytest.mark.parametrize("name", CLIENTS)


@EACH
def test_it_runs_as_it_is(name: str, tmp_path: Path) -> None:
    """Led to the fake by `exec --impersonate`, it makes its video."""
    out = tmp_path / "video.mp4"
    serve = [
        sys.executable,
        "-m",
        "kling_mock",
        "exec",
        "--impersonate",
        "--videos",
        "tiny",
        "--scenario",
        "poll-paced",
    ]
    command = [*serve, "--", *CLIENTS[name], str(FOLDER / name), str(out)]
    done = subprocess.run(
        command, env={**os.environ, "POLL": "0.05"}, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert out.read_bytes()[4:8] == b"ftyp"


@EACH
def test_the_lab_judges_it(name: str, tmp_path: Path) -> None:
    """By the file of the model that it sends: its key, its create and its download are judged, and are fine."""
    rules = "CQ-01,CQ-02,CQ-08,CQ-09,CP-01,CD-01"
    options = [
        "--impersonate",
        "--story",
        "happy",
        "--story",
        "long",
        "--only",
        rules,
        "--min-poll",
        "0.3",
        "--deadline",
        "40",
    ]
    words = ["env", "POLL=0.4", *CLIENTS[name], str(FOLDER / name), "{out}"]
    result = CliRunner().invoke(
        cli, ["client", *options, "--report", str(tmp_path), "--", *words], standalone_mode=False
    )

    assert result.return_value == 0, result.output
    assert "6 pass" in result.output, result.output


@pytest.mark.parametrize("name", ["turbo.sh", "no_environment.py"])
def test_drawn_stories_are_played_to_it(name: str, tmp_path: Path) -> None:
    """With the service's address built in it is led to the scripted server too, and its video comes from there."""
    words = [*CLIENTS[name], str(FOLDER / name), "{out}"]
    options = ["--impersonate", "--drawn", "2", "--seed", "4", "--min-poll", "1", "--report", str(tmp_path)]
    result = CliRunner().invoke(cli, ["client", *options, "--", *words], standalone_mode=False)

    assert result.return_value == 0, result.output
    assert "2 drawn stories (seed 4): nothing is wrong" in result.output


def test_a_function_has_no_host_names(tmp_path: Path) -> None:
    """In a process there is nothing to lead anywhere."""
    options = ["--in-process", "kling_client:generate", "--impersonate", "--report", str(tmp_path)]
    result = CliRunner().invoke(cli, ["client", *options], standalone_mode=False)

    assert "--impersonate goes with" in str(result.exception)
