"""CI: the Action and the templates hold to the schemas of both systems, and the Action's scripts do their work on this machine."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
ACTION = ROOT / "action"
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "action/action.yml"),
        ("vendor.github-workflows", "action/examples/github.yml"),
        ("vendor.gitlab-ci", "action/gitlab.yml"),
        ("vendor.gitlab-ci", "action/examples/gitlab.yml"),
        ("vendor.compose-spec", "docker-compose.yml"),
    ],
)
def test_files_hold_to_the_schema_of_their_system(schema: str, file: str) -> None:
    """Checked with the schemas that check-jsonschema ships, without a network."""
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", schema]
    if "gitlab" in schema:
        command += ["--data-transform", "gitlab-ci"]
    done = subprocess.run([*command, str(ROOT / file)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_input_of_an_example_is_one_of_the_action() -> None:
    """And every script that a step names is there and can be run."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    jobs = yaml.safe_load((ACTION / "examples" / "github.yml").read_text())["jobs"].values()
    given = {name for job in jobs for step in job["steps"] for name in step.get("with", {})}
    assert given <= set(action["inputs"])
    for step in action["runs"]["steps"]:
        if "run" in step:
            script = ACTION / step["run"].strip('"').rpartition("/")[2]
            assert os.access(script, os.X_OK), script


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The environment of a step, with this environment's commands on PATH."""
    files = {name: str(tmp_path / name) for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in files.values():
        Path(path).touch()
    temp = tmp_path / "temp"
    temp.mkdir()
    return {**os.environ, **files, "RUNNER_TEMP": str(temp), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def step(name: str, runner: dict[str, str], folder: Path, **variables: str) -> Any:
    """One script of the Action, as a step runs it."""
    return subprocess.run(
        [str(ACTION / name)],
        env={**runner, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_fake_serves_the_rest_of_a_job(runner: dict[str, str], tmp_path: Path) -> None:
    """Later steps find its address; it still responds when the step has ended."""
    done = step("serve", runner, tmp_path, OPTIONS="--clock manual --images offline", KLING_API_KEY="sk-job")
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(line.split("=", 1) for line in Path(runner["GITHUB_ENV"]).read_text().splitlines())
    ready = json.loads((Path(runner["RUNNER_TEMP"]) / "kling-mock.ready").read_text())
    try:
        assert requests.get(f"{found['KLING_CONTROL_URL']}/clock", timeout=60).json()["mode"] == "manual"
        assert found["KLING_API_KEY"] == found["EVOLINK_API_KEY"] == "sk-job"
        assert f"url={found['KLING_BASE_URL']}" in Path(runner["GITHUB_OUTPUT"]).read_text()
    finally:
        os.kill(ready["pid"], signal.SIGTERM)


def test_a_fake_that_does_not_start_fails_the_step(runner: dict[str, str], tmp_path: Path) -> None:
    """With its own line as an annotation."""
    done = step("serve", runner, tmp_path, OPTIONS="--clock fast")
    assert done.returncode == 2
    assert "::error title=kling-mock did not start::" in done.stdout
    assert "--clock fast" in done.stdout


def test_a_broken_rule_is_an_annotation_and_a_summary(runner: dict[str, str], tmp_path: Path) -> None:
    """A recording with a wrong status: the report, the summary, the annotation and the exit code."""
    entry = {
        "startedDateTime": "2025-09-06T14:42:23.000Z",
        "time": 5,
        "request": {
            "method": "POST",
            "url": "https://api.evolink.ai/v1/videos/generations",
            "httpVersion": "HTTP/1.1",
            "headers": [
                {"name": "authorization", "value": "Bearer sk-x"},
                {"name": "content-type", "value": "application/json"},
            ],
            "queryString": [],
            "cookies": [],
            "headersSize": -1,
            "bodySize": -1,
            "postData": {
                "mimeType": "application/json",
                "text": json.dumps(
                    {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.jpg"}
                ),
            },
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "content-type", "value": "text/plain"}],
            "cookies": [],
            "content": {"size": 2, "mimeType": "text/plain", "text": "ok"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 5, "receive": 0},
    }
    log = {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": [entry]}
    (tmp_path / "a run.har").write_text(json.dumps({"log": log}))

    done = step("judge", runner, tmp_path, MODE="check", TARGET="'a run.har'", REPORT="out")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "::error title=SW-03 (fail)::" in done.stdout
    assert "::warning title=SW-01 (warn)::" in done.stdout
    assert "SW-01" in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert (tmp_path / "out" / "junit.xml").exists()
