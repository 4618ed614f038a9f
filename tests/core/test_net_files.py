"""Files that are fetched over real loopback sockets: first frames, their redirects and their size."""

from functools import partial
from ipaddress import ip_address

import pytest
import trustme
from outbound import HOST, LOOPBACK, SHORT, Script, drip, endless, receiver, server_context, silent_after, transport

from kling_common.transport import FetchFailed, TooLarge, Transport
from kling_mock.core.callbacks import AddressRules, check

LOCAL = AddressRules(schemes=("https", "http"), max_length=2048, allow_internal=True)
STRICT = AddressRules(schemes=("https", "http"), max_length=2048, allow_internal=False)


def fetch(
    url: str, sender: Transport | None = None, *, max_bytes: int = 1000, timeout: float = 5, rules: AddressRules = LOCAL
) -> bytes:
    """A first frame's bytes, as create asks for them."""
    judge = partial(check, rules=rules)
    return (sender or transport()).fetch(url, max_bytes=max_bytes, timeout=timeout, max_redirects=2, check=judge)


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 1000\r\n\r\n%s", b"\r\n%s", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n%s\r\n0\r\n\r\n"],
)
def test_a_file_of_exactly_the_cap_is_fetched(framing: bytes) -> None:
    """However the body is framed."""
    with receiver(b"HTTP/1.1 200 OK\r\n" + framing % (b"z" * 1000)) as server:
        assert fetch(f"http://{HOST}:{server.port}/frame?x=1") == b"z" * 1000

    assert server.requests[0].startswith(b"GET /frame?x=1 HTTP/1.1\r\n")
    assert b"Content-Length" not in server.requests[0]


@pytest.mark.parametrize(
    "script",
    [
        silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"z"),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n"),
    ],
)
def test_a_file_over_the_cap_is_refused_early(script: Script) -> None:
    """An announced size is enough; unannounced bytes are cut as soon as the cap is passed."""
    with receiver(script) as server, pytest.raises(TooLarge, match="larger than 1000 bytes"):
        fetch(f"http://{HOST}:{server.port}/")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answered 304"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "cut: "),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nabc", "content encoding"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[x/\r\n\r\n", "no URL"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://a.example/\r\n\r\n", "must begin with"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "must begin with"),
        (b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n", "more than 2 redirects"),
        (b"nonsense\r\n", "not HTTP"),
    ],
)
def test_a_file_that_cannot_be_had_says_why(script: bytes, words: str) -> None:
    """One clear line, never a partial file."""
    with receiver(script) as server, pytest.raises(FetchFailed, match=words):
        fetch(f"http://{HOST}:{server.port}/")


def test_a_dripping_file_ends_in_time() -> None:
    """The time is for the whole fetch, its redirects included."""
    script = drip(b"HTTP/1.1 302 F\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 0.005)
    with receiver(script) as server, pytest.raises(FetchFailed, match="in time"):
        fetch(f"http://{HOST}:{server.port}/", timeout=SHORT)


def test_redirects_are_followed_to_the_file(authority: trustme.CA, ca_file: str) -> None:
    """Two hops, relative and to another origin, http and https."""
    sender = transport(ca_file=ca_file)

    with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nframe", server_context(authority, HOST)) as last:
        hop = f"HTTP/1.1 301 Moved\r\nLocation: https://{HOST}:{last.port}/f\r\nContent-Length: 0\r\n\r\n"
        with receiver(hop.encode()) as second, receiver(b"") as first:
            first.script = f"HTTP/1.1 307 T\r\nLocation: //{HOST}:{second.port}/s\r\n\r\n".encode()
            assert fetch(f"http://{HOST}:{first.port}/", sender) == b"frame"

    assert [server.requests[0].split()[1] for server in (first, second, last)] == [b"/", b"/s", b"/f"]


@pytest.mark.parametrize(
    "location", ["http://inside.example/", "http://127.0.0.1:9/", "http://[::1]/", "http://localhost/"]
)
def test_every_hop_is_checked(location: str) -> None:
    """A public place may not send us inside, neither by address nor by name."""
    inside = ip_address("10.0.0.1")
    sender = transport(lambda host, port: [LOOPBACK if host == HOST else inside], lambda ip: ip == LOOPBACK)

    answer = f"HTTP/1.1 302 F\r\nLocation: {location}\r\n\r\n".encode()
    with receiver(answer) as server, pytest.raises(FetchFailed, match="internal address"):
        fetch(f"http://{HOST}:{server.port}/", sender, rules=STRICT)

    assert len(server.requests) == 1
