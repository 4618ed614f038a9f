"""What users may import: these names and no others; a change here is a change of the public interface."""

import importlib

import pytest

PUBLIC = {
    "kling_mock": {"BadSetting", "ContractError", "Settings", "__version__", "create_app"},
    "kling_mock.testing": {"HttpsReceiver", "KlingMock", "ManualClock", "MockError", "SharedFake"},
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
