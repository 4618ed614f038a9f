"""Requests whose heads came before are served without the parser, and nobody can tell; whole responses leave together."""

import asyncio
from typing import Any

import pytest
from connected import Client
from hypothesis import given
from hypothesis import strategies as st
from test_http1 import CHUNKED, GET, HOST, OFFER, Echo, post, sent, talk

from kling_mock.serving import heads
from kling_mock.serving.exchange import Exchange
from kling_mock.web.http import Request

PIECES = [
    *(GET, post(), post(b""), post(b"x" * 150), CHUNKED, post(b"{}", OFFER)),
    post(b"{}", b"Expect: 100-continue\r\n"),
    post(b"{}", b"X-A: 1\r\nX-A: 2\r\n"),
    post(b"{}", b"Connection: close\r\n"),
    post(b"{}", b"", b"1.0"),
    post(GET),
    b"GET /g HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE /d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /bare HTTP/1.1\nHost: x\n\n",
    b"\r\n\r\n",
    GET[:-2],
    b"\r\n",
    b"nonsense\r\n\r\n",
]
"""Whole requests of every kind, halves of them, and what is none."""


def undated(said: bytes) -> list[bytes]:
    """Return what a server sent without the hour."""
    return [line for line in said.split(b"\r\n") if not line.startswith(b"date: ")]


@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map(b"".join), max_size=8))
def test_a_server_that_remembers_heads_says_the_same(chunks: list[bytes]) -> None:
    """Whatever comes on a connection, in whatever pieces: the first time, the second, and when all of it was kept."""

    async def thrice(client: Client) -> None:
        for one in (client, Client(Echo()), Client(Echo())):
            one.server.heads = client.server.heads
            for chunk in chunks:
                one.send(chunk)
                await one.settle()
            said.append(one.said)

    said: list[bytes] = []
    talk(thrice)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads.Heads, "request", lambda *_: None)
        parsed = sent(*chunks)

    assert [undated(one) for one in said] == [undated(parsed.said)] * 3


@pytest.mark.parametrize("raw", [GET, post(), post(b"")])
def test_a_head_that_came_before_is_not_parsed(raw: bytes) -> None:
    """Not even by another connection of the same server; a body is taken as it comes. The first time is not enough."""

    async def again(client: Client) -> None:
        client.send(raw)
        await client.settle()
        assert not client.server.heads._seen
        client.send(raw)
        other = Client(Echo())
        other.server.heads = client.server.heads
        other.connection._parser = None  # would fail
        other.send(raw.replace(b"{}", b"[]"))
        await other.settle()
        said.append(other.said)

    said: list[bytes] = []
    client = talk(again)

    assert undated(client.said.replace(b"{}", b"[]")) == undated(said[0] * 2)


def test_a_body_is_allowed_anew_each_time() -> None:
    """Who may send how much is asked for each request: another caller with the same head may be on another machine."""
    asked: list[str] = []

    class Picky(Echo):
        def most(self, request: Request) -> int:
            asked.append(request.client)
            return 100 if len(asked) < 4 else 0

    client = sent(*[post(b"ab")] * 4, application=Picky())

    assert (client.said.count(b" ab"), len(asked)) == (3, 5)
    assert client.statuses == [200] * 4


def test_heads_are_few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept has a bound; a long head is not kept at all."""
    monkeypatch.setattr(heads, "_MOST", 3)
    gets = [b"GET /%d HTTP/1.1\r\n%b\r\n" % (number // 2, HOST) for number in range(10)]
    client = sent(*gets, *[post(b"", b"X: " + b"x" * 5000 + b"\r\n")] * 2)

    assert 0 < len(client.server.heads._seen) <= 3
    assert len(client.server.heads._once) <= 3
    assert client.statuses == [200] * 12


# Responses that leave together


def test_whole_responses_leave_at_the_end_of_the_turn() -> None:
    """Not before other requests that came in with them were served, and those not before all that has come in was read."""

    class Looks(Echo):
        def serve(self, exchange: Exchange) -> None:
            served.append([one.said for one in clients])
            super().serve(exchange)

    async def turn(client: Client) -> None:
        clients.extend([client, Client(client.server.application)])
        clients[1].connection._server = client.server
        for one in clients:
            one.connection.data_received(GET)
        served.append([])
        await asyncio.sleep(0)

    clients: list[Client] = []
    served: list[list[bytes]] = []
    talk(turn, Looks())

    assert served == [[], [b"", b""], [b"", b""]]
    assert [one.statuses for one in clients] == [[200], [200]]


@pytest.mark.parametrize("many", [1, 16, 17, 40])
def test_all_that_come_in_together_are_served(many: int) -> None:
    """However many; the responses to the first of them do not wait for the last."""

    class Looks(Echo):
        def serve(self, exchange: Exchange) -> None:
            served.append(sum(bool(one.said) for one in clients))
            super().serve(exchange)

    async def turn(client: Client) -> None:
        clients.extend([client, *(Client(client.server.application) for _ in range(many - 1))])
        for one in clients:
            one.connection._server = client.server
            one.connection.data_received(GET)
        await asyncio.sleep(0)

    clients: list[Client] = []
    served: list[int] = []
    talk(turn, Looks())

    assert [one.statuses for one in clients] == [[200]] * many
    assert served == [number // 16 * 16 for number in range(many)]


def test_a_request_at_which_the_fake_fails_costs_no_other_its_response() -> None:
    """Its own connection breaks."""

    class Fails(Echo):
        def serve(self, exchange: Exchange) -> None:
            if exchange.request.method == "POST":
                raise RuntimeError("a fault of the fake")
            super().serve(exchange)

    async def turn(client: Client) -> None:
        clients.extend([Client(client.server.application), client])
        clients[0].connection._server = client.server
        clients[0].connection.data_received(post())
        clients[1].connection.data_received(GET)
        await client.settle()

    clients: list[Client] = []
    talk(turn, Fails())

    assert [one.statuses for one in clients] == [[], [200]]
    assert [one.transport.aborted for one in clients] == [True, False]


def test_nothing_is_served_on_a_connection_that_is_being_closed() -> None:
    """What waited behind a last response would be written to a side that is closed already."""

    class Thinks(Echo):
        async def _until(self, known: asyncio.Event) -> int:
            await known.wait()
            return 100

        def most(self, request: Request) -> Any:
            return self._until(known) if request.path == "/c" else 100

    async def ends(client: Client) -> None:
        client.send(post() + CHUNKED)
        await client.settle()
        first = application.taken[0]
        first.keep = False
        application.respond(first)
        await client.settle()
        known.set()

    application, known = Thinks(waits=True), asyncio.Event()
    client = talk(ends, application)

    assert client.statuses == [200]
    assert [one.request.path for one in application.taken] == ["/p"]


def test_a_connection_that_fails_costs_no_other_its_response() -> None:
    """Nor is anything tried on it again."""

    def fails(data: bytes) -> None:
        raise RuntimeError(f"{len(data)} bytes could not be sent")

    def run(client: Client) -> Any:
        broken = Client(Echo())
        broken.connection._server = client.server
        monkeypatch.setattr(broken.transport, "write", fails)
        broken.send(GET)
        client.send(GET)
        others.append(broken)

    others: list[Client] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        client = talk(run)

    assert client.statuses == [200]
    assert others[0].transport.aborted


@pytest.mark.parametrize("ends", ["close", "half", "stop"])
def test_no_response_is_lost_when_its_connection_ends(ends: str) -> None:
    """Because the client closes its side at once, asks for the end, or the server stops."""

    def run(client: Client) -> Any:
        client.send(post(b"{}", b"Connection: close\r\n") if ends == "close" else GET)
        if ends == "half":
            client.connection.eof_received()
            client.transport.close()  # as a transport does whose protocol returns False
        if ends == "stop":
            client.connection.hang_up()

    client = talk(run)

    assert client.statuses == [200]
    assert client.transport.closed
