"""The container files, without an engine: their structure, and their command lines against processes of this machine."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

import kling_openapi
from kling_mock.cli.main import cli
from kling_mock.serving.process import Running
from kling_mock.web.access import service_hosts

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml as data."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's stages, each a list of instruction and arguments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            if name == "FROM":
                found.append([])
            found[-1].append((name, rest.strip()))
    return found


def test_the_engine_accepts_it() -> None:
    """`docker compose config` where the plugin is there."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no `docker compose` on this machine")
    done = subprocess.run([docker, "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_up_starts_the_fake_alone_over_plain_http(compose: dict[str, Any]) -> None:
    """One service without a profile, at the usual port of this machine; what others write lands in folders of the host."""
    services = compose["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["mock"]
    assert services["mock"]["ports"] == ["127.0.0.1:4010:4010"]
    assert not {"KLING_MOCK_TLS", "KLING_MOCK_IMPERSONATE"} & set(services["mock"]["environment"])
    assert "./report:/report" in services["contract"]["volumes"]
    assert "./out:/out" in services["client"]["volumes"]


def test_the_mock_answers_to_every_name_of_the_service(compose: dict[str, Any]) -> None:
    """The aliases are the contract's hosts; the others find it there and nothing besides."""
    mock = compose["services"]["service"]
    assert tuple(mock["networks"]["inside"]["aliases"]) == service_hosts(kling_openapi.service())
    assert compose["networks"]["inside"] == {"internal": True}
    for name in ("contract", "client"):
        assert compose["services"][name]["networks"] == ["inside"]
        assert compose["services"][name]["depends_on"] == {"service": {"condition": "service_healthy"}}


def test_clients_get_the_authority_and_no_address(compose: dict[str, Any]) -> None:
    """The client is unmodified: it is told whom to trust, never where the service is; keys of the authority stay with the mock."""
    for name in ("contract", "client"):
        service = compose["services"][name]
        assert not {key for key in service["environment"] if key.endswith(("BASE_URL", "PROXY"))}
        assert service["environment"]["SSL_CERT_FILE"] == "/trust/bundle.pem"
        assert "trust:/trust:ro" in service["volumes"]
        assert not any("authority" in volume for volume in service["volumes"])


def test_volumes_and_variables_are_real(compose: dict[str, Any]) -> None:
    """Every volume that is used is declared, and every KLING_MOCK variable is one that `serve` reads."""
    used = {volume.partition(":")[0] for one in compose["services"].values() for volume in one.get("volumes", ())}
    used = {name for name in used if not name.startswith("./")}
    assert used == set(compose["volumes"])
    known = {parameter.envvar for parameter in cli.commands["serve"].params if getattr(parameter, "envvar", None)}
    served = (compose["services"][name]["environment"] for name in ("mock", "service"))
    named = {name for environment in served for name in environment if name.startswith("KLING_MOCK_")}
    assert named <= known


def test_the_image_runs_as_nobody_special_and_says_how_it_is(stages: list[list[tuple[str, str]]]) -> None:
    """Pinned base, numeric user, health check, exposed ports, exec form, nothing fetched by ADD."""
    final = dict(stages[-1])
    assert final["USER"].isdigit()
    assert int(final["USER"]) > 0
    assert final["EXPOSE"].split() == ["4010", "443"]
    assert final["HEALTHCHECK"].endswith('CMD ["python", "-m", "kling_mock.serving.healthcheck"]')
    for stage in stages:
        assert not any(name == "ADD" for name, _ in stage)
        for name, rest in stage:
            if name in ("ENTRYPOINT", "CMD"):
                assert json.loads(rest)
    assert stages[0][0] == ("FROM", "python:3.12.12-slim-bookworm AS wheel")


def test_what_the_image_copies_is_there(stages: list[list[tuple[str, str]]]) -> None:
    """Each COPY source exists and passes .dockerignore; all that the wheel is made of is copied."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = {
        source
        for stage in stages
        for name, rest in stage
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source
    assert {"pyproject.toml", "common", "openapi", "mock_server", "contract_tests", "clients/python"} <= sources


@pytest.fixture
def mock(compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The mock as the compose file starts it, on a free port of this machine."""
    for name, value in compose["services"]["service"]["environment"].items():
        monkeypatch.setenv(name, _here(value, tmp_path))
    monkeypatch.delenv("KLING_MOCK_PORT")
    monkeypatch.setenv("KLING_MOCK_CLOCK", "x3600")
    with Running(home=tmp_path / "authority") as running:
        yield running


def _here(text: str, folder: Path) -> str:
    """*text* with the container's folders replaced, and a variable by its default."""
    for name in ("trust", "out", "report"):
        text = text.replace(f"/{name}", f"{folder}/{name}") if text.startswith(f"/{name}") else text
    text = text.replace("contract:9000", "127.0.0.1:0")
    return text.partition(":-")[2].rstrip("}") if text.startswith("${") else text


def _run(service: dict[str, Any], command: list[str], mock: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    """A service's command line with its environment; the fence of `exec --impersonate` stands in for the network and its aliases."""
    for name in ("out", "report"):
        (folder / name).mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KLING_")}
    environment |= {name: _here(value, folder) for name, value in service["environment"].items()}
    fence = mock.variables("sk-unused", os.environ)
    names = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "PYTHONPATH", "KLING_MOCK_ROUTES")
    environment |= {name: fence[name] for name in names}
    environment["KLING_MIN_POLL"] = "0.1"  # the clock is sixty times as fast as in the compose file
    return subprocess.run(
        [_here(part, folder) for part in command], capture_output=True, text=True, timeout=55, env=environment
    )


def test_the_client_makes_a_video_by_the_services_names(compose: dict[str, Any], mock: Any, tmp_path: Path) -> None:
    """The client's own command line, against the mock's: created, polled and downloaded under https://api.evolink.ai."""
    client = compose["services"]["client"]
    program = [sys.executable, "-m", "kling_client"] if client["entrypoint"] == ["kling"] else []
    done = _run(client, [*program, *client["command"]], mock, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_health_check_sees_the_mock(stages: list[list[tuple[str, str]]], mock: Any) -> None:
    """The image's own line: 0 while it serves, 1 where nobody does."""
    line = json.loads(dict(stages[-1])["HEALTHCHECK"].partition("CMD ")[2])
    for port, code in ((mock.url.rpartition(":")[2], 0), ("1", 1)):
        environment = {**os.environ, "KLING_MOCK_PORT": port, "KLING_MOCK_IMPERSONATE": "1"}
        done = subprocess.run([sys.executable, *line[1:]], capture_output=True, timeout=60, env=environment)
        assert done.returncode == code, done.stderr


def test_the_kits_command_line_writes_its_report(compose: dict[str, Any], mock: Any, tmp_path: Path) -> None:
    """The kit against the mock, by the service's name; the report lies where the volume is."""
    (program, *_) = [*entry_points(group="console_scripts", name="kling-contract"), None]
    if program is None:
        pytest.skip("this environment has no kling-contract")
    contract = compose["services"]["contract"]
    code = f"import sys; from {program.module} import {program.attr} as main; sys.exit(main())"
    done = _run(contract, [sys.executable, "-c", code, *contract["command"], "--quick"], mock, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report" / "report.json").exists()


def test_the_usage_in_the_compose_file_names_its_services(compose: dict[str, Any]) -> None:
    """The commands in its head are about services that exist."""
    head = [line for line in (ROOT / "docker-compose.yml").read_text().splitlines() if line.startswith("#   docker")]
    for line in head:
        words = shlex.split(line.lstrip("# ").partition("   ")[0])
        named = [word for word in words[2:] if not word.startswith("-") and word not in ("up", "run")]
        assert set(named) <= set(compose["services"]) | set().union(
            *(s.get("profiles", []) for s in compose["services"].values())
        )
