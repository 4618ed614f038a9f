"""The list of guards that `scripts/guards` takes out: each is where the list says, once, and its tests are there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent


GUARDS = [
    SimpleNamespace(**one)
    for one in yaml.safe_load(Path(__file__).with_name("guards.yaml").read_text(encoding="utf-8"))
]


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
