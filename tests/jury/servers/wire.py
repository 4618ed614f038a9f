"""HTTP/1.1 around an `Api`. A server that is run as a program prints `{"url": ...}` and serves until its input ends."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from base import Answer, Api


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 around an `Api`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        """Read one request and answer it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.respond(self.api.answer(self.command, self.path, self.headers, body))

    def respond(self, answer: Answer) -> None:
        """Write one answer."""
        data = answer.body if isinstance(answer.body, bytes) else self.dump(answer.body)
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": "application/json",
            **answer.headers,
            "Content-Length": str(len(data)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def dump(self, body: Any) -> bytes:
        """JSON as bytes."""
        return json.dumps(body).encode()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Many connections at once."""

    daemon_threads = True
    request_queue_size = 128


def serve(api: Api, handler: type[Handler] = Handler) -> None:
    """Serve on a free port, say where, and go on until the input ends."""
    server = Server(("127.0.0.1", 0), type("Bound", (handler,), {"api": api}))
    api.origin = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": api.origin}), flush=True)
    sys.stdin.read()
