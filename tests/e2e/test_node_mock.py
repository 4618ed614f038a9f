"""The npm package that starts the fake: its own tests, its examples under node:test and vitest, and a consumer of the tarball."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # npm installs, and may fetch first

ROOT = Path(__file__).parent.parent.parent


def test_the_package_starts_and_steers_the_fake() -> None:
    """Types hold, examples run, and whoever installs the packed package sees no warning."""
    assert shutil.which("npm"), "scripts/setup-system installs Node and npm"
    done = subprocess.run(
        [str(ROOT / "scripts" / "test-node-mock")], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a consumer sees 0 tasks" in done.stdout
