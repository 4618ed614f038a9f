"""What the tests of the stand-in share: calls of it, waiting for its tasks, a server in a thread."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import HTTPServer
from typing import Any
from urllib.parse import urlsplit

from standin import StandIn

CREATE = "/v1/videos/generations"
IMAGE = "https://image.test/1280x720.png"
FAST: dict[str, Any] = {"queue": 0.05, "run": 0.1}
LOOKS = 100_000
"""Reads after which a task that does not end is given up."""


@dataclass
class Reply:
    """One answer as the wire had it."""

    status: int
    headers: Any
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.raw)

    @property
    def error(self) -> Any:
        """(status, code, param) of an error answer."""
        error = self.json["error"]
        assert isinstance(error["message"], str)
        return self.status, error["code"], error.get("param")


def call(
    server: StandIn | str, method: str, path: str, body: Any = None, key: str | None = "sk-a", **headers: str
) -> Reply:
    """One request; `body` is sent as it is when bytes, else as JSON."""
    parts = urlsplit(server if isinstance(server, str) else server.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    if key is not None:
        sent.setdefault("Authorization", f"Bearer {key}")
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def create(server: StandIn, key: str = "sk-a", headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    """A create, valid unless `fields` say otherwise; a field given as ... is left out."""
    body = {"model": "kling-v3-turbo-image-to-video", "image_start": IMAGE, "duration": 3} | fields
    body = {name: value for name, value in body.items() if value is not ...}
    return call(server, "POST", CREATE, body, key, **(headers or {}))


def until(server: StandIn, ready: Callable[[], Any], seconds: float = 8.0) -> Any:
    """What `ready` gives once it gives anything; fails after `seconds`."""
    for _ in range(int(seconds / 0.01)):
        if found := ready():
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"never: {server.attempt_rows()}")


def finished(server: StandIn, task_id: str, key: str = "sk-a") -> Any:
    """The task once it is terminal."""

    def terminal() -> Any:
        task = call(server, "GET", f"/v1/tasks/{task_id}", key=key).json
        return task if task["status"] in ("completed", "failed") else None

    return until(server, terminal)


class serving:  # noqa: N801
    """A server in a thread for the length of a with block."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server

    def __enter__(self) -> None:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
