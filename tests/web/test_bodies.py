"""Bodies are read for no longer than a client keeps sending: the reader of the edge, over a connection in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kling_mock.serving import bodies
from kling_mock.serving.bodies import Stalled, read
from kling_mock.web.http import Request


class Scope:
    """A client that `cut` is called with."""

    client = "127.0.0.1:1"


class Proto:
    """A connection: pieces of a body; "stall" waits until it is cut, "end" breaks."""

    def __init__(self, *pieces: bytes | str) -> None:
        self.pieces, self.cut = pieces, asyncio.Event()
        self.given = 0

    async def __call__(self) -> bytes:
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if piece == "stall":
                await self.cut.wait()
                raise RuntimeError("closed")
            if piece == "end":
                raise RuntimeError("closed")
            assert isinstance(piece, bytes)
            self.given += 1
            yield piece


def reading(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Proto], most: int, patience: float = 0.001, **headers: str
) -> tuple[Request, Proto]:
    """The request after its body was read."""

    async def run() -> tuple[Request, Proto]:
        proto = make()
        monkeypatch.setattr(bodies, "cut", lambda client: proto.cut.set())
        monkeypatch.setattr(bodies, "IDLE_SECONDS", patience)
        monkeypatch.setattr(bodies, "_DROPPED_SECONDS", patience)
        request = Request("POST", "/", "", {name.replace("_", "-"): value for name, value in headers.items()}, b"")
        await read(Scope(), proto, request, most)
        return request, proto

    return asyncio.run(run())


@pytest.mark.parametrize("headers", [{"content_length": "9"}, {}, {"content_length": str(5 << 20)}])
def test_a_client_that_stalls_is_cut(monkeypatch: pytest.MonkeyPatch, headers: Any) -> None:
    """Whether it said how much would come or not."""
    with pytest.raises(Stalled):
        reading(monkeypatch, lambda: Proto(b"abc", "stall"), 1 << 30, **headers)


@pytest.mark.parametrize("headers", [{"content_length": "9"}, {}])
def test_a_body_that_breaks_off_is_marked(monkeypatch: pytest.MonkeyPatch, headers: Any) -> None:
    """So that the client, which may still read, gets an error of its own."""
    request, _ = reading(monkeypatch, lambda: Proto(b"abc", "end"), 100, 60, **headers)

    assert request.cut


def test_what_fits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, with a length and without."""
    for headers in ({"content_length": "6"}, {}):
        request, _ = reading(monkeypatch, lambda: Proto(b"abc", b"def"), 6, 60, **headers)
        assert (request.body, request.cut, request.oversize) == (b"abcdef", False, False)


def test_what_is_too_long_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is kept, announced or not; a client that waits to be asked is not asked."""
    for headers in ({"content_length": "9"}, {}):
        request, _ = reading(monkeypatch, lambda: Proto(b"abc", b"def", b"ghi"), 5, 60, **headers)
        assert (request.body, request.cut, request.oversize) == (b"", False, True)
    _, proto = reading(monkeypatch, lambda: Proto(b"abc"), 0, 60, expect="100-continue")
    assert proto.given == 0


def test_dropping_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many bytes, where the response is given; or when the client takes its time, which ends the connection."""
    monkeypatch.setattr(bodies, "_DROPPED_BYTES", 5)

    _, fast = reading(monkeypatch, lambda: Proto(*[b"abc"] * 100), 0, 60)

    assert fast.given == 2
    with pytest.raises(Stalled):
        reading(monkeypatch, lambda: Proto(b"abc", "stall"), 0)
