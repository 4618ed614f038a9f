"""What every driver sends, call by call: a driver that silently stops sending something, or sends it at another moment, is found here."""

from collections.abc import Iterator

import driven
import pytest

from kling_mock.serving.process import Running


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    """The fake in a process of its own; its URL."""
    with Running() as running:
        yield running.url


@pytest.mark.parametrize("name", driven.names())
def test_what_is_sent_is_as_it_was_read(name: str, fake: str) -> None:
    """
    As `driven.txt` has it. Where a driver changed on purpose, `scripts/findings` writes it anew: read the difference.
    """
    assert driven.block(name, fake).splitlines() == driven.kept()[name].splitlines()


def test_nothing_else_is_kept() -> None:
    """
    Each block of the file is one that is held.
    """
    assert set(driven.kept()) == set(driven.names())
