"""Places that a client must not go to, one set a case: another origin, a proxy that lets nothing out, an untrusted server.

Everything that arrives is kept as an exchange of the case, so that a key that went astray is seen where it arrived.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from kling_contract.history.events import Exchange, Recorder

_MOST = 1 << 20
_IDLE = 0.4
PLAIN_HTTP = "http://kling.test"
"""A base URL that is not encrypted and not on this machine; nobody can own the name (RFC 2606)."""
FORGED_VIDEO = "/forged-video.mp4"
_VIDEO = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\x08mdat"

Keep = Callable[[Exchange], None]


class Elsewhere:
    """`with Elsewhere(recorder, keep) as place`: listens until the block ends. tls: with a certificate that nobody trusts.

    keep: told of each exchange. `touched` counts connections, also those on which nothing was asked.
    """

    def __init__(self, recorder: Recorder, keep: Keep, case: str, *, tls: bool = False) -> None:
        self.recorder, self.keep, self.case = recorder, keep, case
        self.touched = 0
        self._server = _Server(self, _untrusted() if tls else None)

    def __enter__(self) -> Self:
        # Rarely awake for nothing: there is one for each of many cases, whose end waits for it this long at most.
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": _IDLE}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        """Its origin."""
        return f"{'https' if self._server.tls else 'http'}://127.0.0.1:{self.port}"


def _untrusted() -> ssl.SSLContext:
    """A server context for 127.0.0.1, signed by an authority that nobody has heard of."""
    import trustme  # only this story needs it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


class _Server(ThreadingHTTPServer):
    """A thread a connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, place: Elsewhere, tls: ssl.SSLContext | None) -> None:
        self.place, self.tls = place, tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Count the connection; shake hands in its own thread."""
        self.place.touched += 1
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_Handler.timeout)
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet: the history is the record."""

    def _serve(self) -> None:
        place = self.server.place
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), _MOST)) if length.isdigit() else b""
        self.close_connection = True
        mono, at = place.recorder.mono(), place.recorder.clock().at
        proxied = self.command == "CONNECT" or "://" in self.path
        status, headers, answer = self._answer(proxied=proxied)
        place.keep(
            Exchange(
                method=self.command, url=self._url(), case=place.case, mono=mono, at=at,
                request=place.recorder.message(self.headers.items(), body),
                answer=place.recorder.answer(status, headers, answer),
            )
        )  # fmt: skip
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(answer))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def _url(self) -> str:
        """Where the client wanted to go."""
        if self.command == "CONNECT":
            return f"https://{self.path.removesuffix(':443').removesuffix(':80')}"
        return self.path if "://" in self.path else self.server.place.origin + self.path

    def _answer(self, *, proxied: bool) -> tuple[int, list[tuple[str, str]], bytes]:
        if proxied:
            return 403, [("Content-Type", "text/plain")], b"the lab lets nothing out"
        if self.command == "GET" and self.path.partition("?")[0] == FORGED_VIDEO:
            return 200, [("Content-Type", "video/mp4")], _VIDEO
        return (
            404,
            [("Content-Type", "application/json")],
            b'{"error": {"code": "not_found", "message": "not the service"}}',
        )


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
