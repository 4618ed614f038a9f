"""A plain socket client, one account of a fake in a process of its own, and a receiver: what scenarios are seen with."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from kling_mock.contract import Contract
from kling_mock.serving.process import Running

CREATE = "/v1/videos/generations"
BODY = {"model": Contract().model, "image_start": "https://image.test/320x320.png", "duration": 3}
_numbers = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker that says which scenarios a test sees."""
    config.addinivalue_line("markers", "scenario(*names): the test sees what these scenarios of the catalogue do")


@dataclass
class Answer:
    """What came over a connection until it ended: whole, eof (too early), reset or silence."""

    end: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: int = field(default=0, compare=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def nothing(self) -> str | None:
        """How it ended where not a byte came."""
        return None if self.status else self.end

    @property
    def error(self) -> tuple[int, Any]:
        """Status and code of an error answer."""
        return self.status, self.json["error"]["code"]


def speak(url: str, request: bytes, *, timeout: float = 5.0, most: int = 1 << 24) -> Answer:
    """Send *request* and take what comes, up to *most* bytes."""
    received, end, pieces, began = b"", "eof", 0, perf_counter()
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=timeout) as connection:
        connection.sendall(request)
        try:
            while len(received) < most and (chunk := connection.recv(1 << 16)):
                received, pieces = received + chunk, pieces + 1
        except ConnectionResetError:
            end = "reset"
        except TimeoutError:
            end = "silence"
    if not received:
        return Answer(end)
    seconds = perf_counter() - began
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    whole = len(body) == int(headers.get("content-length", -1))
    return Answer("whole" if whole else end, int(first.split()[1]), headers, body, pieces, seconds)


class Receiver:
    """Takes callbacks on a port of its own."""

    def __init__(self) -> None:
        taken = self.taken = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.headers["Content-Type"], body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


class Client:
    """One account of the fake, whose creates follow *choice*."""

    def __init__(self, url: str, choice: str = "", key: str = "") -> None:
        self.url, self.choice, self.key = url, choice, key or f"sk-{next(_numbers)}"

    def call(self, method: str, path: str, body: Any = None, timeout: float = 5.0, **headers: str) -> Answer:
        """One request on a connection of its own."""
        data = b"" if body is None else json.dumps(body).encode()
        lines = {
            "host": urlsplit(self.url).netloc,
            "authorization": f"Bearer {self.key}",
            "connection": "close",
            **headers,
        }
        lines |= {"content-type": "application/json", "content-length": str(len(data))} if data else {}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data
        return speak(self.url, request, timeout=timeout, most=int(headers.get("x-most", 1 << 24)))

    def create(self, timeout: float = 5.0, fields: dict[str, Any] | None = None, **headers: str) -> Answer:
        """One create under the scenario."""
        chosen = {"x-mock-scenario": self.choice} if self.choice else {}
        return self.call("POST", CREATE, {**BODY, **(fields or {})}, timeout, **chosen, **headers)

    def task(self, **fields: Any) -> str:
        """The id of a task that was made."""
        made = self.create(fields=fields)
        assert made.status == 200, made
        return str(made.json["id"])

    def query(self, task: str, timeout: float = 5.0) -> Answer:
        """One look at a task."""
        return self.call("GET", f"/v1/tasks/{task}", None, timeout)

    def looks(self, many: int) -> list[tuple[str, int]]:
        """Status and progress of a new task at each of so many looks."""
        task = self.task()
        return [(one["status"], one["progress"]) for one in (self.query(task).json for _ in range(many))]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the control protocol."""
        answer = self.call(method, f"/__mock{path}", body, 15.0)
        assert answer.status == 200, answer
        return answer.json

    def tasks(self) -> list[Any]:
        """The account's tasks."""
        return list(self.control("GET", "/tasks")["tasks"])

    def faults(self, kind: str = "exchange") -> list[str | None]:
        """What the journal says was done to each entry that is of a scenario."""
        entries = [one for one in self.control("GET", "/journal")["entries"] if one["kind"] == kind]
        scenario = self.choice.partition(" ")[0]
        assert all(one["scenario"].partition(" ")[0] == scenario for one in entries if "scenario" in one)
        return [one.get("fault") for one in entries if "scenario" in one]

    def link(self) -> str:
        """Path of the link of a task that completes at once."""
        done = self.query(self.task()).json
        return str(done["results"][0]).removeprefix(self.url)

    def called_back(self, receiver: Receiver, attempts: int) -> tuple[Any, list[Any]]:
        """The task as a query shows it, and the callbacks that came, once so many attempts were made."""
        task = self.task(callback_url=receiver.url)
        shown = self.query(task).json
        met = self.control("GET", f"/wait?task_id={task}&until=attempts:{attempts}")["met"]
        return shown, receiver.taken if met else []


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """A fake in a process of its own."""
    with Running(["--callbacks", "local", "--seed", "7"]) as fake:
        yield fake


@pytest.fixture(scope="session")
def fake_url(running: Running) -> str:
    """Where the fake listens."""
    return running.url


@pytest.fixture(scope="session")
def fake_pid(running: Running) -> int:
    """The fake's process."""
    return running.pid


@pytest.fixture
def account(fake_url: str) -> Callable[..., Client]:
    """`account("failed at=3")`: an account whose creates follow the scenario."""
    return lambda choice="", key="": Client(fake_url, choice, key)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who takes callbacks."""
    taking = Receiver()
    yield taking
    taking.server.shutdown()
    taking.server.server_close()
