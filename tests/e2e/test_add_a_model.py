"""The page's made-up model: one file, and the fake, the kit and a client work with it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import kling_openapi
from kling_contract.cli.main import cli
from kling_contract.mutants.proxy import Proxy
from kling_contract.mutants.serving import fake
from kling_contract.mutants.switches import shows
from kling_mock.app import create_app

pytestmark = pytest.mark.e2e

CLIENT = """
import json, os, sys, time, urllib.request

def call(method, path, body=None):
    request = urllib.request.Request(os.environ["KLING_BASE_URL"] + path, json.dumps(body).encode() if body else None, method=method)
    request.add_header("Authorization", "Bearer " + os.environ["KLING_API_KEY"])
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request, timeout=60))

task = call("POST", "/v1/videos/generations", {"model": "acme-dream", "prompt": "A dream", "length": LENGTH})
for _ in range(100):
    time.sleep(float(os.environ["KLING_MIN_POLL"]))
    shown = call("GET", "/v1/tasks/" + task["id"])
    if shown["status"] == "completed":
        with open(os.environ["KLING_OUT"], "wb") as out:
            out.write(urllib.request.urlopen(shown["results"][0], timeout=60).read())
        sys.exit(0)
sys.exit(1)
"""


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    """A folder with the model as the page shows it."""
    text = (kling_openapi.HERE / "add-a-model.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "acme-dream.yaml").write_text(shown, encoding="utf-8")
    return tmp_path


def test_the_fake_serves_it(folder: Path) -> None:
    """Created as the page says, priced, refused at its own fields, completed."""
    app = create_app(contract=folder / "acme-dream.yaml", clock="manual")
    client, key = app.test_client(), {"Authorization": "Bearer sk-a"}

    def create(**more: object) -> object:
        """The answer to a create."""
        body = {"model": "acme-dream", "prompt": "A dream", **more}
        return client.post("/v1/videos/generations", json=body, headers=key).json

    assert create(length=10)["error"]["param"] == "length"  # type: ignore[index]
    made = create(length=3, tier="large")
    assert made["usage"]["credits_reserved"] == 18  # type: ignore[index]
    assert "acme-dream" in {it["id"] for it in client.get("/v1/models", headers=key).json["data"]}
    client.post("/__mock/clock/advance", json={"seconds": 100}, headers=key)
    assert client.get(f"/v1/tasks/{made['id']}", headers=key).json["status"] == "completed"  # type: ignore[index]


def test_one_file_goes_through_the_fake_the_server_kit_and_a_client(folder: Path, tmp_path: Path) -> None:
    """A server of it is held to the file by the kit, another price is named, and a client gets its video from it."""
    file = folder / "acme-dream.yaml"
    asked = ["--contract", str(file), "--model", "acme-dream", "--quick", "--seed", "1"]
    (folder / "client.py").write_text(CLIENT.replace("LENGTH", "3"), encoding="utf-8")
    out = tmp_path / "dream.mp4"
    with fake(["--contract", str(file), "--clock", "x60"]) as url:
        judged = CliRunner().invoke(cli, ["server", url, *asked], standalone_mode=False)
        with Proxy(url, [shows(dearer)]) as broken:
            named = CliRunner().invoke(cli, ["server", broken.url, *asked, "--only", "SM-04"], standalone_mode=False)
        given = {"KLING_BASE_URL": url, "KLING_API_KEY": "sk-a", "KLING_MIN_POLL": "0.1", "KLING_OUT": str(out)}
        ran = subprocess.run(
            [sys.executable, folder / "client.py"], env={**os.environ, **given}, timeout=60, check=False
        )

    assert judged.return_value == 0, judged.output
    assert "acme-dream takes no image_start" in judged.output
    assert named.return_value == 1, named.output
    assert "credits reserved by the file of acme-dream" in named.output
    assert (ran.returncode, out.read_bytes()[4:8]) == (0, b"ftyp")


def dearer(task: dict[str, Any], _: object) -> None:
    """One credit more than the file says."""
    usage = task["usage"]
    task["usage"] = {**usage, "credits_reserved": usage["credits_reserved"] + 1}


@pytest.mark.parametrize(("length", "code", "words"), [(3, 0, "1 pass"), (10, 1, "length: 10 is greater")])
def test_the_lab_judges_a_client_of_it(folder: Path, length: int, code: int, words: str) -> None:
    """By its file: what the file takes is fine, what it refuses is named."""
    (folder / "client.py").write_text(CLIENT.replace("LENGTH", str(length)), encoding="utf-8")
    command = [
        "client",
        "--contract",
        str(folder),
        "--story",
        "happy",
        "--only",
        "CQ-08",
        "--min-poll",
        "0.1",
        "--report",
        str(folder / "r"),
    ]
    (folder / "models").mkdir()
    (folder / "acme-dream.yaml").rename(folder / "models" / "acme-dream.yaml")
    command[2] = str(folder / "models")
    result = CliRunner().invoke(cli, [*command, "--", sys.executable, str(folder / "client.py")], standalone_mode=False)

    assert result.return_value == code, result.output
    assert words in result.output
