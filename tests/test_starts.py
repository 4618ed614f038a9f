"""What a start leaves alone: each program is run, does its first work, and says what it has imported. No clock is read."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from kling_common import VERSION, kept
from kling_mock.cli import scenario_page
from kling_mock.config import PARSED
from kling_mock.contract import Contract, unknown

PAGES = {"flask", "werkzeug", "jinja2"}
LATER = {
    "pydantic",
    "PIL",
    "av",
    "sqlalchemy",
    "prometheus_client",
    "trustme",
    "cryptography",
    "yaml",
    "http.client",
    "difflib",
    "requests",
    "rich",
}
"""What only some calls or options need."""
KEY = {"Authorization": "Bearer sk-test"}
TIMED = [sys.executable, "-X", "importtime", "-m"]


def imported(errors: str) -> set[str]:
    """The modules that a process run with `-X importtime` names on standard error, and the packages they are in."""
    lines = [line for line in errors.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip() for line in lines}
    return names | {name.partition(".")[0] for name in names}


class Started:
    """A fake as a process that says what it imports."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        with errors.open("w") as file:
            command = [*TIMED, "kling_mock", "serve", "--port", "0", "--ready-json", "--quiet"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    def status(self, method: str, path: str, headers: Mapping[str, str] = KEY) -> int:
        """The status of one call."""
        try:
            with urlopen(Request(f"{self.url}{path}", method=method, headers=dict(headers)), timeout=30) as response:
                return int(response.status)
        except HTTPError as error:
            return error.code

    def stop(self) -> None:
        """End it and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def imported(self) -> set[str]:
        """What it has imported up to now, in a file that is written as it goes."""
        return imported(self.errors.read_text())


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """A fake that has just said it is ready."""
    fake = Started(tmp_path / "errors")
    yield fake
    fake.stop()


def test_a_fake_that_is_asked_has_made_no_pages(started: Started) -> None:
    """A query and the calls that steer it are served without Flask, YAML and all that renders; a link that is not there brings Flask."""
    statuses = [
        started.status("GET", "/v1/tasks/task-unified-1-none"),
        started.status("GET", "/__mock/ready"),
        started.status("GET", "/__mock/info"),
        started.status("GET", "/v1/tasks"),
        started.status("POST", "/__mock/tasks/task-unified-1-none/cancel"),
        started.status("POST", "/__mock/reset"),
    ]
    early = started.imported()
    statuses.append(started.status("GET", "/files/no/such.mp4"))

    assert statuses == [404, 200, 200, 200, 404, 200, 404]
    assert "kling_mock.serving.edge" in early
    assert not (PAGES | LATER) & early
    assert started.imported() >= PAGES


def test_a_client_that_asks_has_not_read_yaml(started: Started) -> None:
    """The contract comes from its kept form; no server for callbacks is made."""
    command = [
        *TIMED,
        "kling_client",
        "status",
        "task-unified-1-none",
        "--base-url",
        started.url,
        "--api-key",
        "sk-test",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert "requests" in imported(done.stderr), done.stderr[-500:]
    assert not {"yaml", "rich", "wsgiref", "kling_mock"} & imported(done.stderr)


def test_what_is_kept_of_the_shipped_files_is_current() -> None:
    """`scripts/scenarios` has been run since one was changed."""
    assert PARSED.read_bytes() == scenario_page.parsed()


def test_a_file_that_was_changed_is_read_itself(tmp_path: Path) -> None:
    """What is kept is found by the text; a file that is missing or broken keeps nothing."""
    file = tmp_path / "parsed.json"
    assert kept.Kept(file).documents("a: 1") is None
    file.write_bytes(kept.written(["a: 1\n---\nb: [x]"]))

    assert kept.Kept(file).documents("a: 1\n---\nb: [x]") == [{"a": 1}, {"b": ["x"]}]
    assert kept.Kept(file).documents("a: 2") is None
    file.write_text("{")
    assert kept.Kept(file).documents("a: 1\n---\nb: [x]") is None


def test_what_json_cannot_hold_is_not_kept() -> None:
    """A number without end would come back as null."""
    with pytest.raises(ValueError, match="infinite"):
        kept.written(["a: .inf"])


def test_all_of_the_shipped_contract_is_known() -> None:
    """So that no start looks for it again while the files are as they were."""
    assert list(unknown(Contract().document)) == []


def test_the_version_is_the_distributions() -> None:
    """It stands in the code too."""
    assert f'\nversion = "{VERSION}"\n' in Path("pyproject.toml").read_text()
