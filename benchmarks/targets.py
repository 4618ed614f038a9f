"""What is measured: the fake and its peers, each as a command that serves the two endpoints on a given port."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import KEY, QUERY, request_schema
from processes import free_port

HERE = Path(__file__).parent
CONFIGS = HERE / "peers"
MODULES = HERE / ".peers" / "node_modules"
TASK: dict[str, Any] = json.loads((CONFIGS / "task.json").read_text())
FAKE = "kling-mock serve --port {port} --quiet"
TEMPLATES: dict[str, dict[str, Any]] = {
    "wiremock-create": {
        "created": "{{now format='unix'}}",
        "id": "task-unified-{{now format='unix'}}-{{randomValue length=8 type='ALPHANUMERIC'}}",
        "task_info": TASK["task_info"] | {"video_duration": "{{jsonPath request.body '$.duration'}}"},
    },
    "wiremock-query": {"id": "{{request.pathSegments.[2]}}"},
}
BEARER = {"Authorization": f"Bearer {KEY}"}


class TargetError(RuntimeError):
    """A target cannot be started here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one target: the command, and a ``GET`` that answers 200 as soon as it is ready."""

    command: list[str]
    ready: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table. *launch* takes a free port, a folder for configuration, and the contract.

    A *compiled* target runs on a virtual machine that compiles while it serves, so it gets a longer warm-up.
    """

    name: str
    about: str
    launch: Callable[[int, Path, Mapping[str, Any]], Launch]
    compiled: bool = False


def fake(command: str) -> Target:
    """The fake, started with *command*, in which ``{port}`` stands for the port."""

    def launch(port: int, folder: Path, contract: Mapping[str, Any]) -> Launch:
        del folder, contract
        return Launch(program(command.format(port=port)), "/__mock/ready", {})

    return Target("kling-mock", "state, validation, progress; one worker", launch)


def program(command: str) -> list[str]:
    """*command* split, its program looked for next to this Python first, so that the virtual environment wins."""
    name, *rest = shlex.split(command)
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise TargetError(f"{name}: not found; install the project first")
    return [found, *rest]


def fill(name: str, contract: Mapping[str, Any]) -> str:
    """A file of ``peers/`` with the contract's request schema and the static task put where it asks for them."""
    text = (CONFIGS / name).read_text()
    values = {"@REQUEST_SCHEMA@": request_schema(contract), "@TASK@": TASK}
    for mark, value in values.items():
        text = text.replace(f'"{mark}"', json.dumps(value))
    return text


def installed(path: Path) -> Path:
    """*path*, an installed file of a peer.

    Raises:
        TargetError: it is not there.
    """
    if not path.exists():
        raise TargetError(f"{path.name}: not installed; run benchmarks/setup")
    return path


def wiremock(port: int, folder: Path, contract: Mapping[str, Any], templated: bool = False) -> Launch:
    """WireMock without its request journal: bearer and JSON Schema matched.

    Static answers, or *templated* ones with an id of their own that echo the request, as the row of peers.md had them.
    """
    jar = installed(MODULES / "wiremock/build/wiremock-standalone-3.13.2.jar")
    mappings = folder / "mappings"
    mappings.mkdir()
    for config in CONFIGS.glob("wiremock-*.json"):
        mapping = json.loads(fill(config.name, contract))
        if templated and config.stem in TEMPLATES:
            mapping["response"] |= {"jsonBody": TASK | TEMPLATES[config.stem], "transformers": ["response-template"]}
        (mappings / config.name).write_text(json.dumps(mapping))
    options = ["--port", str(port), "--bind-address", "127.0.0.1", "--root-dir", str(folder)]
    command = [*program("java"), "-jar", str(jar), *options, "--no-request-journal", "--disable-banner"]
    return Launch(command, QUERY + TASK["id"], BEARER)


def templated_wiremock(port: int, folder: Path, contract: Mapping[str, Any]) -> Launch:
    """WireMock with its template engine at work on every answer."""
    return wiremock(port, folder, contract, templated=True)


def prism(port: int, folder: Path, contract: Mapping[str, Any]) -> Launch:
    """Prism: static examples, bearer and body validated from an OpenAPI file."""
    document = folder / "prism.json"
    document.write_text(fill("prism.json", contract))
    script = str(installed(MODULES / "@stoplight/prism-cli/dist/index.js"))
    options = ["--host", "127.0.0.1", "--port", str(port), "--verboseLevel", "silent"]
    return Launch([*program("node"), script, "mock", str(document), *options], QUERY + TASK["id"], BEARER)


def mountebank(port: int, folder: Path, contract: Mapping[str, Any]) -> Launch:
    """mountebank: keeps tasks through an injected function; the few rules it checks are written in that function."""
    is_ready = {"predicates": [{"equals": {"path": "/ready"}}], "responses": [{"is": {"statusCode": 200}}]}
    respond = {"responses": [{"inject": fill("mountebank.js", contract)}]}
    imposter = {"port": port, "protocol": "http", "stubs": [is_ready, respond]}
    config = folder / "imposters.json"
    config.write_text(json.dumps({"imposters": [imposter]}))
    script = str(installed(MODULES / "mountebank/bin/mb"))
    options = ["--port", str(free_port()), "--host", "127.0.0.1", "--localOnly", "--allowInjection", "--noParse"]
    quiet = ["--loglevel", "error", "--nologfile", "--pidfile", str(folder / "mb.pid")]
    return Launch([*program("node"), script, "--configfile", str(config), *options, *quiet], "/ready", {})


PEERS = {
    "wiremock": Target("wiremock", "3.13.2, no journal; static", wiremock, compiled=True),
    "wiremock-templated": Target(
        "wiremock-templated", "3.13.2, no journal; own ids, echo", templated_wiremock, compiled=True
    ),
    "prism": Target("prism", "5.16.0; static", prism),
    "mountebank": Target("mountebank", "2.9.1, inject; keeps state", mountebank),
}
