"""What `kling-mock serve` writes where: start lines on standard output, a line for each request on standard error."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest
import requests

pytestmark = pytest.mark.e2e

KLING_MOCK = str(Path(sys.executable).with_name("kling-mock"))


def served(*options: str) -> tuple[str, str]:
    """What a fake wrote to both streams while it refused one request."""
    command = [KLING_MOCK, "serve", "--port", "0", *options]
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        first = process.stdout.readline()
        url = json.loads(first)["url"] if first.startswith("{") else first.split()[-1]
        requests.get(f"{url}/v1/nothing", timeout=60)
        process.terminate()
        rest = process.stdout.read()  # not communicate(), which loses what readline() has buffered
        process.wait(timeout=60)
        errors.seek(0)
        return first + rest, errors.read()


def test_the_banner_names_what_a_user_asks_first() -> None:
    """Page, scenario, callbacks, relays, images and store; then the request's line, on the other stream."""
    relay = "https://hooks.example.com=http://127.0.0.1:9000"
    said, errors = served("--scenario", "failed code=service_error", "--relay", relay, "--images", "offline")
    assert "/__mock/" in said
    assert "scenario:  failed code=service_error" in said
    assert "callbacks: strict; relayed: https://hooks.example.com -> http://127.0.0.1:9000" in said
    assert "images:    offline" in said
    assert "store:     memory" in said
    assert "GET /v1/nothing  401" in errors
    assert "GET" not in said


def test_quiet_writes_no_lines() -> None:
    """Nothing on standard error."""
    assert served("--quiet")[1] == ""


def test_json_lines_and_a_json_ready_line() -> None:
    """Both streams are for programs then."""
    said, errors = served("--ready-json", "--json")
    assert json.loads(said)["url"].startswith("http://127.0.0.1:")
    assert json.loads(errors)["what"] == "GET /v1/nothing"
