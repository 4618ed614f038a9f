"""A plain answer is read the short way: as `http.client` reads it, or not at all."""

import socket
import threading
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kling_common.wire import AnswerTooLong, Deadline, Wire, drain, plain_head

Read = tuple[int, bool] | tuple[int, str] | None

STATUS = st.sampled_from([b"200", b"204", b"304", b"404", b"500", b"999", b"100", b"101", b"20", b"2000", b"2x0"])
LINES = st.sampled_from(
    [
        *(
            b"Content-Length: 3",
            b"content-length:3 ",
            b"CONTENT-LENGTH:\t0",
            b"Content-Length: 9",
            b"Content-Length: -1",
        ),
        *(b"Content-Length : 3", b"Content-Length: 3, 3", b"Content-Length:", b"Transfer-Encoding: chunked"),
        *(b"Transfer-Encoding: identity", b"Connection: close", b"Connection: keep-alive", b"X-Any: a:b", b": none"),
        *(b" folded", b"X-Length: 3", b"X-Text: Content-Length: 2", b"X-High: \xe9\xff", b"no colon", b"X: \0"),
    ]
)
BODIES = st.sampled_from([b"", b"abc", b"abcdef", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n"])


def read(answer: bytes, *, plainly: bool, budget: int | None = None) -> Read:
    """Return the status and how the body ended; None where the short way leaves it to the long one."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(answer)
        there.shutdown(socket.SHUT_WR)
        wire = Wire(here, Deadline(lambda: 0.0, 10.0), budget)
        if plainly:
            found = plain_head(wire)
            if found is None:
                return None
            return found.status, _ending(found)
        response = HTTPResponse(cast("socket.socket", wire), method="POST")
        try:
            response.begin()
        except HTTPException as error:
            return 0, type(error).__name__
        return response.status, _ending(response)


def _ending(response: object) -> bool | str:
    try:
        return drain(response)  # type: ignore[arg-type]  # either of the two that it takes
    except IncompleteRead:
        return "cut"
    except (AnswerTooLong, HTTPException) as error:
        return type(error).__name__


@given(
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"http/1.1"]),
    STATUS,
    st.sampled_from([b" OK", b"", b" ", b" Not \xe9 Found"]),
    st.lists(LINES, max_size=4),
    BODIES,
    st.none() | st.integers(20, 90),
)
@example(b"HTTP/1.1", b"204", b"", [b"Content-Length: 9"], b"", None)
@example(b"HTTP/1.1", b"200", b" OK", [b"Content-Length: 3", b"Content-Length: 9"], b"abc", None)
def test_the_short_way_finds_what_the_long_way_does(
    version: bytes, status: bytes, reason: bytes, lines: list[bytes], body: bytes, budget: int | None
) -> None:
    """Status, and whether the body was whole, cut or more than is read."""
    answer = b"\r\n".join([version + b" " + status + reason, *lines, b"", body])
    found = read(answer, plainly=True, budget=budget)
    if found is not None:
        assert found == read(answer, plainly=False, budget=budget)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, True)),
        (b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\n{}", (200, True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", (200, "cut")),
        (b"HTTP/1.0 500\r\n\r\nup to the end", (500, True)),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99 + b"\r\n", (200, True)),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 15 + b"\r\n\r\n", (200, "cut")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 16 + b"\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX: y", None),
        (b"", None),
    ],
)
def test_what_is_read_the_short_way(answer: bytes, found: Read) -> None:
    """What most servers send; anything else is left as it was."""
    assert read(answer, plainly=True) == found


def test_a_head_that_comes_in_pieces_is_read_the_long_way() -> None:
    """Nothing of it is lost."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"HTTP/1.1 204 ")
        wire = Wire(here, Deadline(lambda: 0.0, 10.0), None)
        assert plain_head(wire) is None

        later = threading.Thread(target=there.sendall, args=(b"No Content\r\n\r\n",))
        later.start()
        response = HTTPResponse(cast("socket.socket", wire), method="POST")
        response.begin()
        later.join()
        assert response.status == 204
