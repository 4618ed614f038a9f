"""A scripted service, in this process or on a loopback port, and a time that only moves when somebody sleeps."""

import http.server
import json
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

from kling_client import Client, FunctionTransport, PollPolicy, Reply

# Examples are cheap here, but the machine may be busy: how long one takes says nothing about the client.
settings.register_profile("client", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("client")

BASE = "https://api.test"
FILES = "https://files.test"
KEY = "sk-test-very-secret"
TASK_ID = "task-unified-1757169743-7cvnl5zw"
IMAGE = "https://image.test/1280x720.jpg"


@dataclass
class Time:
    """Monotonic seconds that pass only in `sleep`."""

    now: float = 1000.0
    naps: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """What time it is."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.naps.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Call:
    """One request as the service saw it."""

    at: float
    kind: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


Step = Reply | BaseException | Callable[[Call], Reply]


def box(kind: bytes, content: bytes = b"") -> bytes:
    """One MP4 box."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


VIDEO = box(b"ftyp", b"isom\0\0\2\0") + box(b"moov", b"x" * 100) + box(b"mdat", bytes(range(256)) * 40)


def answer(body: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; underscores in header names are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"Content-Type": "application/json", **named}, json.dumps(body).encode())


def task(status: str = "pending", **members: Any) -> dict[str, Any]:
    """A task object; a member given as None is left out."""
    body = {
        "created": 1757169743,
        "id": TASK_ID,
        "model": "kling-v3-turbo-image-to-video",
        "object": "video.generation.task",
        "progress": {"pending": 0, "completed": 100}.get(status, 40),
        "status": status,
        "task_info": {"can_cancel": True, "estimated_time": 60, "video_duration": 5},
        "type": "video",
        "usage": {"billing_rule": "per_second", "credits_reserved": 50, "user_group": "default"},
    }
    if status == "completed":
        body["results"] = [f"{FILES}/a.mp4?sig=1"]
    if status == "failed":
        body["error"] = {"code": "content_policy_violation", "message": "refused by review", "type": "task_error"}
    return {name: value for name, value in {**body, **members}.items() if value is not None}


def refused(status: int, code: Any = None, message: str = "no", **headers: str) -> Reply:
    """An error answer of the API."""
    return answer({"error": {"code": code, "message": message, "type": "some_error"}}, status, **headers)


def video(content: bytes = VIDEO, **headers: str) -> Reply:
    """A link's answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(200, {"Content-Type": "video/mp4", "Content-Length": str(len(VIDEO)), **named}, content)


@dataclass
class Service:
    """Answers each kind of call from its list of steps; the last step goes on for ever."""

    time: Time
    files: str = FILES
    calls: list[Call] = field(default_factory=list)
    steps: dict[str, list[Step]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A service where everything goes well."""
        self.on("create", answer(task()))
        self.on("poll", answer(task("processing")), answer(task("completed")))
        self.on("link", video())
        self.on("upload", answer({"success": True, "data": {"file_url": f"{FILES}/frame.png"}}))
        self.on("credits", answer({"data": {"token": {"remaining_credits": 9, "used_credits": 1}}}))

    def on(self, kind: str, *steps: Step) -> None:
        """Answer calls of *kind* with *steps*, one after the other."""
        self.steps[kind] = list(steps)

    def seen(self, kind: str) -> list[Call]:
        """The calls of one kind."""
        return [call for call in self.calls if call.kind == kind]

    def handle(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Reply:
        """Answer one request."""
        path = urlsplit(url).path
        if path.endswith("/v1/videos/generations"):
            kind = "create"
        elif "/v1/tasks/" in path:
            kind = "poll"
        else:
            kind = "upload" if "/files/upload" in path else "credits" if path.endswith("/credits") else "link"
        call = Call(self.time.clock(), kind, method, url, headers, body)
        self.calls.append(call)
        steps = self.steps[kind]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if isinstance(step, BaseException):
            raise step
        return step(call) if callable(step) else step

    def transport(self) -> FunctionTransport:
        """This service without a socket."""
        return FunctionTransport(
            lambda request: self.handle(
                str(request.method),
                str(request.url),
                dict(request.headers),
                request.body if isinstance(request.body, bytes) else str(request.body or "").encode(),
            )
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    """Passes requests to the service of its server; an exception as a step cuts the connection."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            reply = self.server.service.handle(self.command, self.path, dict(self.headers), body)
        except Exception:
            self.close_connection = True
            return
        content = reply.body if isinstance(reply.body, bytes) else reply.body.read()
        headers = {"Content-Length": str(len(content)), **(reply.headers or {})}
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if int(headers["Content-Length"]) != len(content):
            self.close_connection = True

    do_GET = do_POST = _serve  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    """Quiet about clients that hang up, as this one does when it has read enough."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: stderr is the command's."""


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """The service on a loopback port; gives its base URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.service = service  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test."""
    import os

    for name in list(os.environ):
        if (
            name.startswith(("KLING_", "EVOLINK_"))
            or name.lower().endswith("_proxy")
            or "CERT" in name
            or "CA_B" in name
        ):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def time() -> Time:
    """A time of the test's own."""
    return Time()


@pytest.fixture
def service(time: Time) -> Service:
    """A service where everything goes well, until a test says otherwise."""
    return Service(time)


@pytest.fixture
def make_client(service: Service, time: Time) -> Callable[..., Client]:
    """Makes a client of the scripted service; keyword arguments replace the defaults."""

    def make(**settings: Any) -> Client:
        policy = PollPolicy(**settings.pop("manners", {}))
        defaults = {"transport": service.transport(), "clock": time.clock, "sleep": time.sleep, "dice": Random(7)}
        return Client(KEY, BASE, **{**defaults, "poll": policy, **settings})

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    """A client of the scripted service."""
    return make_client()


class Kit:
    """What the tests of this folder share; a fixture, because tests are imported without a package."""

    base, files, key, task_id, image, video_bytes = BASE, FILES, KEY, TASK_ID, IMAGE, VIDEO
    answer, task, refused, video, box = map(staticmethod, (answer, task, refused, video, box))
    serving = staticmethod(serving)
    service, time, reply = Service, Time, Reply

    @staticmethod
    def gaps(calls: Sequence[Call]) -> list[float]:
        """Seconds between one call and the next."""
        return [after.at - before.at for before, after in pairwise(calls)]


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    """What the tests of this folder share."""
    return Kit


@pytest.fixture(scope="session")
def typescript_built() -> Path:
    """The TypeScript command, compiled anew when its sources are newer."""
    client = Path(__file__).parents[2] / "clients" / "typescript"
    built = client / "dist" / "src" / "main.js"
    newest = max(path.stat().st_mtime for path in (client / "src").iterdir())
    if not built.exists() or built.stat().st_mtime < newest:
        subprocess.run(["npm", "run", "--silent", "build"], cwd=client, check=True, timeout=300)
    return built
