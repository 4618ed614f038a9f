"""HTTP/1.1 as the fake's server speaks it, over connections in memory: no socket, and time is what `look` is given."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from connected import Client
from hypothesis import given
from hypothesis import strategies as st

from kling_mock.serving import connection
from kling_mock.serving.exchange import Exchange
from kling_mock.serving.http1 import Http1Server
from kling_mock.web.http import Request

HOST = b"Host: x\r\n"
LATER = 1_000_000.0
"""Seconds after which every patience is over."""


class Echo:
    """Responds with method, path, query and body; *most* bytes of a body are looked at. *waits*: not before it is let."""

    def __init__(self, most: int = 100, *, waits: bool = False, thinks: bool = False) -> None:
        self._most, self._waits, self._thinks = most, waits, thinks
        self.taken: list[Exchange] = []

    def most(self, request: Request) -> int | Awaitable[int]:
        return self._thought() if self._thinks else self._most

    async def _thought(self) -> int:
        await asyncio.sleep(0)
        return self._most

    def serve(self, exchange: Exchange) -> None:
        self.taken.append(exchange)
        if not self._waits:
            self.respond(exchange)

    def malformed(self, exchange: Exchange, status: int, why: str) -> None:
        exchange.respond(status, [], why.encode())

    def respond(self, exchange: Exchange) -> None:
        request = exchange.request
        marks = f"{' cut' * request.cut}{' oversize' * request.oversize}"
        text = f"{request.method} {request.path} {request.query}{marks} ".encode()
        exchange.respond(200, [("x-kind", "echo")], text + request.body)


def talk(steps: Callable[[Client], Any], application: Echo | None = None) -> Client:
    """The client after *steps*, and after all that the server does then."""

    async def run() -> Client:
        client = Client(application or Echo())
        found = steps(client)
        if asyncio.iscoroutine(found):
            await found
        await client.settle()
        return client

    return asyncio.run(run())


def sent(*pieces: bytes, application: Echo | None = None) -> Client:
    """The client after it has sent *pieces*, each as soon as the server reads."""

    async def send(client: Client) -> None:
        for piece in pieces:
            if client.transport.paused:
                await client.settle()
            client.send(piece)

    return talk(send, application)


def post(body: bytes = b"{}", more: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A request with a body of a stated length."""
    return b"POST /p HTTP/%b\r\n%bContent-Length: %d\r\n%b\r\n%b" % (version, HOST, len(body), more, body)


GET = b"GET /g?a=%41&b HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"


def test_a_response_has_what_a_client_needs() -> None:
    """Status line, the headers given, a length, the date, and the body."""
    client = sent(GET)
    head, _, body = client.said.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")

    assert lines[:3] == ["HTTP/1.1 200 OK", "x-kind: echo", f"content-length: {len(body)}"]
    assert lines[3].startswith("date: ")
    assert lines[3].endswith(" GMT")
    assert (body, client.transport.closed) == (b"GET /g a=%41&b ", False)


@given(
    requests=st.lists(
        st.sampled_from([GET, post(), post(b""), CHUNKED, post(b"x" * 150), post(b"{}", OFFER)]), max_size=5
    ),
    cuts=st.lists(st.integers(0, 1200)),
    thinks=st.booleans(),
)
def test_how_bytes_arrive_makes_no_difference(requests: list[bytes], cuts: list[int], thinks: bool) -> None:
    """Requests behind one another, cut anywhere, are answered as if each came by itself."""
    stream = b"".join(requests)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    together = Echo(thinks=thinks)

    async def arrive(client: Client) -> None:
        for begin, end in pairwise(places):
            while client.transport.paused:
                await client.settle()
            client.send(stream[begin:end])

    client = talk(arrive, together)
    apart = [sent(one).said.partition(b"\r\n\r\n")[2] for one in requests]

    assert client.statuses == [200] * len(requests)
    assert [one.partition(b"\r\n\r\n")[2] for one in client.said.split(b"HTTP/1.1 ")[1:]] == apart


def test_who_sends_ahead_waits_for_its_turn() -> None:
    """One request is served at a time; the others wait unread, and their order is kept."""
    echo = Echo(waits=True)

    async def ahead(client: Client) -> None:
        client.send(GET + post(b"1") + post(b"2"), post(b"3"))
        assert len(echo.taken) == 1
        assert client.transport.paused
        for number in range(3):
            echo.respond(echo.taken[number])
            await client.settle()
        assert not client.transport.paused

    client = talk(ahead, echo)

    assert [one.request.body for one in echo.taken] == [b"", b"1", b"2"]
    assert client.statuses == [200] * 3


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("body", [b"", b"12345", b"123456", b"1234567890"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_read_as_far_as_it_counts(body: bytes, chunked: bool, thinks: bool) -> None:
    """Up to the limit it is there; beyond, it is marked and nothing of it is kept. The connection goes on."""
    framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    head = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    echo = Echo(most=5, thinks=thinks)
    client = talk(lambda one: _settled(one, head + framed + b"0\r\n\r\n" if chunked else post(body), GET), echo)
    first = echo.taken[0].request

    assert (first.body, first.oversize) == ((body, False) if len(body) <= 5 else (b"", True))
    assert client.statuses == [200, 200]


async def _settled(client: Client, *pieces: bytes) -> None:
    for piece in pieces:
        client.send(piece)
        await client.settle()


def test_what_no_route_looks_at_is_dropped() -> None:
    """A limit of 0: neither body nor mark, whatever is sent."""
    echo = Echo(most=0)

    client = sent(post(b"x" * 50), CHUNKED, application=echo)

    assert [(one.request.body, one.request.oversize) for one in echo.taken] == [(b"", False)] * 2
    assert not client.transport.closed


def test_dropping_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many bytes the response is given; the client may send for a moment more, then the connection ends."""
    monkeypatch.setattr(connection, "_DROPPED_BYTES", 20)
    head = b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n"

    client = sent(head, b"x" * 21, b"y" * 21)

    assert client.statuses == [200]
    assert b"connection: close" in client.said
    assert (client.transport.half, client.transport.closed) == (True, False)
    client.connection.look(LATER)
    assert client.transport.aborted


def test_who_waits_to_be_asked_is_asked_once() -> None:
    """`Expect: 100-continue`: asked where the body counts, answered at once where it does not."""
    waiting = post(b"", b"Expect: 100-Continue\r\n").replace(b"Length: 0", b"Length: 2")

    asked = sent(waiting, b"{}")
    old = sent(waiting.replace(b"1.1", b"1.0"), b"{}")
    ahead = sent(GET + waiting, b"{}", application=Echo(waits=True))
    refused = sent(waiting, application=Echo(most=0))
    too_long = sent(waiting, application=Echo(most=1))
    chunks = sent(
        CHUNKED.replace(HOST, HOST + b"Expect: 100-continue\r\n").partition(b"2\r\n")[0], application=Echo(most=0)
    )

    assert asked.statuses == [100, 200]
    assert old.statuses == [200]  # HTTP/1.0 knows no such response
    assert ahead.said == b""  # it would stand within the response that is owed first
    assert (refused.statuses, too_long.statuses, chunks.statuses) == ([200], [200], [200])
    assert b"connection: close" in refused.said
    assert b" oversize " in too_long.said


@pytest.mark.parametrize(
    "begun",
    [b"GET / HTTP/1.1\r\n", post(b"abc")[:-1], CHUNKED[:-7], post(b"x" * 200)[:-1]],
    ids=["head", "body", "chunks", "dropped"],
)
def test_who_stalls_is_reset(begun: bytes) -> None:
    """In the head, in a body, or in one that is dropped; who is idle is hung up on, who waits for a response is left alone."""
    client = sent(begun)
    client.connection.look(client.server.loop.time())
    assert not client.transport.aborted

    client.connection.look(LATER)

    assert (client.transport.aborted, client.said) == (True, b"")
    idle, waits = sent(GET), sent(GET, application=Echo(waits=True))
    for one in (idle, waits):
        one.connection.look(LATER)
    assert (idle.transport.closed, idle.transport.aborted) == (True, False)
    assert not waits.transport.is_closing()


WRONG = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 405),
    "version 0.9": (b"GET /\r\n\r\n", 400),
    "version 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "method": (b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "two lengths": (post(more=b"Content-Length: 3\r\n"), 400),
    "length and chunks": (post(more=b"Transfer-Encoding: chunked\r\n"), 400),
    "negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "signed length": (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
    "folded": (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "nul": (b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 400),
    "space in name": (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "raw bytes in the path": (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
    "chunk": (CHUNKED.replace(b"2\r\nab", b"zz\r\nab"), 400),
    "long URL": (b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n\r\n", 414),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_request_is_said_so(name: str) -> None:
    """Behind the responses that are owed; then the connection ends, and nothing more is read from it."""
    raw, status = WRONG[name]

    client = sent(GET, raw, GET)

    assert client.statuses == [200, status]
    assert b"connection: close" in client.said
    assert client.said.partition(b"HTTP/1.1 4")[2].partition(b"\r\n\r\n")[2]
    assert client.transport.half


def test_a_head_without_end_is_refused() -> None:
    """Wherever it grows: it is not kept until memory ends."""
    client = talk(lambda one: one.send(b"GET / HTTP/1.1\r\nA: ", *[b"a" * 65_536] * 10))

    assert client.statuses == [431]


def test_a_body_is_no_excuse_for_endless_framing() -> None:
    """Extensions of chunks, and headers behind the last: both end. Bytes one by one are fine."""
    head = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    endless = [sent(head + begun, *[b"x" * 65_536] * 10) for begun in (b"1;", b"1\r\na\r\n0\r\nX: ")]
    single = sent(head, *[b"1\r\na\r\n"] * 90_000, b"0\r\n\r\n", application=Echo(most=100_000))

    assert [one.statuses for one in endless] == [[400], [400]]
    assert single.said.endswith(b"a" * 90_000)


def test_headers_behind_a_body_count_for_nothing() -> None:
    """They would pass for what the head has not said."""
    echo = Echo()
    sent(CHUNKED.replace(b"0\r\n\r\n", b"0\r\nAuthorization: Bearer a\r\n\r\n"), application=echo)

    assert echo.taken[0].request.headers.get("authorization") is None


def test_an_offer_of_another_protocol_is_passed_over() -> None:
    """As Java's client makes it with its first request: the request is served, with its body, and the next one too."""
    echo = Echo()

    client = sent(
        GET.replace(HOST, HOST + OFFER) + post(b"abc", OFFER) + CHUNKED.replace(HOST, HOST + OFFER),
        GET,
        application=echo,
    )

    assert [one.request.body for one in echo.taken] == [b"", b"abc", b"abcde", b""]
    assert client.statuses == [200] * 4


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (b"/a%20b?c=%20", "/a b c=%20"),
        (b"/a?b?c#d", "/a b?c"),
        (b"/%ff%zz", "/\N{REPLACEMENT CHARACTER}%zz "),
        (b"http://x/a?b", "/a b"),
        (b"http://x", "/ "),
        (b"//x/a", "//x/a "),
        (b"*", "* "),
    ],
)
def test_targets(target: bytes, place: str) -> None:
    """The path is decoded, the query is as it came; an absolute URL stands for its path."""
    client = sent(b"OPTIONS %b HTTP/1.1\r\n%b\r\n" % (target, HOST), application=Echo())

    assert client.said.endswith(f"\r\n\r\nOPTIONS {place} ".encode())


def test_headers_by_name() -> None:
    """In any case of letters; the first of a name counts, and the others are there."""
    echo = Echo()
    sent(b"GET / HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xe9\r\nX-C:\r\n\r\n", application=echo)
    headers = echo.taken[0].request.headers

    assert [headers.get(name) for name in ("x-a", "x-b", "x-c", "x-d")] == ["1", "\xe9", "", None]
    assert list(headers.items()) == [("x-a", "1"), ("x-b", "\xe9"), ("x-c", ""), ("x-a", "2")]


@pytest.mark.parametrize(
    ("raw", "closes", "says"),
    [
        (GET, False, b""),
        (GET.replace(HOST, b"Connection: close\r\n"), True, b"connection: close"),
        (post(version=b"1.0"), True, b"connection: close"),
        (post(version=b"1.0", more=b"Connection: keep-alive\r\n"), False, b"connection: keep-alive"),
    ],
)
def test_a_connection_is_kept_as_the_client_means_it(raw: bytes, closes: bool, says: bytes) -> None:
    """By version and header; what comes behind the last request is not served."""
    client = sent(raw, GET)

    assert client.transport.closed is closes
    assert says in client.said
    assert len(client.statuses) == (1 if closes else 2)


def test_a_client_may_close_its_side() -> None:
    """Behind a whole request it gets its response; in the middle of a body too, and that is marked; otherwise nothing is owed."""

    async def whole(client: Client) -> None:
        client.send(GET)
        assert client.connection.eof_received()
        assert client.connection.gone().done()
        echo.respond(echo.taken[0])

    echo = Echo(waits=True)
    client = talk(whole, echo)
    half = talk(lambda one: (one.send(post(b"abc")[:-1]), one.connection.eof_received()))
    thought = talk(lambda one: (one.send(post(b"abc")[:-1]), one.connection.eof_received()), Echo(thinks=True))

    assert (client.statuses, client.transport.closed) == ([200], True)
    assert b" cut " in half.said
    assert b" cut " in thought.said
    assert not sent(b"GET /").connection.eof_received()


class Streams(Echo):
    """Sends what it is told to, in pieces."""

    def __init__(self, headers: list[tuple[str, str]], *pieces: bytes) -> None:
        super().__init__()
        self._headers, self._pieces = headers, pieces

    def respond(self, exchange: Exchange) -> None:
        exchange.run(self._stream(exchange))

    def _stream(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        async def stream() -> None:
            exchange.begin(200, self._headers)
            for piece in self._pieces:
                await exchange.send(piece)
            exchange.end()

        return stream()


def test_a_body_in_pieces() -> None:
    """Chunked; to the end of the connection for an old client; without a byte for HEAD; and a stated length holds."""
    chunked = sent(GET, application=Streams([], b"ab", b"", b"c"))
    old = sent(GET.replace(b"1.1", b"1.0"), application=Streams([], b"ab", b"c"))
    head = sent(GET.replace(b"GET", b"HEAD"), application=Streams([], b"ab"))
    exact = sent(GET, application=Streams([("content-length", "3")], b"ab", b"c"))
    short = sent(GET, application=Streams([("content-length", "9")], b"ab", b"c"))

    bodies = [one.said.partition(b"\r\n\r\n")[2] for one in (chunked, old, head, exact, short)]
    assert bodies == [b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc", b"", b"abc", b"abc"]
    assert [one.transport.closed for one in (chunked, old, head, exact, short)] == [False, True, False, False, True]


def test_who_does_not_read_is_waited_for() -> None:
    """Nothing is read from a client that takes nothing; a stream goes on when it does, and ends when it is gone."""
    streams = Streams([], b"a", b"b", b"c")

    async def slow(client: Client) -> None:
        client.connection.pause_writing()
        assert client.transport.paused
        client.connection.data_received(GET)
        await client.settle()
        assert client.transport.paused
        assert b"\r\nb\r\n" not in client.said
        client.connection.resume_writing()
        await client.settle()
        assert client.said.count(b"\r\nb\r\n") >= 1

    talk(slow, streams)


def test_to_who_is_gone_nothing_is_sent() -> None:
    """Neither a whole response nor a stream fails for it: what the client asked for has happened, and is no fault of the fake."""
    streams = Streams([], b"ab", b"c")

    async def hang_up(client: Client) -> None:
        client.send(GET)
        client.transport.close()
        client.connection.connection_lost(None)
        await client.settle()

    async def hang_up_early(client: Client) -> None:
        client.send(GET)
        client.transport.close()
        client.connection.connection_lost(None)
        echo.respond(echo.taken[0])

    echo = Echo(waits=True)

    assert b"\r\nab\r\n" not in talk(hang_up, streams).said
    assert talk(hang_up_early, echo).said == b""


def test_no_header_can_end_another() -> None:
    """Whatever a scenario or a caller puts into one."""
    echo = Echo(waits=True)
    sent(GET, application=echo)

    for value in ("a\r\nb: c", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="line break"):
            echo.taken[0].respond(200, [("location", value)], b"")


def test_head_and_bodiless_statuses_have_no_body() -> None:
    """The length is that of the body there would be, or is left out."""
    head = sent(GET.replace(b"GET", b"HEAD"))
    echo = Echo(waits=True)
    empty = talk(lambda client: (client.send(GET), echo.taken[0].respond(204, [], b"x")), echo)

    assert head.said.endswith(b"\r\n\r\n")
    assert b"content-length: 16\r\n" in head.said
    assert empty.said.endswith(b"\r\n\r\n")
    assert b"content-length" not in empty.said


def test_a_server_that_stops_ends_what_is_under_way() -> None:
    """Over sockets: idle connections close at once, a response in progress is given, one that never ends is reset."""

    async def run() -> list[bytes]:
        echo = Echo(waits=True)
        server = Http1Server(echo)
        await server.listen("127.0.0.1", 0)
        port = server.port
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in clients[1:]:
            writer.write(GET)
        while len(echo.taken) < 2:
            await asyncio.sleep(0)
        server.stop(grace=60.0)
        server.stop(grace=60.0)
        first = await clients[0][0].read()
        echo.respond(echo.taken[0])
        served = [reader for reader, _ in clients[1:]]
        done, _ = await asyncio.wait(
            [asyncio.create_task(one.read()) for one in served], return_when=asyncio.FIRST_COMPLETED
        )
        for one in list(server.connections):
            one.reset()
        await server.served()
        for _, writer in clients:
            writer.close()
        return [first, done.pop().result()]

    idle, answered = asyncio.run(run())

    assert idle == b""
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answered
