"""The report on a phone: sentences take the width, diagrams scroll by themselves, the legend explains each word that is used."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from playwright.sync_api import sync_playwright

from kling_mock.serving.process import Running

pytestmark = pytest.mark.e2e
KLING_CONTRACT = str(Path(sys.executable).with_name("kling-contract"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a short recording, made by the fake."""
    folder = tmp_path_factory.mktemp("phone")
    with Running(["--clock", "manual"]) as fake:
        body = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.jpg"}
        headers = {"authorization": "Bearer sk-phone"}
        requests.post(f"{fake.url}/v1/videos/generations", json=body, headers=headers, timeout=60)
        har = requests.get(f"{fake.url}/__mock/journal.har", timeout=60).json()
    (folder / "run.har").write_text(json.dumps(har))
    command = [KLING_CONTRACT, "check", str(folder / "run.har"), "--report", str(folder / "report")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr
    return folder / "report" / "report.html"


def test_it_is_readable_at_400_pixels(report: Path) -> None:
    """No sideways scrolling, no sentence in a narrow column, a diagram as large as on a desk, in a box that scrolls."""
    chromium = shutil.which("chromium")
    assert chromium, "scripts/setup-system installs Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        for name in ("rules.html", "report.html"):
            page.goto(report.with_name(name).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
        widths = page.evaluate(
            "[...document.querySelectorAll('.rule > summary > :nth-child(3)')]"
            ".map(one => one.clientWidth || one.getBoundingClientRect().width)"
        )
        assert min(widths) > 250
        drawn = page.evaluate(
            "(() => { const box = document.querySelector('.scroll'); box.closest('details').open = true;"
            " return [box.clientWidth, box.querySelector('svg').getBoundingClientRect().width]; })()"
        )
        assert drawn[0] <= 400 < drawn[1]
        browser.close()


def test_what_was_not_run_says_what_would_run_it(report: Path) -> None:
    """Each word of the report has its place in the legend; a rule that was not run names the command that runs it."""
    text = report.read_text()
    assert "What the words mean" in text
    assert "<dt>would run</dt><dd>a fake: kling-contract server URL" in text
    for word in ("grade D", "where R$", "MUST", "untestable"):
        assert f">{word}</dt>" in text
