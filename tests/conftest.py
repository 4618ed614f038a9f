"""What all tests share: properties are judged by what they find, never by how busy the machine is."""

import signal

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("house")


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a run in the background of a shell ignores it, and so would all its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give long tests an hour. Where workers share the tests, files with real processes come first: what is short fills the gaps."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(3600))
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("e2e")}
        items.sort(key=lambda item: item.path not in slow)
