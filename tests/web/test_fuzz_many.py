"""A thousand drawn requests of the larger run (`scripts/fuzz`), and what it finds when the fake fails."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def fuzzing() -> Any:
    """The generator, which is a script of its own."""
    spec = importlib.util.spec_from_file_location("fuzzing", Path(__file__).parent.parent / "fuzzing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_fails_inside(fuzzing: Any) -> None:
    """Every status is a documented one, and everything can be shown afterwards."""
    fuzz = fuzzing.Fuzz()
    for number in range(1000):
        fuzz.throw(7, number)
    fuzz.show()
    fuzz.close()

    assert fuzz.failures == []
    assert {200, 400, 401, 403, 404, 405} <= set(fuzz.statuses)
    assert fuzz.statuses[200] > 100


def test_it_notices_a_failure(fuzzing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the guard of one route taken out, some of the same requests fail."""
    monkeypatch.setattr("kling_mock.web.control.Control.get_clock", lambda *_, **__: 1 / 0)
    fuzz = fuzzing.Fuzz()
    for number in range(400):
        fuzz.throw(7, number)
    fuzz.close()

    assert any("GET /__mock/clock: 500" in failure for failure in fuzz.failures)
