"""What a new user sees: a fake in a process of its own, real sockets, real files, a real HTTPS receiver, the real commands."""

import http.client
import io
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
import requests
import trustme
from PIL import Image

import kling_openapi
from kling_mock.app import create_app
from kling_mock.serving.process import Running

pytestmark = pytest.mark.e2e

MODEL = kling_openapi.service()["components"]["schemas"]["Model"]["const"]
KEY = {"Authorization": "Bearer sk-test"}


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


def command(module: str, *arguments: str, **more: Any) -> Said:
    """One run of a command of the project."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=60, **more
    )
    return Said(done.returncode, done.stdout.strip(), done.stderr.strip())


@dataclass(frozen=True)
class User:
    """Somebody with a shell and a client."""

    url: str

    def verb(self, *arguments: str) -> Said:
        """`kling-mock VERB ...` against this fake."""
        return command("kling_mock", *arguments, "--url", self.url)

    def create(self, **body: Any) -> requests.Response:
        """As `curl` would."""
        whole = {"model": MODEL, "image_start": "https://image.test/1280x720.jpg", **body}
        return requests.post(f"{self.url}/v1/videos/generations", json=whole, headers=KEY, timeout=60)

    def query(self, task_id: str) -> Any:
        """The task's body."""
        answer = requests.get(f"{self.url}/v1/tasks/{task_id}", headers=KEY, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def start() -> Iterator[Callable[..., User]]:
    """`start("--clock", "manual")`: a fake in a process of its own, stopped with the test."""
    running: list[Running] = []

    def begin(*options: str) -> User:
        fake = Running(list(options))
        fake.__enter__()
        running.append(fake)
        return User(fake.url)

    yield begin
    for fake in running:
        fake.__exit__(None, None, None)


def looked_at(data: bytes) -> tuple[str, int, int, Fraction]:
    """Codec, width, height and seconds of a video that decodes to its end."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        assert frames == stream.frames > 0
        return stream.codec_context.name, stream.width, stream.height, Fraction(container.duration, av.time_base)


def test_the_first_five_minutes(start: Callable[..., User]) -> None:
    """Create, freeze, advance, query: pending, processing with rising progress, completed; a real video; dead a day later."""
    user = start()
    assert user.verb("freeze").code == 0
    created = user.create()
    task_id = created.json()["id"]
    seen = []
    for _ in range(20):
        seen.append(user.query(task_id))
        assert user.verb("advance", "5s").code == 0

    assert created.status_code == 200
    statuses = [one["status"] for one in seen]
    assert list(dict.fromkeys(statuses)) == ["pending", "processing", "completed"]
    percents = [one["progress"] for one in seen]
    assert percents == sorted(percents)
    assert len(set(percents)) > 4
    (link,) = seen[-1]["results"]
    video = requests.get(link, timeout=60)
    assert video.headers["Content-Type"] == "video/mp4"
    assert looked_at(video.content) == ("h264", 1280, 720, Fraction(5))
    assert user.verb("advance", "24h").code == 0
    assert requests.get(link, timeout=60).status_code == 403
    assert user.query(task_id)["results"] == [link]


class FileHandler(BaseHTTPRequestHandler):
    """Serves one photograph."""

    photo = b""

    def do_GET(self) -> None:
        """The photograph, whatever was asked for."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.photo)))
        self.end_headers()
        self.wfile.write(self.photo)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    """A server on a free port of this machine, running in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture
def photo_url() -> Iterator[str]:
    """The URL of a real JPEG, upright, on an HTTP server of this machine."""
    file = io.BytesIO()
    Image.radial_gradient("L").resize((800, 1422)).convert("RGB").save(file, "JPEG", quality=90)
    handler = type("Photo", (FileHandler,), {"photo": file.getvalue()})
    server = serving(handler)
    yield f"http://127.0.0.1:{server.server_port}/photo.jpg"
    server.shutdown()
    server.server_close()


def test_a_real_upright_photograph(start: Callable[..., User], photo_url: str) -> None:
    """800x1422 at 1080p for seven seconds: 1080 wide, 1920 high, 7.0 s, and it begins with the photograph."""
    user = start("--clock", "manual")
    task_id = user.create(image_start=photo_url, quality="1080p", duration=7).json()["id"]
    user.verb("advance", "10m")
    (link,) = user.query(task_id)["results"]

    assert looked_at(requests.get(link, timeout=60).content) == ("h264", 1080, 1920, Fraction(7))


@dataclass
class Receiver:
    """An HTTPS receiver that answers by its script and keeps what it got."""

    url: str = ""
    script: list[int] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver with a certificate of an authority of its own, whose file lies in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    kept = Receiver()

    class Hook(FileHandler):
        """Takes callbacks."""

        def do_POST(self) -> None:
            """Keep the body, answer what the script says next."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.bodies.append(json.loads(body))
            self.send_response(kept.script.pop(0) if kept.script else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = serving(Hook, context)
    kept.url = f"https://localhost:{server.server_port}/hook"
    yield kept
    server.shutdown()
    server.server_close()


def local(tmp_path: Path, *more: str) -> list[str]:
    """Options of a fake that calls receivers of this machine."""
    return ["--clock", "manual", "--callbacks", "local", "--callback-ca", str(tmp_path / "ca.pem"), *more]


def gaps(user: User) -> list[float]:
    """Seconds from each attempt's due time to the next one's."""
    (owed,) = json.loads(user.verb("deliveries", "--json").out)["deliveries"]
    dues = [one["due"] for one in owed["attempts"]]
    return [round(later - earlier, 1) for earlier, later in pairwise(dues)]


def test_a_receiver_that_fails_three_times(start: Callable[..., User], receiver: Receiver, tmp_path: Path) -> None:
    """500, 500, 500, 204: four attempts, a second, two and four after the one before, listed by `kling-mock deliveries`."""
    receiver.script = [500, 500, 500, 204]
    user = start(*local(tmp_path))
    task_id = user.create(callback_url=receiver.url).json()["id"]
    user.verb("advance", "1h")

    listed = user.verb("deliveries").out
    assert [listed.count(one) for one in ("status 500", "2xx 204")] == [3, 1]
    assert "delivered" in listed
    assert gaps(user) == [1, 2, 4]
    assert receiver.bodies == [user.query(task_id)] * 4


def test_a_receiver_that_nobody_vouches_for(start: Callable[..., User], receiver: Receiver) -> None:
    """Without its authority the certificate is refused, four times; the task stands."""
    user = start("--clock", "manual", "--callbacks", "local")
    task_id = user.create(callback_url=receiver.url).json()["id"]
    user.verb("advance", "1h")

    listed = user.verb("deliveries").out
    assert listed.count("refused") == 4
    assert "gave_up" in listed
    assert not receiver.bodies
    assert user.query(task_id)["status"] == "completed"


def test_the_contract_can_be_changed(start: Callable[..., User], receiver: Receiver, tmp_path: Path) -> None:
    """Another maximum, another list of retries: 20 seconds are taken and five attempts are made, no code touched."""
    text = kling_openapi.SERVICE.read_text(encoding="utf-8")
    for old, new in (
        ("maximum: 15", "maximum: 20"),
        ("retry_delays_seconds: [1, 2, 4]", "retry_delays_seconds: [1, 2, 4, 8]"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "contract.yaml").write_text(text, encoding="utf-8")
    receiver.script = [500] * 9
    user = start(*local(tmp_path, "--contract", str(tmp_path / "contract.yaml")))

    assert user.create(duration=21).status_code == 400
    assert user.create(duration=20, callback_url=receiver.url).status_code == 200
    user.verb("advance", "1h")
    assert gaps(user) == [1, 2, 4, 8]
    assert len(receiver.bodies) == 5


def test_kling_generate_makes_a_file(start: Callable[..., User], photo_url: str, tmp_path: Path) -> None:
    """The reference client against a clock that runs: a progress bar, and a video that plays."""
    user = start("--clock", "x200")
    out = tmp_path / "out.mp4"
    said = command(
        "kling_client", "generate", photo_url, "--duration", "3", "--out", str(out), "--base-url", user.url,
        "--api-key", "sk-test", "--min-poll", "0.05", cwd=tmp_path,
    )  # fmt: skip

    assert said.code == 0, said.err
    assert "%" in said.err + said.out
    assert looked_at(out.read_bytes())[3] == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.mp4"]


def test_the_verbs(start: Callable[..., User], tmp_path: Path) -> None:
    """Each says what happened in a line and ends with its code; --json gives the answer itself."""
    user = start("--clock", "manual")
    task_id, other = (user.create().json()["id"] for _ in range(2))

    assert user.verb("freeze").out.startswith("frozen at ")
    assert [line.split()[:2] for line in user.verb("tasks").out.splitlines()] == [
        [task_id, "pending"],
        [other, "pending"],
    ]
    assert "processing" in user.verb("advance", "10s").out
    assert user.verb("cancel", other).out == f"{other} failed request_cancelled"
    assert user.verb("wait", other).out == f"{other} failed"
    assert user.verb("deliveries").out == "no deliveries"
    waited = user.verb("wait", task_id, "--until", "delivered", "--timeout", "1")
    assert (waited.code, len(waited.err.splitlines())) == (1, 1)
    late = user.verb("wait", task_id, "--timeout", "0.01")
    assert (late.code, len(late.err.splitlines())) == (1, 1)
    assert json.loads(user.verb("advance", "1h", "--json").out)["fired"][0]["task_id"] == task_id
    assert "completed" in user.verb("scenarios").out
    assert "POST /v1/videos/generations" in user.verb("journal").out
    saved = user.verb("journal", "--har", str(tmp_path / "out.har"))
    assert "entries in" in saved.out
    assert json.loads((tmp_path / "out.har").read_text())["log"]["version"] == "1.2"
    assert user.verb("resume").out.startswith("running from ")
    assert user.verb("reset").out == "reset"
    assert user.verb("tasks").out == "no tasks"


@pytest.mark.parametrize(
    "arguments",
    [
        ("advance", "soon"),
        ("advance", "1s"),
        ("cancel", "task-unified-1-aaaaaaaa"),
        ("resend", "dlv-none"),
        ("wait", "task-unified-1-aaaaaaaa"),
        ("wait", "task-unified-1-aaaaaaaa", "--until", "never"),
        ("deliveries", "--task", "task-unified-1-aaaaaaaa"),
        ("journal", "--since", "-1"),
        ("journal", "--har", "/nonexistent/folder/out.har"),
        ("tasks", "--api-key", "nonsense"),
        ("advance",),
    ],
)
def test_verbs_that_cannot_be_done(running: User, arguments: tuple[str, ...]) -> None:
    """One line that says why, and exit code 2; never a traceback."""
    said = running.verb(*arguments)

    assert said.code == 2
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith(("Error: ", "kling-mock: "))


@pytest.fixture(name="running", scope="module")
def running_fixture() -> Iterator[User]:
    """One fake on a real clock for the tests that change nothing."""
    with Running([]) as fake:
        yield User(fake.url)


def test_nobody_there(tmp_path: Path) -> None:
    """A verb without a fake says how to start one."""
    said = command("kling_mock", "tasks", "--url", "http://127.0.0.1:9")

    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "kling-mock serve" in said.err


def test_exec_gives_a_command_all_it_needs() -> None:
    """The variables, and the command's own exit code."""
    script = (
        "import os, sys, urllib.request as r; "
        "assert r.urlopen(os.environ['KLING_CONTROL_URL'] + '/health').status == 200; "
        "assert os.environ['EVOLINK_BASE_URL'] == os.environ['KLING_BASE_URL']; "
        "print(os.environ['KLING_API_KEY']); sys.exit(7)"
    )
    said = command(
        "kling_mock", "exec", "--clock", "manual", "--api-key", "sk-mine", "--", sys.executable, "-c", script
    )

    assert (said.code, said.out) == (7, "sk-mine"), said.err


def test_ipv6(start: Callable[..., User]) -> None:
    """On the other loopback, control calls included."""
    user = start("--host", "::1", "--clock", "manual")

    assert user.create().status_code == 200
    assert user.verb("advance", "1h").code == 0


REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("POST", "/v1/videos/generations", b"{", {}),
    ("POST", "/v1/videos/generations", b"", {}),
    ("POST", "/v1/videos/generations", b"[]", {}),
    ("POST", "/v1/videos/generations", b"[" * 5000, {}),
    ("POST", "/v1/videos/generations", b"[" * 300 + b"]" * 300, {}),
    ("POST", "/v1/videos/generations", b'{"model": "x"}', {}),
    ("POST", "/v1/videos/generations", b'{"model": "%s", "image_start": "https://[/"}' % MODEL.encode(), {}),
    (
        "POST",
        "/v1/videos/generations",
        b'{"model": "%s", "image_start": "https://image.test/9x9.png"}' % MODEL.encode(),
        {},
    ),
    ("POST", "/v1/videos/generations", b"{}", {"Content-Type": "text/plain"}),
    ("POST", "/v1/videos/generations", b"{}", {"Authorization": "Bearer nonsense"}),
    ("POST", "/v1/videos/generations", b" " * 2_000_000, {}),
    ("POST", "/v1/videos/generations/", b"{}", {}),
    ("GET", "/v1/videos/generations", b"", {}),
    ("DELETE", "/v1/videos/generations", b"", {}),
    ("OPTIONS", "/v1/videos/generations", b"", {}),
    ("GET", "/v1/videos/generations/task-unified-1-aaaaaaaa", b"", {}),
    ("GET", "/v1/tasks/task-unified-1-aaaaaaaa", b"", {}),
    ("GET", "/v1/tasks/task-unified-1-aaaaaaaa?x=%FF", b"", {}),
    ("GET", "/v1/tasks/nonsense", b"", {}),
    ("GET", "/v1/tasks/task-unified-%F0%9F%98%80", b"", {}),
    ("GET", "/v1/tasks/task-unified-%FF%FE", b"", {}),
    ("GET", "/v1/tasks/task-unified-1%2F2", b"", {}),
    ("GET", "/v1/tasks/", b"", {}),
    ("GET", "/v1/tasks/a/b", b"", {}),
    ("HEAD", "/v1/tasks/task-unified-1-aaaaaaaa", b"", {}),
    ("POST", "/v1/tasks/task-unified-1-aaaaaaaa", b"", {}),
    ("GET", "/", b"", {}),
    ("GET", "/files/a/b.mp4", b"", {}),
    ("GET", "/__mock/nonsense", b"", {}),
    ("POST", "/__mock/clock/advance", b'{"seconds": 1}', {}),
    ("PUT", "/__mock/clock", b"nonsense", {}),
]


@pytest.mark.parametrize(("method", "path", "body", "headers"), REQUESTS)
def test_the_edge_answers_as_flask_does(
    running: User, flask: Any, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """Over a socket and in the process: the same status, the same body, the same headers that matter."""
    sent = {**KEY, "Content-Type": "application/json", **headers}
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=60)
    connection.request(method, path, body, sent)
    edge = connection.getresponse()
    seen = edge.read()
    connection.close()
    own = flask.open(path, method=method, data=body, headers=sent)

    assert (edge.status, seen) == (own.status_code, own.data)
    for name in ("content-type", "allow", "retry-after"):
        assert edge.getheader(name) == own.headers.get(name)
    assert (edge.getheader("x-request-id") is None) == (own.headers.get("x-request-id") is None)


@pytest.fixture(name="flask", scope="module")
def flask_fixture() -> Any:
    """The same fake in this process."""
    return create_app().test_client()


def refused_start(*options: str) -> str:
    """What `kling-mock serve` says when it will not start: one line, exit code 2."""
    said = command("kling_mock", "serve", "--port", "0", *options)
    assert said.code == 2, said
    assert not said.out
    assert "Traceback" not in said.err
    return said.err


def test_a_real_start_that_fails_is_one_line(tmp_path: Path) -> None:
    """As a process, once; tests/web/test_bad_options.py has the table."""
    (tmp_path / "bad.yaml").write_text("name: bad\nsummary: x\npace:\n  runs: soon\n", encoding="utf-8")
    said = refused_start("--scenarios", str(tmp_path))

    assert len(said.splitlines()) == 1
    assert "bad.yaml:4:" in said
