"""Which addresses outbound HTTP connects to: what a name leads to, what is not called, relays."""

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from outbound import HOST, LOOPBACK, failing, post, receiver, server_context, transport

from kling_common.targets import IPAddress, parse
from kling_common.transport import resolve_system
from kling_mock.core.callbacks import is_internal


def outside(ip: IPAddress) -> bool:
    """The strict judge."""
    return not is_internal(ip, ())


def test_a_name_that_turns_inside_is_blocked() -> None:
    """Rebinding: the address that counts is the one at connect time, and nothing is connected to (SC-16)."""
    answers = iter([[ip_address("8.8.8.8")], [LOOPBACK]])
    sender = transport(lambda host, port: next(answers), outside)

    with receiver() as server:
        url = f"http://{HOST}:{server.port}/"
        assert not sender.leads_inside(parse(url, ("http",)), timeout=5)
        outcome = post(sender, url)

    assert (outcome.kind, outcome.status) == ("blocked", None)
    assert server.connections == 0


def test_a_name_is_resolved_once_for_check_and_connect() -> None:
    """There is no second look-up that could give another answer."""
    asked: list[tuple[str, int]] = []

    def once(host: str, port: int) -> Sequence[IPAddress]:
        asked.append((host, port))
        return [LOOPBACK]

    with receiver() as server:
        outcome = post(transport(once), f"http://{HOST}:{server.port}/")

    assert outcome.kind == "2xx"
    assert asked == [(HOST, server.port)]


@pytest.mark.parametrize(
    "others", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], ["8.8.8.8", "64:ff9b::7f00:1"]]
)
def test_one_internal_answer_blocks_the_name(others: list[str]) -> None:
    """A mixed answer is no way in."""
    sender = transport(lambda host, port: [ip_address(text) for text in others], outside)

    assert post(sender, f"http://{HOST}/").kind == "blocked"
    assert sender.leads_inside(parse(f"http://{HOST}/", ("http",)), timeout=5)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433"])
def test_an_internal_literal_is_blocked_at_connect_too(host: str) -> None:
    """Whatever was let in at create, the connection is judged again."""
    sender = transport(allow=outside)

    assert post(sender, f"http://{host}:9/").kind == "blocked"
    assert sender.leads_inside(parse(f"http://{host}:9/", ("http",)), timeout=5)


@pytest.mark.parametrize(
    "resolve", [failing(socket.gaierror(-2, "unknown")), failing(UnicodeError("label")), lambda host, port: []]
)
def test_an_unknown_name_is_a_dns_failure(resolve: Callable[[str, int], Sequence[IPAddress]]) -> None:
    """No address, no call; at create such a name is not held against anybody."""
    sender = transport(resolve)

    assert post(sender, f"https://{HOST}/").kind == "dns"
    assert not sender.leads_inside(parse(f"https://{HOST}/", ("https",)), timeout=5)


@pytest.mark.parametrize("url", ["", "https://", "ftp://example.com/", "https://u:hunter2@example.com/", "http://a b/"])
def test_a_url_that_cannot_be_called_is_blocked(url: str) -> None:
    """Never an exception, and no secret in the detail."""
    outcome = post(transport(), url)

    assert outcome.kind == "blocked"
    assert "hunter2" not in outcome.detail


def test_a_closed_port_is_refused() -> None:
    """Nobody listens there any more."""
    with receiver() as server:
        port = server.port

    assert post(transport(), f"http://{HOST}:{port}/").detail == "the connection was refused"


def test_a_place_without_a_route_is_refused() -> None:
    """The system's own word is passed on; the broadcast address fails before anything leaves the machine."""
    outcome = post(transport(), "http://255.255.255.255:9/")

    assert outcome.kind == "refused"
    assert outcome.detail


def test_the_next_address_is_tried() -> None:
    """A name with a dead and a living address is reached."""
    addresses = [ip_address("127.0.0.2"), LOOPBACK]

    with receiver() as server:
        assert post(transport(lambda host, port: addresses), f"http://{HOST}:{server.port}/").kind == "2xx"


def test_a_relay_gets_what_the_public_place_would() -> None:
    """The user named the relay, so no address is checked and no name resolved; path, query and Host stay."""
    sender = transport(failing(RuntimeError("asked")), allow=lambda ip: False)

    with receiver() as server:
        outcome = post(sender, f"https://{HOST}/hook?x=1", relay=f"http://127.0.0.1:{server.port}")

    assert outcome.kind == "2xx"
    assert server.requests[0].startswith(f"POST /hook?x=1 HTTP/1.1\r\nHost: {HOST}\r\n".encode())


def test_an_https_relay_is_verified_by_its_own_name(authority: trustme.CA, ca_file: str) -> None:
    """The certificate is of the place that is called, not of the public one."""
    sender = transport(ca_file=ca_file)

    with receiver(context=server_context(authority, "localhost")) as server:
        good = post(sender, "https://public.example/", relay=f"https://localhost:{server.port}")
        bad = post(sender, "https://public.example/", relay=f"https://127.0.0.1:{server.port}")

    assert (good.kind, bad.kind) == ("2xx", "refused")
    assert bad.detail.startswith("tls: ")


def test_a_broken_relay_is_an_outcome() -> None:
    """A relay that is no URL is no crash."""
    assert post(transport(), f"https://{HOST}/", relay="127.0.0.1:9").kind == "blocked"


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback")
def test_ipv6_is_spoken(authority: trustme.CA, ca_file: str) -> None:
    """A literal and a name, over plain and secure connections."""
    sender = transport(lambda host, port: [ip_address("::1")], ca_file=ca_file)

    with receiver(family=socket.AF_INET6) as plain:
        literal = post(sender, f"http://[::1]:{plain.port}/")
        named = post(sender, f"http://{HOST}:{plain.port}/")
    with receiver(context=server_context(authority, "::1"), family=socket.AF_INET6) as server:
        secure = post(sender, f"https://[0::1]:{server.port}/")

    assert (literal.kind, named.kind, secure.kind) == ("2xx", "2xx", "2xx")
    assert f"\r\nHost: [::1]:{plain.port}\r\n".encode() in plain.requests[0]


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no password file of the machine plays a part (SC-14)."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login me password hunter2\ndefault login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    with receiver() as server:
        outcome = post(transport(), f"http://{HOST}:{server.port}/")

    assert outcome.kind == "2xx"
    assert b"Authorization" not in server.requests[0]


def test_the_system_resolver_gives_addresses() -> None:
    """Real look-ups come back as addresses, each once."""
    found = resolve_system("localhost", 80)

    assert found
    assert all(ip.is_loopback for ip in found)
    assert len(set(found)) == len(found)
