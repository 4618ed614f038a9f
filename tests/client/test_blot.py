"""What a server says back: the key is in none of it, however the server has written it."""

import base64
from urllib.parse import quote

import pytest

from kling_client.transport import Bearer

KEY = "sk-live/cAnary+7f3b9d1eZx81q"


def packed(ahead: str, behind: str) -> str:
    """The key in base64, between other words."""
    return base64.b64encode(f"{ahead}{KEY}{behind}".encode()).decode()


@pytest.mark.parametrize("ahead", ["", "u", "u:", "us:"])
@pytest.mark.parametrize("behind", ["", "x", "xy", "xyz"])
def test_the_key_in_base64_is_blotted_out(ahead: str, behind: str) -> None:
    """At any place in a group of three bytes; too little is left of it to find the rest."""
    for text in (packed(ahead, behind), packed(ahead, behind).replace("+", "-").replace("/", "_")):
        said = Bearer(KEY).hide(f"you sent {text}!")
        assert "***" in said
        assert (
            len(said) < len("you sent !") + 3 + 2 * len("xxxx") + len(packed(ahead, behind)) - len(packed("", "")) + 4
        )


def test_other_spellings_and_short_keys() -> None:
    """Percent-encoded too; a placeholder of up to seven characters is no secret, and stays."""
    assert Bearer(KEY).hide(f"{KEY} {quote(KEY, safe='')}") == "*** ***"
    assert Bearer("abc").hide("abcdef") == "abcdef"
    assert Bearer("sk-test").hide("sk-testing") == "sk-testing"
    assert Bearer("sk-test1").hide("sk-test1ing") == "***ing"
