"""The client as a command: what it is asked for stands in the lab's variables, see the interface."""

import argparse
import json
import os
import sys
import threading
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kling_contract.mutants.client.switchable import EXITS, Client
from kling_contract.mutants.client.world import Setup, Sockets


class _Handler(BaseHTTPRequestHandler):
    timeout = 5

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        client: Client = self.server.client  # type: ignore[attr-defined]
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isdigit() else 0
        most = client.setup.limits["callback_bytes"]
        body = self.rfile.read(min(size, most + 1))
        status = client.heard(self.command, body)
        while (size := size - len(body)) > 0 and body:  # read on, so that the sender hears the answer
            body = self.rfile.read(min(size, most))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet."""


def _listen(client: Client, port: int) -> ThreadingHTTPServer:
    """The receiver."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    server.client = client  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def _setup(options: argparse.Namespace) -> Setup:
    found = os.environ
    request: dict[str, Any] = {"image_start": found["KLING_IMAGE"]}
    request |= {
        name: found[f"KLING_{name.upper()}"] for name in ("prompt", "quality") if f"KLING_{name.upper()}" in found
    }
    if "KLING_DURATION" in found:
        request["duration"] = int(found["KLING_DURATION"])
    return Setup(
        base_url=found["KLING_BASE_URL"], key=found["KLING_API_KEY"], request=request, out=Path(found["KLING_OUT"]),
        deadline=float(found["KLING_DEADLINE"]), pause=options.pause, timeout=options.timeout,
        limits=json.loads(options.limits), callback_url=found["KLING_CALLBACK_URL"] if options.callbacks else "",
        mutant=options.mutant, spread=0.3 * uuid.uuid4().int / (1 << 128),
    )  # fmt: skip


def main() -> int:
    """Carry out one request; return the exit code."""
    parser = argparse.ArgumentParser(prog="switchable-client")
    parser.add_argument("--limits", required=True, help="JSON, see kling_contract.mutants.clients.limits_of")
    parser.add_argument("--mutant", default="", help="the switch to throw")
    parser.add_argument("--pause", type=float, required=True, help="seconds between reads")
    parser.add_argument("--timeout", type=float, required=True, help="seconds of one call")
    parser.add_argument("--callbacks", action="store_true", help="register a callback and listen for it")
    setup = _setup(parser.parse_args())
    client = Client(setup, Sockets(verify=setup.mutant != "trusts-any-certificate"))
    server = _listen(client, int(os.environ["KLING_CALLBACK_PORT"])) if setup.callback_url else None
    try:
        result = client.run()
    finally:
        client.over.set()
        if server is not None:
            server.shutdown()
            server.server_close()
    if "KLING_RESULT" in os.environ:
        Path(os.environ["KLING_RESULT"]).write_text(json.dumps(result))
    return EXITS[result["outcome"]]


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
