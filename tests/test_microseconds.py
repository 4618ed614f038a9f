"""The command that docs/speed.md's tables come from, tried on one call of each path."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "benchmarks" / "microseconds.py"


@pytest.mark.parametrize("more", [[], ["--steps"]], ids=["paths", "steps"])
def test_each_path_is_measured(more: list[str]) -> None:
    """It calls the server's own handlers over a connection in memory, which a change of the server can break."""
    command = [sys.executable, str(PROGRAM), "--calls", "1", "--blocks", "1", *more]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    for path in ("create: --images offline, any URL", "query", "list, a page of 20"):
        assert path in ended.stdout
    assert ended.stderr == ""
