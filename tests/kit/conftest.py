"""Lets the tests of this folder import `standin` by name: under --import-mode=importlib a test sees no siblings."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def plain() -> Iterator[Any]:
    """One stand-in with default liberties, shared by tests that only look."""
    from standin import StandIn
    from standin_calls import FAST

    with StandIn(**FAST, keys=("sk-a", "sk-b"), denied_keys=("sk-denied",)) as server:
        yield server
