"""Outbound HTTP over real loopback sockets: what is called, what is not, and that it always ends in time."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_common.targets import IPAddress, parse
from kling_common.transport import FetchFailed, Outcome, TooLarge, Transport, resolve_system
from kling_mock.core.callbacks import AddressRules, check, is_internal

HOST = "hooks.example.com"
SHORT = 0.2  # seconds: a deadline that a test waits for
LOOPBACK = ip_address("127.0.0.1")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
LOCAL = AddressRules(schemes=("https", "http"), max_length=2048, allow_internal=True)
STRICT = AddressRules(schemes=("https", "http"), max_length=2048, allow_internal=False)
Script = Callable[[socket.socket], None]


class Receiver:
    """A server on the loopback: every connection's request is kept, then answered by *script*."""

    def __init__(
        self, script: Script | bytes, context: ssl.SSLContext | None, family: socket.AddressFamily, reads: bool
    ) -> None:
        self.script = script
        self.context = context
        self.reads = reads
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self.listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.port: int = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        """Serve each connection in a thread of its own until the listener is shut down."""
        with suppress(OSError):
            while not self.stopped.is_set():
                connection, _ = self.listener.accept()
                if self.stopped.is_set():
                    connection.close()
                    return
                self.connections += 1
                thread = threading.Thread(target=self.serve, args=(connection,))
                self.threads.append(thread)
                thread.start()

    def serve(self, connection: socket.socket) -> None:
        """One connection: TLS if asked for, the request, the answer."""
        connection.settimeout(5)
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            if self.reads:
                self.requests.append(read_request(connection))
            if isinstance(self.script, bytes):
                connection.sendall(self.script)
            else:
                self.script(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        """Stop listening and wait for every connection to end."""
        self.stopped.set()
        with suppress(OSError):
            socket.create_connection(self.listener.getsockname()[:2], 1).close()
        self.listener.close()
        for thread in self.threads:
            thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    """The bytes of one request, its body by Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data and (piece := connection.recv(65536)):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(
        next((line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
    )
    while len(body) < length and (piece := connection.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body


def deaf(connection: socket.socket) -> None:
    """Say nothing for longer than the deadline."""
    threading.Event().wait(2 * SHORT)


def sip(connection: socket.socket) -> None:
    """Read so slowly that the other side never waits long, yet is never done."""
    while connection.recv(262_144):
        threading.Event().wait(0.01)


def drip(data: bytes, pause: float = 0.03) -> Script:
    """Send *data* byte by byte, for much longer than any deadline of these tests."""

    def script(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            threading.Event().wait(pause)

    return script


def endless(head: bytes, piece: bytes) -> Script:
    """Send *head*, then *piece* until the other side has had enough (at most 400 MB)."""

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(400):
            connection.sendall(piece * (1_000_000 // len(piece)))

    return script


def silent_after(data: bytes) -> Script:
    """Send *data*, then keep the connection open without a word until the other side closes it."""

    def script(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    return script


def reset(connection: socket.socket) -> None:
    """Tear the connection down at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def receiver(
    script: Script | bytes = OK,
    context: ssl.SSLContext | None = None,
    *,
    family: socket.AddressFamily = socket.AF_INET,
    reads: bool = True,
) -> Iterator[Receiver]:
    """A running Receiver; with *reads* off it answers without having read anything."""
    server = Receiver(script, context, family, reads)
    try:
        yield server
    finally:
        server.close()


def to_loopback(host: str, port: int) -> Sequence[IPAddress]:
    """A resolver for which every name is this machine."""
    return [LOOPBACK]


def transport(
    resolve: Callable[[str, int], Sequence[IPAddress]] = to_loopback,
    allow: Callable[[IPAddress], bool] = lambda ip: True,
    ca_file: str | None = None,
    max_response_bytes: int = 100_000,
) -> Transport:
    """A Transport that may call the loopback, unless told otherwise."""
    return Transport(
        resolve=resolve,
        monotonic=time.perf_counter,
        allow=allow,
        ca_file=ca_file,
        max_response_bytes=max_response_bytes,
        user_agent="test/1",
    )


def post(sender: Transport, url: str, *, body: bytes = b"{}", timeout: float = 5, relay: str | None = None) -> Outcome:
    """One attempt as the courier makes it."""
    return sender.post(url, body, {"Content-Type": "application/json"}, timeout, relay)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its certificate as a file."""
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """TLS settings of a server that goes by *names*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


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


SLOW: dict[str, Script] = {
    "silence": silent_after(b""),
    "a dripping head": drip(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 100),
    "interim answers only": drip(b"HTTP/1.1 102 Processing\r\n\r\n" * 100, 0.001),
    "a dripping body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"z" * 900, 0.003),
    "dripping chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nz\r\n" * 900, 0.002),
    "an unfinished body": silent_after(b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nabc"),
    "an open end": silent_after(b"HTTP/1.1 200 OK\r\n\r\nabc"),
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("secure", [False, True])
def test_a_slow_receiver_cannot_stretch_an_attempt(
    name: str, secure: bool, authority: trustme.CA, ca_file: str
) -> None:
    """The time is for the whole attempt: a 2xx whose body is still coming at its end is a timeout."""
    sender = transport(ca_file=ca_file)

    with receiver(SLOW[name], server_context(authority, HOST) if secure else None) as server:
        outcome = post(sender, f"http{'s' * secure}://{HOST}:{server.port}/", timeout=SHORT)

    assert outcome.kind == "timeout"
    assert outcome.seconds >= SHORT


@pytest.mark.parametrize("script", [deaf, drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 100)])
def test_a_slow_handshake_cannot_stretch_an_attempt(script: Script) -> None:
    """Silence and dripping bytes during the TLS handshake end at the deadline too."""
    with receiver(script, reads=False) as server:
        outcome = post(transport(), f"https://{HOST}:{server.port}/", timeout=SHORT)

    assert outcome.kind == "timeout"


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("script", [deaf, sip])
def test_a_receiver_that_hardly_reads_cannot_stretch_an_attempt(
    script: Script, secure: bool, authority: trustme.CA, ca_file: str
) -> None:
    """Sending ends at the deadline like everything else."""
    with receiver(script, server_context(authority, HOST) if secure else None, reads=False) as server:
        url = f"http{'s' * secure}://{HOST}:{server.port}/"
        outcome = post(transport(ca_file=ca_file), url, body=bytes(60_000_000), timeout=SHORT)

    assert outcome.kind == "timeout"


def test_no_time_is_a_timeout() -> None:
    """A deadline that has already passed waits for nothing."""
    with receiver() as server:
        assert post(transport(), f"http://{HOST}:{server.port}/", timeout=0).kind in {"timeout", "dns"}
        assert post(transport(), f"http://127.0.0.1:{server.port}/", timeout=-1).kind == "timeout"


def test_an_early_answer_to_a_large_body_is_heard() -> None:
    """A receiver may answer before it has read everything."""

    def early(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        threading.Event().wait(0.05)

    with receiver(early, reads=False) as server:
        outcome = post(transport(), f"http://{HOST}:{server.port}/", body=bytes(30_000_000))

    assert (outcome.kind, outcome.status) == ("status", 413)


@pytest.mark.parametrize(("status", "kind"), [(200, "2xx"), (500, "status")])
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 999999999\r\n"])
def test_an_endless_body_is_read_to_the_cap(status: int, kind: str, framing: bytes) -> None:
    """The status decides; what is over the cap stays unread, and the receiver is hung up on."""
    head = f"HTTP/1.1 {status} X\r\n".encode() + framing + b"\r\n"

    with receiver(endless(head, b"z")) as server:
        outcome = post(transport(max_response_bytes=1000), f"http://{HOST}:{server.port}/")

    assert (outcome.kind, outcome.status) == (kind, status)
    assert "too long" in outcome.detail


@pytest.mark.parametrize("piece", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n"])
def test_endless_interim_answers_are_read_to_the_cap(piece: bytes) -> None:
    """An answer that never begins is a failure."""
    with receiver(endless(b"", piece)) as server:
        outcome = post(transport(), f"http://{HOST}:{server.port}/")

    assert (outcome.kind, outcome.detail) == ("refused", "not HTTP: AnswerTooLong")


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


def failing(error: Exception) -> Callable[[str, int], Sequence[IPAddress]]:
    """A resolver that raises *error*."""

    def resolve(host: str, port: int) -> Sequence[IPAddress]:
        raise error

    return resolve


@pytest.mark.parametrize(
    "resolve", [failing(socket.gaierror(-2, "unknown")), failing(UnicodeError("label")), lambda host, port: []]
)
def test_an_unknown_name_is_a_dns_failure(resolve: Callable[[str, int], Sequence[IPAddress]]) -> None:
    """No address, no call; at create such a name is not held against anybody."""
    sender = transport(resolve)

    assert post(sender, f"https://{HOST}/").kind == "dns"
    assert not sender.leads_inside(parse(f"https://{HOST}/", ("https",)), timeout=5)


def test_a_slow_resolver_cannot_stretch_an_attempt() -> None:
    """The system's resolver may hang for half a minute; an attempt does not."""
    release = threading.Event()
    resolved = list[str]()

    def hanging(host: str, port: int) -> list[str]:
        """Returns when it is released, or long after the test."""
        release.wait(200)
        resolved.append(host)
        return []

    sender = transport(hanging)

    outcome = post(sender, f"https://{HOST}/", timeout=SHORT)
    known = sender.leads_inside(parse(f"https://{HOST}/", ("https",)), timeout=0.01)
    waited_for = [*resolved]
    release.set()

    assert (outcome.kind, known) == ("dns", False)
    assert waited_for == []


def test_an_unforeseen_error_is_an_outcome_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Post never raises, but a mistake of ours does not stay hidden either."""
    broken = post(transport(failing(RuntimeError("bug"))), f"https://{HOST}/")
    with receiver() as server:
        url = f"http://{HOST}:{server.port}/"
        split = transport().post(url, b"", {"X-A": "b\r\nX-C: d"}, 5)

    assert (broken.kind, broken.detail) == ("refused", "failed: RuntimeError")
    assert (split.kind, split.detail) == ("refused", "failed: ValueError")
    assert len(caplog.records) == 2


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


def test_the_system_resolver_gives_addresses() -> None:
    """Real look-ups come back as addresses, each once."""
    found = resolve_system("localhost", 80)

    assert found
    assert all(ip.is_loopback for ip in found)
    assert len(set(found)) == len(found)
