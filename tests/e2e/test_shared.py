"""The profiles `shared` and `contract` of docker-compose.yml by hand: the same commands and files, as processes of this machine."""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "store"))

from cluster import Cluster, free_port  # noqa: E402 - found by the line above

from kling_mock import clock as clocks  # noqa: E402

pytestmark = pytest.mark.e2e

_PATIENCE = 120.0
_PROGRAMS = {
    "kling-mock": [sys.executable, "-m", "kling_mock"],
    "kling-contract": [sys.executable, "-c", "from kling_contract.cli.main import main; main()"],
}


@dataclass(frozen=True)
class Deployment:
    """What runs: the origin of nginx, the token, and the compose file that it was started from."""

    url: str
    token: str
    services: dict[str, Any]


def _services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def _value(text: str) -> str:
    """*text* with each variable by its default."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def _start(held: ExitStack, command: list[str], environment: dict[str, str], log: Path) -> None:
    """Run *command* until the stack closes."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("KLING_")}
    with log.open("a") as errors:
        process = subprocess.Popen(command, env={**own, **environment}, stdout=errors, stderr=errors)
    held.callback(process.wait, 30)
    held.callback(process.terminate)


def _await(url: str, log: Path, header: str = "") -> None:
    """Return once a GET of *url*, with one *header*, is a 200."""
    until = clocks.monotonic() + _PATIENCE
    request = urllib.request.Request(url, headers=dict([header.split(": ")]) if header else {})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                assert response.status == 200
                return
        except OSError:
            assert clocks.monotonic() < until, log.read_text()
            clocks.pause(0.1)


def _nginx(held: ExitStack, folder: Path, webs: list[int]) -> str:
    """Run nginx with the shipped file: its port, the names of replicas and the folder for what it writes are this machine's."""
    port = free_port()
    text = (ROOT / "examples" / "shared" / "nginx.conf").read_text()
    for found, replaced in (
        ("server web:4010 max_fails=0;", " ".join(f"server 127.0.0.1:{web} max_fails=0;" for web in webs)),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        (" /tmp/", f" {folder}/"),
    ):
        assert found in text
        text = text.replace(found, replaced)
    conf = folder / "nginx.conf"
    conf.write_text(text)
    _start(held, ["nginx", "-p", str(folder), "-c", str(conf), "-g", "daemon off;"], {}, folder / "nginx.log")
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A PostgreSQL, the replicas of `web` and `courier`, and nginx in front of them."""
    services, folder = _services(), tmp_path_factory.mktemp("shared")
    log = folder / "log"
    with ExitStack() as held:
        store = held.enter_context(Cluster()).database()
        webs = []
        for name in ("web", "courier"):
            service = services[name]
            environment = {name: _value(value) for name, value in service["environment"].items()}
            assert environment["KLING_MOCK_STORE"].endswith("@db/kling")
            environment["KLING_MOCK_STORE"] = store
            for _ in range(service["deploy"]["replicas"]):
                port = free_port()
                webs += [port] if name == "web" else []
                place = {"KLING_MOCK_PORT": str(port)} if name == "web" else {}
                _start(held, [*_PROGRAMS["kling-mock"], *service["command"]], {**environment, **place}, log)
        for port in webs:
            _await(f"http://127.0.0.1:{port}/__mock/ready", log)
        url = _nginx(held, folder, webs)
        *_, header, ready = services["gateway"]["healthcheck"]["test"]
        _await(url + ready.partition(":8080")[2], folder / "nginx.log", _value(header))
        yield Deployment(url, _value(services["web"]["environment"]["KLING_MOCK_ADMIN_TOKEN"]), services)


def _kit(
    arguments: list[str], environment: dict[str, str], report: Path
) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Run the kit; return how it ended and its report."""
    command = [*_PROGRAMS["kling-contract"], *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=900, check=False
    )
    found = report / "report.json"
    return done, orjson.loads(found.read_bytes()) if found.exists() else {}


@pytest.mark.parametrize(
    ("more", "least"), [(["--quick"], 100), pytest.param([], 130, marks=pytest.mark.long)], ids=["quick", "whole"]
)
def test_the_kit_passes_through_nginx(deployment: Deployment, tmp_path: Path, more: list[str], least: int) -> None:
    """The server kit, with the command of the profile `contract`: no rule is broken or left undecided."""
    service = deployment.services["shared-contract"]
    places = {"http://gateway:8080": deployment.url, "shared-contract:9000": "127.0.0.1:0", "/report": str(tmp_path)}
    environment = {name: _value(value) for name, value in service["environment"].items()}
    assert environment["KLING_CONTRACT_CONTROL_TOKEN"] == deployment.token
    done, report = _kit([*(places.get(word, word) for word in service["command"]), *more], environment, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    passed = [rule["id"] for rule in report["rules"] if rule["verdict"] == "pass"]
    others = {rule["id"]: rule for rule in report["rules"] if rule["verdict"] != "pass"}
    assert not [rule for rule in others.values() if rule["verdict"] != "not-run"], done.stdout  # those of clients
    assert len(passed) > least, others


SOME = ("happy", "lost-reply", "killed", "read-429", "link-cut", "webhook", "webhook-failed", "failed")


@pytest.mark.parametrize(
    ("stories", "least"), [(SOME, 25), pytest.param((), 50, marks=pytest.mark.long)], ids=["some", "every story"]
)
def test_the_lab_passes_through_nginx(
    deployment: Deployment, tmp_path: Path, stories: tuple[str, ...], least: int
) -> None:
    """The reference client in stories of the lab, against the same processes."""
    client = [sys.executable, "-m", "kling_client", "generate", "{image}", "--out", "{out}", "--min-poll", "0.2"]
    client += ["--deadline", "{deadline}", "--callback-url", "{callback_url}"]
    options = ["--fake", deployment.url, "--control-token", deployment.token, "--report", str(tmp_path)]
    options += [word for story in stories for word in ("--story", story)]
    done, report = _kit(["client", *options, "--", *client], {}, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [rule["verdict"] for rule in report["rules"]]
    assert verdicts.count("pass") > least
    assert "fail" not in verdicts
