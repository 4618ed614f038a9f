"""Fixtures for the tests of an application: `kling_mock`, `kling_clock`, `kling_receiver`.

pytest loads this module wherever klingkit is installed, so it imports nothing until a fixture is asked for.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kling_mock.testing.fixtures import KlingMock, ManualClock, SharedFake
    from kling_mock.testing.receiver import HttpsReceiver


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's one setting."""
    parser.addini(
        "kling_mock_options", "Options of `kling-mock serve` for the fake that tests share.", type="args", default=[]
    )


@pytest.fixture(scope="session")
def kling_mock_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[SharedFake]":
    """The fake that all tests of a run share, the workers of pytest-xdist included; started for whoever asks first."""
    from kling_mock.testing.fixtures import SharedFake

    root = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        root = root.parent
    with SharedFake(root / "kling-mock", request.config.getini("kling_mock_options")) as shared:
        yield shared


@pytest.fixture
def kling_mock(kling_mock_server: "SharedFake", request: pytest.FixtureRequest) -> "KlingMock":
    """A fresh account at the fake: `url` and `api_key` for the application, control calls for the test.

    The key follows from the test's name, so that the same test gets the same ids and plans in every run.
    """
    return kling_mock_server.account(request.node.nodeid)


@pytest.fixture
def kling_environ(kling_mock: "KlingMock", monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The account in the environment of this process, until the test ends: for applications that read `KLING_BASE_URL` and its kin."""
    for name, value in kling_mock.environ.items():
        monkeypatch.setenv(name, value)
    return kling_mock.environ


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> "Generator[None, pytest.TestReport, pytest.TestReport]":
    """Print the journal of the test's account under a failed test."""
    report = yield
    account = getattr(item, "funcargs", {}).get("kling_mock")
    if report.failed and account is not None:
        from kling_mock.testing.fixtures import MockError

        with suppress(MockError):
            report.sections.append(("kling-mock: journal of this test", account.report() or "nothing happened"))
    return report


@pytest.fixture
def kling_clock(kling_mock: "KlingMock") -> "ManualClock":
    """The account's clock, stopped: only `advance("24h")` moves it, and returns when everything due on the way has happened."""
    from kling_mock.testing.fixtures import ManualClock

    return ManualClock(kling_mock)


@pytest.fixture
def kling_receiver(kling_mock: "KlingMock", kling_mock_server: "SharedFake") -> "Iterator[HttpsReceiver]":
    """A callback receiver behind a public-looking https `url`; it keeps each call and responds as the test sets it up."""
    from kling_mock.testing.receiver import HttpsReceiver

    with HttpsReceiver(kling_mock_server.certificate()) as receiver:
        kling_mock.relay(receiver.origin, receiver.address)
        yield receiver
