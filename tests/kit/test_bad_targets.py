"""Targets that cannot be judged, or that break on the way: a verdict or one clear line, never a traceback or a hang."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner
from standin import StandIn

from kling_contract.cli.commands.server import command
from kling_contract.driving.sender import Limits, Sender
from kling_contract.rules.verdicts import SetupError

FAST = ["--quick", "--seed", "1", "--timeout", "1"]


@contextmanager
def raw(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what *serve* does; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=run, args=(connection,), daemon=True).start()

    def run(connection: socket.socket) -> None:
        with connection:
            try:
                serve(connection)
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stop.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def answering(body: bytes, kind: str = "application/json") -> Callable[[socket.socket], None]:
    """Answers every request with *body*."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return serve


def refusal(url: str, *more: str) -> str:
    """The one line with which the command gives up on *url*."""
    result = CliRunner().invoke(command, [url, "--api-key", "sk-a", *FAST, *more], standalone_mode=False)
    assert isinstance(result.exception, SetupError), result.output
    line = str(result.exception)
    assert "\n" not in line
    return line


def test_nothing_listens() -> None:
    """A refused connection."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert "refused" in refusal(f"http://127.0.0.1:{port}")


def test_no_such_host() -> None:
    """A name that does not resolve."""
    assert "does not resolve" in refusal("https://nowhere.invalid")


def test_html_instead_of_json() -> None:
    """A web page is no API."""
    with raw(answering(b"<html>hello</html>", "text/html")) as url:
        assert "text/html) is not JSON: is this the address of the API?" in refusal(url)


def test_tls_that_fails() -> None:
    """https where nobody speaks it."""
    with raw(answering(b"{}")) as url:
        assert "TLS failed" in refusal(url.replace("http://", "https://"))


def test_not_http() -> None:
    """Something else listens on that port."""

    def greet(connection: socket.socket) -> None:
        connection.recv(4096)  # what is not read when a connection is closed resets it
        connection.sendall(b"220 mail.example.com ESMTP\r\n")

    with raw(greet) as url:
        assert "not HTTP" in refusal(url)


def test_a_wrong_key() -> None:
    """One line, and the key is not in it."""
    with StandIn() as server:
        result = CliRunner().invoke(command, [server.url, "--api-key", "sk-wrong-key", *FAST], standalone_mode=False)
    assert str(result.exception) == f"{server.url}: the API key is refused (401)"


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:notaport", "http://host/?key=1"])
def test_no_url(url: str) -> None:
    """A usage error, before anything is sent."""
    assert refusal(url)


class _Wire(Sender):
    """For looking at single answers."""

    def get(self, url: str, seconds: float = 1.0, cap: int = 1000) -> Any:
        """A GET within *seconds*."""
        return self.send("GET", url, [], None, Limits(seconds, cap))


def test_a_server_that_hangs() -> None:
    """It accepts and never answers: a timeout, in time."""
    never = threading.Event()
    with raw(lambda _: void(never.wait(10))) as url:
        reply = _Wire().get(url, 0.2)
        never.set()
    assert (reply.status, reply.lost) == (None, "timeout")


def test_a_server_that_drips() -> None:
    """A byte now and then keeps no exchange alive past its deadline."""
    never = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not never.wait(0.05):
            connection.sendall(b"x")

    with raw(drip) as url:
        reply = _Wire().get(url, 0.3)
        never.set()
    assert reply.lost == "timeout"


def test_a_hundred_megabytes() -> None:
    """Reading stops at the cap; status and first bytes are kept."""

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        for _ in range(1600):
            connection.sendall(b"x" * 65536)

    with raw(flood) as url:
        reply = _Wire().get(url, 5.0)
    assert (reply.status, reply.lost, len(reply.body)) == (200, "too large", 1000)


def test_a_server_that_dies_half_way() -> None:
    """Half an answer is a lost one."""

    def die(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    with raw(die) as url:
        reply = _Wire().get(url)
    assert (reply.status, reply.lost) == (None, "cut")


def void(value: object) -> None:
    """Drop *value*."""
    del value


def test_a_target_that_dies_in_the_middle_is_still_judged(tmp_path) -> None:
    """What it did until then is judged and reported; the run says that it was stopped."""
    alive = threading.Semaphore(60)

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            """Pass on to the stand-in, as long as there is life left."""
            if not alive.acquire(blocking=False):
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = [(name, value) for name, value in self.headers.items() if name.lower() != "host"]
            reply = Sender().send(self.command, behind.url + self.path, headers, data, Limits(5))
            self.send_response(reply.status or 500)
            for name, value in reply.headers:
                if name.lower() not in ("date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the library's names

    with StandIn(queue=0.05, run=0.05) as behind, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front) as front:
        threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{front.server_address[1]}"
        args = [url, "--api-key", "sk-a", *FAST, "--report", str(tmp_path)]
        result = CliRunner().invoke(command, args, standalone_mode=False)
        front.shutdown()

    assert result.exception is None, result.output
    assert result.return_value == 3
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["totals"]["pass"] > 0
    assert "stopped answering" in (tmp_path / "history.jsonl").read_text()
