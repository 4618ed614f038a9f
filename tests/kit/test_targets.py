"""Where a key may be sent: no scheme is http on this machine and https for any other, and plain http off it is asked for."""

import pytest

from kling_contract.driving.target import Asked, origin_of
from kling_contract.rules.verdicts import SetupError


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("127.0.0.1:4010", "http://127.0.0.1:4010"),
        ("localhost:4010/", "http://localhost:4010"),
        ("[::1]:4010", "http://[::1]:4010"),
        ("api.vendor.example", "https://api.vendor.example"),
        ("api.vendor.example:8443/kling", "https://api.vendor.example:8443/kling"),
        ("localhost.vendor.example", "https://localhost.vendor.example"),
        ("10.0.0.5:4010", "https://10.0.0.5:4010"),
        ("http://127.0.0.1:4010", "http://127.0.0.1:4010"),
        ("https://api.vendor.example", "https://api.vendor.example"),
    ],
)
def test_the_scheme_follows_from_the_host(url: str, base: str) -> None:
    """And one that is given stays."""
    assert origin_of(url) == base


@pytest.mark.parametrize(
    "url", ["http://api.vendor.example", "http://10.0.0.5:4010", "http://0.0.0.0:4010", "HTTP://mock:4010"]
)
def test_no_key_in_clear_to_another_machine(url: str) -> None:
    """One line before anything is sent; the option says otherwise."""
    with pytest.raises(SetupError, match=r"would show the key to the network; use https, or --allow-http"):
        _ = Asked(url=url, key="sk-a").base
    with pytest.raises(SetupError, match=r"the network; use https$"):
        origin_of(url)

    assert Asked(url=url, key="sk-a", allow_http=True).base == url


@pytest.mark.parametrize(
    "url", ["ftp://x", "", "://", "https://", "http://[", "https://u:p@x.example", "https://x.example?k=1"]
)
def test_what_is_no_target(url: str) -> None:
    """One line."""
    with pytest.raises(SetupError):
        origin_of(url)
