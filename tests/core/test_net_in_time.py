"""Outbound HTTP always ends in time, and after so many bytes, whatever a receiver does."""

import socket
import threading

import pytest
import trustme
from outbound import (
    HOST,
    SHORT,
    Script,
    deaf,
    drip,
    endless,
    post,
    receiver,
    server_context,
    silent_after,
    sip,
    transport,
)

from kling_common.targets import parse

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
