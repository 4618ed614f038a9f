"""The list of guards that `scripts/guards` takes out: each is where the list says, once, and its tests are there."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def listed() -> Any:
    """The list, which is a script of its own."""
    spec = importlib.util.spec_from_file_location("guards", Path(__file__).with_name("guards.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["guards"] = module
    spec.loader.exec_module(module)
    return module


GUARDS = listed().GUARDS


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_where_the_list_says(guard: Any) -> None:
    """Its line stands in its file once, and is another one without it."""
    text = (ROOT / guard.file).read_text(encoding="utf-8")

    assert text.count(guard.old) == 1, guard.old
    assert guard.new not in (guard.old, "") or guard.old.strip()
    compile(text.replace(guard.old, guard.new), guard.file, "exec")
    assert all((ROOT / path).exists() for path in guard.tests.split())


def test_names_differ() -> None:
    """So that each can be asked for."""
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) > 80
