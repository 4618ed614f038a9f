"""The short way of an exchange shows what the library's way does, in both directions, and kept connections never mix answers up."""

import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from kling_common import heads
from kling_contract.driving import plain
from kling_contract.driving.sender import KeptSender, Limits, RawResponse, Sender
from kling_contract.serving import Incoming, Listener

_LIMITS = Limits(20.0, 100)
_RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Two: a\r\nX-Two: b\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Empty:\r\nX-Space: \r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length:2\r\nX-Pad:  a b \r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n\r\nto the end",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200,
    b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 caf\xe9\r\nContent-Length: 2\r\nX-Caf\xe9: caf\xe9\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: a\r\n b\r\nX-Tab: a\tb\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno colon\r\nX-A: b\r\n\r\n{}",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(120)) + b"\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: " + b"y" * 70_000 + b"\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"what is this?\r\n\r\n",
    b"",
]
_REQUESTS: list[tuple[str, str, list[tuple[str, str]], bytes | None]] = [
    ("GET", "/v1/credits?a=1&b=%2F", [("Authorization", "Bearer sk-a")], None),
    ("HEAD", "/", [], None),
    ("POST", "/v1", [("Content-Type", "application/json")], b"{}"),
    ("POST", "/v1", [("Content-Length", "2"), ("content-type", "a")], b"{}"),
    ("POST", "/v1", [], b""),
    ("POST", "/large", [], b"x" * 40_000),
    ("GET", "/", [("Host", "other.example"), ("X-Pad", " a "), ("X-Note", "café")], None),
    ("GET", "/", [("X-Tab", "a\tb"), ("X-Folded", "a\r\n b")], None),
    ("GET", "/", [("X-Split", "a\r\nX-More: b")], None),
    ("GET", "/", [("X Name", "a")], None),
    ("GET", "//double", [], None),
    ("GET", "/a b", [], None),
    ("GET", "/caf\xe9", [], None),
]


@contextmanager
def _served(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends *answer* and closes, whatever it is asked; gives its origin and what it was sent."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(20.0)
                    seen.append(_whole(connection))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", seen
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _whole(connection: socket.socket) -> bytes:
    """A request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            return data
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    named = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(named[0].partition(b":")[2]) if named else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _long_way(patched: pytest.MonkeyPatch) -> None:
    """Have everything go the library's way."""
    patched.setattr(plain, "head_of", lambda *_: None)
    patched.setattr(plain, "_plain", lambda *_: None)


@pytest.mark.parametrize("answer", _RESPONSES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_is_read_as_the_library_reads_it(
    answer: bytes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, headers, body, loss and the words for it."""

    def asked(sender: Sender) -> RawResponse:
        with _served(answer) as (origin, _):
            return sender.send(method, f"{origin}/x", [], None, _LIMITS)

    short = asked(Sender())
    with KeptSender() as sender:
        kept = asked(sender)
    _long_way(monkeypatch)
    assert asked(Sender()) == short == kept


@dataclass
class _Arriving:
    """A socket from which pieces come, one at a time; it may be asked for less than one."""

    pieces: list[bytes]

    def recv(self, most: int) -> bytes:
        """The next piece, or its beginning."""
        piece = self.pieces.pop(0) if self.pieces else b""
        if len(piece) > most:
            self.pieces.insert(0, piece[most:])
        return piece[:most]

    def recv_into(self, buffer: memoryview) -> int:
        """The same, into *buffer*."""
        piece = self.recv(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("cut", [1, 40_000, 65_000, 65_535, 65_536, 69_000])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_how_a_long_head_arrives_makes_no_difference(method: str, cut: int) -> None:
    """A line that is too long is too long, whether or not its end came with the second piece."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: " + b"y" * 70_000 + b"\r\n\r\n{}"

    with pytest.raises(http.client.LineTooLong):
        plain.read(_Arriving([answer[:cut], answer[cut:]]), method)  # type: ignore[arg-type]


@pytest.mark.parametrize("request_", _REQUESTS)
def test_a_request_is_written_as_the_library_writes_it(
    request_: tuple[str, str, list[tuple[str, str]], bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, or refused alike."""
    method, target, headers, body = request_

    with _served(_RESPONSES[0]) as (origin, seen):
        short = Sender().send(method, origin + target, headers, body, _LIMITS)
        _long_way(monkeypatch)
        assert Sender().send(method, origin + target, headers, body, _LIMITS) == short
    assert len(set(seen)) <= 1


_ASKED = [
    b"GET /v1/tasks/a?b=%2F HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\nX-Empty:\r\n\r\n",
    b"POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /v1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET //double HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"GET / HTTP/1.1\r\nX-Folded: a\r\n b\r\nX-Pad:  a \r\nX-Note: caf\xe9\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nX Name: a\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /caf\xe9 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1 HTTP/1.1\r\n\r\n",
    b"GET /\r\n\r\n",
    b"nothing\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(120)) + b"\r\n",
    b"GET / HTTP/1.1\r\nX-Long: " + b"y" * 70_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("sent", _ASKED)
def test_a_request_is_read_as_the_library_reads_it(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, target, headers and body, or the library's refusal."""
    seen: list[tuple[str, str, tuple[tuple[str, str], ...], bytes]] = []

    def note(request: Incoming) -> None:
        seen.append((request.command, request.path, request.pairs, request.body()))
        request.respond(200)

    def asked() -> bytes:
        with Listener(note) as server, socket.create_connection(("127.0.0.1", server.port), 20.0) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                first = answer.readline()
                with suppress(ConnectionError):  # what is refused is not read to its end
                    answer.read()
                return first

    short = asked()
    monkeypatch.setattr(heads, "request", lambda _: None)
    assert asked() == short
    assert seen == seen[: len(seen) // 2] * 2


def _say(request: Incoming) -> None:
    """Respond with the path, and keep the connection."""
    request.close_connection = False
    body = request.path.encode()
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_a_kept_connection_serves_many_and_one_that_ended_none() -> None:
    """What the server has closed meanwhile is not taken for a lost answer, and each answer belongs to its question."""
    with Listener(_say) as server, KeptSender() as sender:
        said = [sender.send("GET", f"{server.origin}/{n}", [], None, _LIMITS).body for n in range(5)]
        assert said == [f"/{n}".encode() for n in range(5)]
        assert server.connections == 1
    with _served(_RESPONSES[0]) as (origin, seen), KeptSender() as sender:
        for _ in range(3):
            assert sender.send("GET", f"{origin}/", [], None, _LIMITS).status == 200
            (_, _, kept) = sender._kept[-1]
            assert select.select([kept.sock], [], [], 20.0)[0], "the server closes"
        assert len(seen) == 3
