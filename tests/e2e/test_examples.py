"""The examples are run as their readers would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_webhook_retries(tmp_path: Path) -> None:
    """The pytest file for a webhook handler passes by itself, and fails when the handler files a video twice."""
    for content, code in (
        (source := (EXAMPLES / "test_webhook_retries.py").read_text(), 0),
        (source.replace("if call.json not in shelf", "if True"), 1),
    ):
        (tmp_path / "test_webhook_retries.py").write_text(content)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KLING_"))}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "kling_mock.testing.pytest_plugin",
                f"--basetemp={tmp_path / 'base'}",
                str(tmp_path),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
        assert done.returncode == code, done.stdout
