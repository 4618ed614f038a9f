"""The HTML report in a real browser: it opens by itself, with no network, and shows each rule."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kling_mock.serving.process import Running

pytestmark = pytest.mark.e2e

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def rendered(page: Path, profile: Path) -> str:
    """The page's document after Chromium has run it."""
    chromium = shutil.which("chromium")
    assert chromium, "scripts/setup-system installs Chromium"
    command = [chromium, *QUIET, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def test_the_report_opens_in_a_browser(tmp_path: Path) -> None:
    """A run over the fake, opened in Chromium: the matrix, a rule's sentence, and nothing fetched from anywhere."""
    report = tmp_path / "report"
    with Running() as fake:
        kit = Path(sys.executable).with_name("kling-contract")
        command = [str(kit), "server", fake.url, "--api-key", "sk-page", "--quick", "--report", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    text = rendered(report / "report.html", tmp_path / "profile")

    assert "SW-01" in text
    assert "Every answer of /v1/* carries Content-Type application/json." in text
    assert 'src="http' not in text
    assert 'href="http' not in text or 'href="http://127.0.0.1' in text
