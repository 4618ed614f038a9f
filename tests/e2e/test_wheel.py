"""The built wheel: in an environment of its own, in a project whose folders have the names of ours."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]

TEST = """
import importlib

def test_own_folders_are_found():
    for name in ("mock_server", "contract_tests", "openapi", "common", "clients", "tests"):
        assert importlib.import_module(name).MINE == name

def test_a_task(kling_mock, kling_clock, kling_receiver):
    import requests
    wanted = {
        "model": "kling-v3-turbo-image-to-video",
        "image_start": "https://image.test/1280x720.png",
        "callback_url": kling_receiver.url,
    }
    headers = {"Authorization": f"Bearer {kling_mock.api_key}"}
    requests.post(f"{kling_mock.url}/v1/videos/generations", json=wanted, headers=headers, timeout=60).raise_for_status()
    kling_clock.advance("10m")
    assert kling_receiver.calls[0].json["status"] == "completed"
"""


def run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in *folder* with nothing of this checkout in its environment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "KLING", "PYTHON", "COV"))
    }
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, ROOT, folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment that has the wheel and what it depends on, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    # A path file in a folder that a path file named is not read, so the editable installation stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install")
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, folder=folder)
    return folder / "bin"


def test_the_wheel_installs_our_names_alone(wheel: Path) -> None:
    """Every top-level name begins with kling, and what is no code is there as well."""
    names = {Path(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {name for name in names if not name.endswith(".dist-info")} == {
        "kling_client",
        "kling_common",
        "kling_contract",
        "kling_mock",
        "kling_openapi",
    }


def test_links_of_the_description_work_outside_the_repository(wheel: Path) -> None:
    """The package's description has no relative link."""
    with zipfile.ZipFile(wheel) as content:
        metadata = next(name for name in content.namelist() if name.endswith("/METADATA"))
        text = content.read(metadata).decode()

    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert not [link for link in links if not link.startswith(("https://", "#"))]


def test_a_project_with_folders_of_the_same_names(programs: Path, tmp_path: Path) -> None:
    """Its own packages are found, and the fixtures work."""
    for name in ("contract_tests", "openapi", "common", "clients", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"MINE = {name!r}\n")
    (tmp_path / "mock_server.py").write_text("MINE = 'mock_server'\n")
    (tmp_path / "test_mine.py").write_text(TEST)

    done = run(programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py", folder=tmp_path)

    assert "2 passed" in done.stdout


def test_the_package_is_the_wheels(programs: Path, tmp_path: Path) -> None:
    """Nothing is imported from the checkout, and the contract is inside the package."""
    code = "import kling_mock, kling_openapi; print(kling_mock.__file__); print(kling_openapi.SERVICE)"

    lines = run(programs / "python", "-c", code, folder=tmp_path).stdout.split()

    assert len(lines) == 2
    assert all(line.startswith(str(programs.parent)) for line in lines), lines


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("kling-mock", "--version"), "0.1.0"),
        (("kling-contract", "rules", "SC-08"), "SC-08"),
        (("kling", "--help"), "generate"),
    ],
)
def test_commands_run_from_another_folder(programs: Path, tmp_path: Path, words: tuple[str, ...], seen: str) -> None:
    """The three commands work wherever they are called."""
    program, *rest = words

    assert seen in run(programs / program, *rest, folder=tmp_path).stdout
