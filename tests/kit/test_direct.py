"""The quick way to a mutant shows what a socket does, and deadlines of many requests need one thread."""

import threading
from collections.abc import Iterator

import pytest

from kling_contract.driving.sender import Limits, RawResponse, Sender, _Deadlines
from kling_contract.mutants.messages import Response
from kling_contract.mutants.mutant import Switch
from kling_contract.mutants.proxy import Direct, Proxy
from kling_contract.serving import Incoming, Listener

_BODY = b'{"a":1}'
_ASKED: list[tuple[str, str, list[tuple[str, str]], bytes | None]] = [
    ("GET", "/v1/credits?a=1&b=%2F", [("Authorization", "Bearer sk-a")], None),
    ("HEAD", "/v1/credits", [], None),
    ("POST", "/v1/videos/generations", [("Content-Type", "application/json")], _BODY),
    ("POST", "/v1/videos/generations", [], b""),
    ("GET", "/204", [], None),
    ("GET", "/304", [], None),
    ("GET", "/0", [], None),
    ("GET", "/large", [], None),
    ("GET", "//double", [], None),
    ("GET", "/spoken", [("X-Note", "café"), ("X-Pad", " a ")], None),
    ("POST", "/long", [("Content-Length", "3")], _BODY),
]


def _respond(request: Incoming) -> None:
    """Say what was asked, with the status that the path names."""
    body = request.body()
    status = int(request.path[1:]) if request.path[1:].isdigit() else 200
    if not status:
        request.reset()
        return
    seen = [f"{name}={value}" for name, value in request.pairs if name.lower() != "host"]
    text = "\n".join([request.command, request.path, *sorted(seen), body.decode()]).encode()
    request.respond(status, [("X-Kind", "text"), ("Date", "today")], text * (100 if request.path == "/large" else 1))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy in front of a server that says what it was asked."""
    with Listener(_respond) as upstream, Proxy(upstream.origin) as made:
        yield made


@pytest.mark.parametrize("asked", _ASKED)
def test_a_call_shows_what_a_socket_does(
    proxy: Proxy, asked: tuple[str, str, list[tuple[str, str]], bytes | None]
) -> None:
    """Status, headers, body and loss are the same, whatever is asked."""
    method, target, headers, body = asked
    limits = Limits(10.0, 1000)

    def through(sender: Sender) -> RawResponse:
        return sender.send(method, proxy.url + target, headers, body, limits)

    assert through(Direct(proxy)) == through(Sender())


def test_a_switch_that_breaks_is_a_connection_that_closes(proxy: Proxy) -> None:
    """What a handler of a server would do with an error, a call does too."""

    def break_down(*_: object) -> Response:
        raise KeyError("no such member")

    proxy.switches = (Switch(on_response=break_down),)
    assert Direct(proxy).send("GET", proxy.url + "/v1/credits", [], None) == Sender().send(
        "GET", proxy.url + "/v1/credits", [], None
    )


def test_another_host_is_reached_as_ever(proxy: Proxy) -> None:
    """Only the proxy's own address is called without a socket."""
    with Listener(_respond) as other:
        assert Direct(proxy).send("GET", other.origin + "/x", [], None).body.startswith(b"GET\n/x")


def test_deadlines_pass_in_their_order_and_dropped_ones_do_not() -> None:
    """One thread does what is due, the earliest first, however many were dropped before."""
    deadlines, seen, over = _Deadlines(), list[str](), threading.Event()
    for _ in range(2000):
        deadlines.drop(deadlines.put(3600.0, lambda: seen.append("dropped")))
    deadlines.put(0.02, over.set)
    deadlines.put(0.01, lambda: seen.append("second"))
    deadlines.put(0.0, lambda: seen.append("first"))
    assert over.wait(30)
    assert seen == ["first", "second"]
    assert len(deadlines._due) < 1000
