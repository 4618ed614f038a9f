"""The image without an engine: the Dockerfile's own steps, done by hand in folders of this machine, then the container's own commands.

The wheel is made from what COPY names and nothing else, by the command of RUN; it goes into a new environment without the
checkout; the server is started by ENTRYPOINT and CMD with the variables of ENV, and asked by HEALTHCHECK. What differs: dependencies
are those that are installed here, so that no network is needed, and the port is a free one.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from kling_contract.serving import free_port

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
TOKEN = "only-in-this-test"
CREATE = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/1280x720.jpg", "duration": 3}


def steps(stage: str) -> list[tuple[str, str]]:
    """Instruction and arguments of one stage of the Dockerfile, in order."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append((word, rest.strip()))
    return found[stage]


def run(command: str, folder: Path, **variables: str) -> str:
    """Run a line of the Dockerfile in *folder*, with none of this test's own variables; return what it printed."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "KLING", "PYTHON", "COV"))
    }
    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, capture_output=True, text=True, timeout=300, env={**kept, **variables}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's Python: COPY and RUN of the stages `wheel`, `base` and `mock`."""
    root = tmp_path_factory.mktemp("image")
    source, wheels = root / "src", root / "wheels"
    source.mkdir()
    for name, rest in steps("wheel"):
        if name == "COPY":
            *copied, target = rest.split()
            for one in copied:
                where = source / target if target != "./" else source / one
                (shutil.copytree if (ROOT / one).is_dir() else shutil.copy)(ROOT / one, where)
        elif name == "RUN":
            pip = f"{shlex.quote(sys.executable)} -m pip"
            run(rest.replace("pip ", f"{pip} ", 1).replace("/wheels", str(wheels)) + " --no-build-isolation", source)
    folder = root / "python"
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.copy(ROOT / "constraints.txt", wheels)
    (line,) = [rest for name, rest in steps("mock") if name == "RUN"]
    install = line.partition(" && rm")[0].replace("/wheels", str(wheels))
    pip = f"{shlex.quote(sys.executable)} -m pip --python {folder}/bin/python"
    run(install.replace("pip ", f"{pip} ", 1) + " --no-deps --no-index --ignore-installed", root)
    return folder / "bin"


@pytest.fixture(scope="module")
def container(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The fake as the container starts it; gives the variables that it has."""
    home, last = tmp_path_factory.mktemp("home"), dict(steps("mock"))
    variables = {
        "KLING_MOCK_HOME": str(home),
        "KLING_MOCK_ADMIN_TOKEN": TOKEN,
        "PATH": f"{image}{os.pathsep}{os.environ['PATH']}",
    }
    for name, rest in (*steps("base"), *steps("mock")):
        if name == "ENV":
            variables |= {
                key: value
                for key, _, value in (pair.partition("=") for pair in shlex.split(rest))
                if key not in variables
            }
    variables["KLING_MOCK_PORT"] = str(free_port())
    command = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    log = (home / "log").open("wb")
    process = subprocess.Popen(command, cwd=home, env=variables, stdout=log, stderr=log)
    try:
        yield {**variables, "pid": str(process.pid)}
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, "SIGTERM ends it, as an engine's stop does"
        log.close()


def healthy(container: dict[str, str], image: Path) -> int:
    """The exit code of HEALTHCHECK's command."""
    line = json.loads(dict(steps("mock"))["HEALTHCHECK"].partition("CMD ")[2])
    return subprocess.run([str(image / line[0]), *line[1:]], env=container, capture_output=True, timeout=60).returncode


def test_it_becomes_healthy_and_makes_a_video(container: dict[str, str], image: Path) -> None:
    """The health check turns 0; a create through the published port works, and its link leads to where the caller is."""
    for _ in range(300):  # each asks with a process of its own, as an engine does
        if healthy(container, image) == 0:
            break
        os.kill(int(container["pid"]), 0)  # it has not ended
    url = f"http://127.0.0.1:{container['KLING_MOCK_PORT']}"
    headers = {"Authorization": "Bearer sk-image"}
    made = requests.post(f"{url}/v1/videos/generations", json=CREATE, headers=headers, timeout=60)
    assert made.status_code == 200, made.text
    run(f"kling-mock freeze --url {url} --admin-token {TOKEN} && kling-mock advance 10m --url {url} --admin-token {TOKEN}", image,
        PATH=container["PATH"])  # fmt: skip
    (link,) = requests.get(f"{url}/v1/tasks/{made.json()['id']}", headers=headers, timeout=60).json()["results"]
    assert link.startswith(f"{url}/files/")
    assert requests.get(link, timeout=120).content[4:8] == b"ftyp"


@pytest.mark.parametrize("stage", ["mock", "kit"])
def test_a_container_starts_from_compiled_files(stage: str, image: Path) -> None:
    """What is installed is compiled with it, and the step that compiles what a start needs of the standard library names real modules."""
    (line,) = [rest for name, rest in steps(stage) if name == "RUN"]
    modules = line.rpartition("import ")[2].rstrip('"').split(", ")

    assert "--no-compile" not in line
    assert "PYTHONDONTWRITEBYTECODE= python -c" in line
    run(f"./python -c 'import {', '.join(modules)}'", image)
    assert list((image.parent / "lib").glob("python*/site-packages/kling_mock/__pycache__/app.*.pyc"))


def test_nothing_of_the_checkout_is_in_it(image: Path) -> None:
    """The packages are those of the wheel, the contract and the page's files among them."""
    code = "import kling_mock, kling_openapi; print(kling_mock.__file__); print(kling_openapi.SERVICE)"
    lines = run(f"./python -c '{code}'", image).split()
    assert all(line.startswith(str(image.parent)) for line in lines), lines
