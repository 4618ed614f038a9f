"""What users may import: these names and no others; a change here is a change of the public interface."""

import importlib
import subprocess
import sys

import pytest

PUBLIC = {
    "kling_mock": {"BadSetting", "ContractError", "Settings", "__version__", "create_app"},
    "kling_mock.testing": {
        "Attempt",
        "Delivery",
        "Event",
        "HttpsReceiver",
        "KlingMock",
        "Link",
        "ManualClock",
        "MockError",
        "Outcome",
        "SharedFake",
        "Status",
        "Task",
    },
    "kling_contract": {"HistoryError", "Result", "Run", "SetupError", "Verdict", "judge"},
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    """Each listed name can be had, and the list is the package's own."""
    module = importlib.import_module(package)

    assert set(module.__all__) == PUBLIC[package]
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize("package", PUBLIC)
def test_other_names_are_not_there(package: str) -> None:
    """A name that does not exist is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = importlib.import_module(package).no_such_name


@pytest.mark.parametrize(
    ("start", "heavy"),
    [
        (
            "from kling_mock.cli.main import main; sys.argv = ['kling-mock', '--help']; main()",
            {"pydantic", "flask", "yaml"},
        ),
        (
            "import kling_mock, kling_mock.testing, kling_mock.testing.pytest_plugin",
            {"pydantic", "flask", "yaml", "requests"},
        ),
        (
            "import kling_contract, kling_contract.testing.pytest_plugin",
            {"schemathesis", "jsonschema_rs", "yaml", "requests"},
        ),
        ("import kling_client", {"requests", "click", "jsonschema_rs", "logging"}),
    ],
)
def test_what_only_helps_or_loads_imports_little(start: str, heavy: set[str]) -> None:
    """Help, and plugins in a run that does not use them, leave the expensive libraries alone."""
    code = f"import atexit, sys; atexit.register(lambda: print('loaded', *sorted(sys.modules))); {start}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    loaded = set(done.stdout.rpartition("loaded ")[2].split())
    assert loaded & {"click", "pytest", "kling_client"}, done.stderr
    assert not heavy & loaded
