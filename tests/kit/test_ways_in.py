"""How a run of the kit starts: its libraries, its key, and addresses as people type them."""

import importlib.util

import click
import pytest

from kling_contract.cli.extras import require_kit
from kling_contract.cli.money import key_of
from kling_contract.driving.target import origin_of
from kling_contract.rules.verdicts import SetupError


def test_a_missing_extra_is_named_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries that are missing, and the command that brings them."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hypothesis" else found(name))
    with pytest.raises(
        SetupError, match=r"needs hypothesis, which the extra `kit` brings: pip install 'klingkit\[kit\]'"
    ):
        require_kit("judging a server")


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("127.0.0.1:4010", "http://127.0.0.1:4010"),
        ("localhost:4010/v1", "http://localhost:4010"),
        ("[::1]:4010", "http://[::1]:4010"),
        ("api.example", "https://api.example"),
        ("https://fake:4010/v1/", "https://fake:4010"),
        ("https://api.example/below", "https://api.example/below"),
    ],
)
def test_an_address_is_taken_as_it_is_typed(typed: str, origin: str) -> None:
    """Without a scheme: http on the loopback, https on any other machine, where a key must not travel in clear."""
    assert origin_of(typed) == origin


def test_the_key_comes_from_the_environment_or_is_ours_on_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an `again` line can be pasted; another machine's key is never guessed."""
    for name in ("KLING_API_KEY", "EVOLINK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert key_of("127.0.0.1:4010") == "sk-test"
    with pytest.raises(click.UsageError, match="set KLING_API_KEY"):
        key_of("https://api.example")
    monkeypatch.setenv("KLING_API_KEY", "sk-mine")
    assert key_of("https://api.example") == "sk-mine"
