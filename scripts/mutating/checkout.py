"""The checkout, and a copy of it in which faults can be planted."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("common", "openapi", "mock_server", "contract_tests", "clients/python")


def copy_checkout(copy: Path) -> None:
    """Copy what git knows of, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def environment(copy: Path) -> dict[str, str]:
    """Return an environment in which the modules of the copy come before those that are installed."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(copy / source) for source in SOURCES)}
