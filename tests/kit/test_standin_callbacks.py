"""Callbacks of the stand-in, sent to an HTTPS receiver."""

import json
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from standin import StandIn
from standin_calls import FAST, call, create, finished, serving, until
from standin_gallery import Patient


@dataclass
class Receiver:
    """An HTTPS callback receiver: scripted answers, everything it got."""

    port: int = 0
    script: list[bytes | Iterable[bytes]] = field(default_factory=list)  # pieces go out one every 50 ms
    got: list[tuple[str, Any, bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Receiver, dict[str, Any]]]:
    """A receiver known as hooks.example.com, with the options that let a stand-in reach it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    state = Receiver()

    class Hook(Patient):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append((self.path, self.headers, body))
            answer = state.script.pop(0) if state.script else answer_of(204)
            for piece in [answer] if isinstance(answer, bytes) else answer:
                self.wfile.write(piece)
                threading.Event().wait(0 if isinstance(answer, bytes) else 0.05)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    with serving(server):
        place = {"hooks.example.com": ("127.0.0.1", state.port)}
        yield state, {**FAST, "ca_file": tmp_path / "ca.pem", "resolve": place, "retry_gaps": (0.1, 0.2, 0.4)}


def answer_of(status: int, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of an HTTP answer."""
    length = () if status < 200 or status == 204 else (f"Content-Length: {len(body)}",)
    return "\r\n".join([f"HTTP/1.1 {status} X", *headers, *length, "", ""]).encode() + body


def test_a_callback_is_the_task_and_nothing_more(receiver: tuple[Receiver, dict[str, Any]]) -> None:
    """One POST to the URL as given, after settling, with the body of a query and no key in it."""
    hook, options = receiver
    with StandIn(**options) as server:
        url = "https://hooks.example.com:8443/a%20b/c;d?x=1&y=%2F&z"
        task_id = create(server, callback_url=url).json["id"]
        until(server, server.attempt_rows)
        [(path, headers, body)] = hook.got
        assert path == "/a%20b/c;d?x=1&y=%2F&z"
        assert json.loads(body) == call(server, "GET", f"/v1/tasks/{task_id}").json
        assert (headers["Content-Type"], headers["Host"]) == ("application/json", "hooks.example.com:8443")
        assert "Authorization" not in headers
        assert b"sk-a" not in body
        assert [row["outcome"] for row in server.attempt_rows()] == ["2xx"]
        settled = next(row for row in server.ledger_rows() if row["event"] == "settled")
        assert settled["at"] <= server.attempt_rows()[0]["sent"]


def test_callbacks_are_retried_after_each_failure_and_then_given_up(
    receiver: tuple[Receiver, dict[str, Any]],
) -> None:
    """A redirect, a cut body, a 500 and a lone interim answer all fail; gaps count from the end of each failure."""
    hook, options = receiver
    hook.script += [
        answer_of(302, "Location: https://hooks.example.com/elsewhere"),
        answer_of(200, body=b"0123456789")[:-3],
        answer_of(500),
        answer_of(103),
    ]
    with StandIn(**options, tags=True) as server:
        task_id = create(server, callback_url="https://hooks.example.com/", prompt="[[failed]]").json["id"]
        rows = until(server, lambda: rows if len(rows := server.attempt_rows()) == 4 else None)
        assert [row["status"] for row in rows] == [302, None, 500, None]
        for before, after, gap in zip(rows, rows[1:], (0.1, 0.2, 0.4), strict=False):
            assert gap <= after["sent"] - before["ended"] < gap + 1
        threading.Event().wait(0.3)
        assert len(hook.got) == 4
        assert len({body for _, _, body in hook.got}) == 1
        assert finished(server, task_id)["status"] == "failed"
        assert server.balance("sk-a") == 1_000_000


@pytest.mark.parametrize("success", [answer_of(299), answer_of(204), answer_of(103) + answer_of(201, body=b"ok")])
def test_any_2xx_is_success(receiver: tuple[Receiver, dict[str, Any]], success: bytes) -> None:
    """Every 2xx ends the delivery, also behind an interim answer."""
    hook, options = receiver
    hook.script += [answer_of(400), success]
    with StandIn(**options) as server:
        create(server, callback_url="https://hooks.example.com/")
        rows = until(server, lambda: rows if len(rows := server.attempt_rows()) == 2 else None)
        assert [row["outcome"] for row in rows] == ["status", "2xx"]


def test_a_trickling_receiver_is_timed_out(receiver: tuple[Receiver, dict[str, Any]]) -> None:
    """The timeout is for the whole attempt: an answer that never ends does not stretch it."""
    hook, options = receiver
    hook.script.append([answer_of(200, body=b"." * 40)[:-40], *[b"."] * 40])
    with StandIn(**options | {"callback_timeout": 0.3, "retry_gaps": ()}) as server:
        create(server, callback_url="https://hooks.example.com/")
        [row] = until(server, server.attempt_rows)
        assert row["outcome"] == "timeout"
        assert 0.3 <= row["ended"] - row["sent"] < 1.5


def test_certificates_and_rebinding(receiver: tuple[Receiver, dict[str, Any]]) -> None:
    """An unknown authority is a failure, and a name that turned internal is never connected to."""
    hook, options = receiver
    with StandIn(**options | {"ca_file": None, "retry_gaps": ()}) as server:
        create(server, callback_url="https://hooks.example.com/")
        assert until(server, server.attempt_rows)[0]["outcome"] == "tls"
    answers = iter([["93.184.216.34"]])
    rebinding = {"resolve": None, "retry_gaps": (), "lookup": lambda _host: next(answers, ["127.0.0.1"])}
    with StandIn(**options | rebinding) as server:
        create(server, callback_url=f"https://hooks.example.com:{hook.port}/")
        assert until(server, server.attempt_rows)[0]["outcome"] == "blocked"
        assert create(server, callback_url="https://hooks.example.com/").error[2] == "callback_url"
    assert hook.got == []
