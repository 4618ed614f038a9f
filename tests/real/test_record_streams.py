"""The recording proxy between a client and hosts: downloads as they arrive, and creates that are led somewhere else."""

import hashlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from standins.service import CREATE, KEY, Behaviour, Service
from test_record import BODY, through

from kling_common.authority import Authority
from kling_contract.driving.drivers.running import Money
from kling_contract.driving.sender import Sender
from kling_contract.history.events import Download, Exchange, Recorder
from kling_contract.reading.contract import shipped
from kling_contract.recording.proxy import RecordingProxy
from kling_contract.recording.setup import opened

HALVES = (b"a" * 100_000, b"b" * 50_000)


@contextmanager
def film_host(send: Callable[[socket.socket], None]) -> Iterator[str]:
    """A host that answers each connection with what *send* writes; its origin."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(10_000)
                    send(connection)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def proxied(upstream: str, tmp_path: Path, recorder: Recorder, money: Money | None = None) -> Iterator[RecordingProxy]:
    """The proxy in front of *upstream*."""
    authority = Authority(tmp_path / "home")
    authority.certificate(["localhost"])
    with opened(upstream, shipped(), money or Money(), recorder, sender=Sender(), authority=authority) as proxy:
        yield proxy


def ask(proxy: RecordingProxy, method: str, url: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A request of a client that knows a proxy; the response is not read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=60)
    connection.request(method, url)
    return connection, connection.getresponse()


@pytest.mark.parametrize("framing", ["Content-Length: 150000", "Connection: close"])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_download_reaches_the_client_as_it_arrives(framing: str, recorded: bool, tmp_path: Path) -> None:
    """The second half is sent when the client has the first, whether the service gave the link or not; the record has all of it."""
    had_first = threading.Event()

    def send(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n{framing}\r\n\r\n".encode() + HALVES[0])
        assert had_first.wait(10)
        connection.sendall(HALVES[1])

    recorder = Recorder()
    with film_host(send) as origin, proxied("http://localhost:1", tmp_path, recorder) as proxy:
        link = f"{origin}/film.mp4"
        proxy._links |= {link} if recorded else set()
        connection, response = ask(proxy, "GET", link)
        first = response.read(len(HALVES[0]))
        had_first.set()
        rest = response.read()
        connection.close()
    assert (first, rest) == HALVES
    downloads = [event for event in recorder.events if isinstance(event, Download)]
    assert len(downloads) == recorded
    if recorded:
        assert (downloads[0].size, downloads[0].sha256) == (150_000, hashlib.sha256(b"".join(HALVES)).hexdigest())


def test_a_download_that_is_cut_is_cut_for_the_client(tmp_path: Path) -> None:
    """It sees fewer bytes than it was promised, and the record says that the download was lost."""

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n" + HALVES[0])

    recorder = Recorder()
    with film_host(send) as origin, proxied("http://localhost:1", tmp_path, recorder) as proxy:
        proxy._links.add(f"{origin}/film.mp4")
        connection, response = ask(proxy, "GET", f"{origin}/film.mp4")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()
    (download,) = [event for event in recorder.events if isinstance(event, Download)]
    assert (download.lost, download.sha256) == ("cut", "")


def test_a_head_request_keeps_its_length(tmp_path: Path) -> None:
    """The length of what a GET would give, and no body."""

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n")

    with film_host(send) as origin, proxied("http://localhost:1", tmp_path, Recorder()) as proxy:
        connection, response = ask(proxy, "HEAD", f"{origin}/film.mp4")
        assert (response.getheader("Content-Length"), response.read()) == ("150000", b"")
        connection.close()


def test_a_create_that_a_redirect_led_to_another_host_does_not_pass_the_guard(tmp_path: Path) -> None:
    """The service takes the create and answers 307: the outcome is unknown, so the same create is not sent to the other host."""
    recorder = Recorder()
    with (
        Service(Behaviour(answer="redirect")) as service,
        Service() as other,
        proxied(service.url, tmp_path, recorder, Money(max_usd=5.0, creates=9)) as proxy,
    ):
        authority = Authority(tmp_path / "home")
        with pytest.raises(OSError, match="307"):
            through(proxy, authority, service.url + CREATE, BODY)
        with pytest.raises(OSError, match="402"):
            through(proxy, authority, other.url + CREATE, BODY)
    assert len(service.ledger.rows) == 1
    assert other.ledger.seen == []
    assert "outcome of a create is unknown" in "\n".join(proxy.remarks())
    calls = [event for event in recorder.events if isinstance(event, Exchange)]
    assert [event.answer.status for event in calls if event.answer] == [307, 402]


def test_another_host_of_the_service_counts_against_the_same_cap(tmp_path: Path) -> None:
    """A create there is sent, counted and recorded as one at the service's own address is."""
    recorder = Recorder()
    with (
        Service() as service,
        Service() as other,
        proxied(service.url, tmp_path, recorder, Money(max_usd=5.0)) as proxy,
    ):
        authority = Authority(tmp_path / "home")
        assert b"task-unified" in through(proxy, authority, other.url + CREATE, BODY, KEY)
        with pytest.raises(OSError, match="402"):
            through(proxy, authority, service.url + CREATE, BODY)
    assert (len(service.ledger.rows), len(other.ledger.rows)) == (0, 1)
