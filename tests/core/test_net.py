"""Outbound HTTP over real loopback sockets: what is sent, and which answers count."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from outbound import HOST, OK, Receiver, Script, failing, post, receiver, reset, server_context, transport


def test_a_callback_is_posted_exactly_as_given(authority: trustme.CA, ca_file: str) -> None:
    """Path, query, port, body and headers arrive untouched, over TLS to the name of the URL (SC-15)."""
    context = server_context(authority, HOST)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    with receiver(context=context) as server:
        url = f"https://HOOKS.example.com:{server.port}/a/../b%2F;x?c=%zz&d=e/?#frag"
        outcome = post(transport(ca_file=ca_file), url, body=b'{"id": 1}')

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert (outcome.kind, outcome.status, outcome.detail) == ("2xx", 204, "answered 204")
    assert asked == [HOST]
    assert body == b'{"id": 1}'
    assert lines[0] == b"POST /a/../b%2F;x?c=%zz&d=e/? HTTP/1.1"
    assert set(lines[1:]) == {
        f"Host: {HOST}:{server.port}".encode(),
        b"User-Agent: test/1",
        b"Accept: */*",
        b"Accept-Encoding: identity",
        b"Connection: close",
        b"Content-Length: 9",
        b"Content-Type: application/json",
    }


def test_certificates_are_verified(authority: trustme.CA, ca_file: str) -> None:
    """An unknown authority, another name and a plain server behind https are each refused, and say so."""
    with receiver(context=server_context(authority, HOST)) as server:
        url = f"https://{HOST}:{server.port}/"
        stranger = post(transport(), url)
        misnamed = post(transport(ca_file=ca_file), f"https://other.example.com:{server.port}/")
        literal = post(transport(ca_file=ca_file), f"https://127.0.0.1:{server.port}/")
    with receiver(b"HTTP/1.1 400 Bad\r\n\r\n", reads=False) as plain:
        spoken = post(transport(ca_file=ca_file), f"https://{HOST}:{plain.port}/")

    assert server.requests == []
    for outcome in (stranger, misnamed, literal, spoken):
        assert (outcome.kind, outcome.status) == ("refused", None)
        assert outcome.detail.startswith("tls: ")
    assert "mismatch" in misnamed.detail


def test_an_address_literal_is_verified_by_address(authority: trustme.CA, ca_file: str) -> None:
    """A certificate for an IP address serves a URL with that address, however it is spelled."""
    with receiver(context=server_context(authority, "127.0.0.1")) as server:
        sender = transport(ca_file=ca_file)
        outcomes = [post(sender, f"https://{host}:{server.port}/") for host in ("127.0.0.1", "2130706433", "127.1")]

    assert [outcome.kind for outcome in outcomes] == ["2xx"] * 3


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_every_2xx_is_success(status: int) -> None:
    """Any 2xx counts (SC-21)."""
    with receiver(f"HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n".encode()) as server:
        outcome = post(transport(), f"http://{HOST}:{server.port}/")

    assert (outcome.kind, outcome.status) == ("2xx", status)


@pytest.mark.parametrize(
    "status", [101, 300, 301, 302, 303, 304, 307, 308, 400, 401, 404, 410, 429, 500, 503, 599, 999]
)
def test_every_other_status_is_a_failure_and_is_not_followed(status: int) -> None:
    """3xx, 4xx, 5xx fail, a redirect's target is never called (SC-12, SC-22)."""
    answer = f"HTTP/1.1 {status} Other\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"

    with receiver(answer.encode()) as server:
        outcome = post(transport(), f"http://{HOST}:{server.port}/")

    assert (outcome.kind, outcome.status, len(server.requests)) == ("status", status, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        + OK,
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabcdef",
    ],
)
def test_interim_answers_and_every_framing_are_understood(answer: bytes) -> None:
    """1xx answers are passed over; bodies by length, by chunks or to the end are read."""
    with receiver(answer) as server:
        assert post(transport(), f"http://{HOST}:{server.port}/").kind == "2xx"


@pytest.mark.parametrize(
    "script",
    [
        b"",
        reset,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_a_cut_answer_is_a_failure(script: Script | bytes, secure: bool, authority: trustme.CA, ca_file: str) -> None:
    """A connection that closes early, after 1xx only included, was not delivered (SC-22)."""
    context = server_context(authority, HOST) if secure else None

    with receiver(script, context) as server:
        outcome = post(transport(ca_file=ca_file), f"http{'s' * secure}://{HOST}:{server.port}/")

    assert outcome.kind == "refused"
    assert outcome.detail.startswith("cut: ")


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-x\r\n", b"HTTP/9 200 OK\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 70_000]
)
def test_what_is_no_http_is_a_failure(answer: bytes) -> None:
    """Another protocol on the port is told apart in the detail."""
    with receiver(answer) as server:
        outcome = post(transport(), f"http://{HOST}:{server.port}/")

    assert outcome.kind == "refused"
    assert outcome.detail.startswith("not HTTP: ")


def test_an_unforeseen_error_is_an_outcome_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Post never raises, but a mistake of ours does not stay hidden either."""
    broken = post(transport(failing(RuntimeError("bug"))), f"https://{HOST}/")
    with receiver() as server:
        url = f"http://{HOST}:{server.port}/"
        split = transport().post(url, b"", {"X-A": "b\r\nX-C: d"}, 5)

    assert (broken.kind, broken.detail) == ("refused", "failed: RuntimeError")
    assert (split.kind, split.detail) == ("refused", "failed: ValueError")
    assert len(caplog.records) == 2


def test_many_attempts_at_once(authority: trustme.CA, ca_file: str) -> None:
    """One transport serves a pool of threads."""
    sender = transport(ca_file=ca_file)

    with receiver(context=server_context(authority, HOST)) as server, ThreadPoolExecutor(16) as pool:
        url = f"https://{HOST}:{server.port}/"
        outcomes = list(pool.map(lambda number: post(sender, url, body=str(number).encode()), range(48)))

    assert {outcome.kind for outcome in outcomes} == {"2xx"}
    assert {request.rpartition(b"\r\n")[2] for request in server.requests} == {str(n).encode() for n in range(48)}


@pytest.fixture(scope="module")
def babbler() -> Iterator[Receiver]:
    """A receiver whose answer a test sets."""
    with receiver(b"") as server:
        yield server


HEADS = st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 No\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 "])
LINES = st.sampled_from(
    [
        b"Content-Length: 3\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"ff\r\n",
        b"0\r\n",
        b": \r\n",
    ]
)


@settings(max_examples=60, deadline=None)
@given(answer=st.lists(HEADS | LINES | st.binary(max_size=8), max_size=8).map(b"".join))
def test_any_answer_is_an_outcome(babbler: Receiver, answer: bytes) -> None:
    """Whatever bytes come back, an attempt ends in one of the six ways, and 2xx only after a 2xx was said."""
    babbler.script = answer

    outcome = post(transport(), f"http://{HOST}:{babbler.port}/", timeout=2)

    assert outcome.kind in {"2xx", "status", "refused"}
    assert (outcome.kind == "2xx") <= (outcome.status is not None and 200 <= outcome.status < 300)
    assert not outcome.detail.startswith("failed: ")
