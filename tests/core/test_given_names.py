"""Addresses that a user gives a name are judged like those that a name server gives."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

import pytest

from kling_common.targets import IPAddress
from kling_common.transport import Transport

HOST = "rebound.example.com"
LOOPBACK = ip_address("127.0.0.1")


def transport(allow: Callable[[IPAddress], bool]) -> Transport:
    """A transport whose own resolver must not be asked."""

    def resolve(host: str, port: int) -> Sequence[IPAddress]:
        raise AssertionError(host)

    return Transport(
        resolve=resolve, monotonic=time.perf_counter, allow=allow, ca_file=None, max_response_bytes=1000, user_agent="t"
    )


class Yes(http.server.BaseHTTPRequestHandler):
    """Says yes to every POST."""

    def do_POST(self) -> None:
        """200, and nothing else."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    """A receiver on the loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Yes) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_given_address_is_called(port: int) -> None:
    """The name is not asked for, and the call goes to the address."""
    outcome = transport(lambda _: True).post(f"http://{HOST}:{port}/", b"{}", {}, 5.0, None, {HOST: (LOOPBACK,)})

    assert outcome.kind == "2xx"


def test_a_given_address_inside_is_blocked(port: int) -> None:
    """A name that leads inside is blocked before anything is connected to, whoever says where it leads."""
    outcome = transport(lambda ip: not ip.is_loopback).post(
        f"http://{HOST}:{port}/", b"{}", {}, 5.0, None, {HOST: (LOOPBACK,)}
    )

    assert (outcome.kind, outcome.status) == ("blocked", None)
