"""What happens to a store under real processes: the disk full, the database gone, a clock that is wrong, two fakes on one file."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from cluster import Cluster

from kling_mock import clock as clocks

pytestmark = pytest.mark.e2e

MOCK = [sys.executable, "-m", "kling_mock"]
BODY = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x480.png"}
KEY = {"Authorization": "Bearer sk-test"}
COST = 36
_PATIENCE = 120.0


class Running:
    """A command of the project; what it says on standard error is read as it comes."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        pipe = subprocess.PIPE
        own = {name: value for name, value in os.environ.items() if not name.startswith("KLING_")} | environment
        command = [*MOCK, *arguments, "--stop-with-stdin"]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=own)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()
        assert self.first, self.said

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    @property
    def url(self) -> str:
        """Where a `serve --ready-json` listens."""
        return str(json.loads(self.first)["url"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return status and body of a call."""
        response = requests.request(method, self.url + path, json=body, headers=KEY, timeout=60)
        return response.status_code, response.json()

    def end(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands, which end with the test."""
    running: list[Running] = []

    def begin(*arguments: str, **environment: str) -> Running:
        running.append(Running(*arguments, **environment))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.end()


def serve(start: Start, store: str, *options: str) -> Running:
    """A `serve` on *store*."""
    return start("serve", "--port", "0", "--store", store, "--ready-json", "--quiet", *options)


def until(condition: Callable[[], Any]) -> Any:
    """What *condition* is once it is true."""
    end = clocks.monotonic() + _PATIENCE
    while not (found := condition()):
        assert clocks.monotonic() < end
        clocks.pause(0.05)
    return found


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Take a callback."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()
        self.server.came.append(clocks.wall())  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiver() -> Iterator[tuple[str, list[float]]]:
    """The URL of a receiver, and when callbacks came."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    came: list[float] = []
    server.came = came  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", came
    server.shutdown()
    server.server_close()


def test_the_disk_is_full_for_a_while(start: Start, tmp_path: Path) -> None:
    """SQLite may not grow its files: the documented 503, nothing half-written; with room again everything goes on by itself."""
    fake = serve(start, f"sqlite:///{tmp_path}/kling.db", "--clock", "manual")
    made = [fake.call("POST", "/v1/videos/generations", BODY)[1]["id"]]
    most = max(file.stat().st_size for file in tmp_path.iterdir())
    resource.prlimit(fake.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    for _ in range(500):
        status, body = fake.call("POST", "/v1/videos/generations", BODY)
        if status == 503:
            break
        made.append(body["id"])
    assert (status, body["error"]["code"]) == (503, "service_unavailable")
    assert fake.call("GET", "/__mock/health")[0] == 200
    resource.prlimit(fake.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    until(lambda: fake.call("POST", "/v1/videos/generations", BODY)[0] == 200)
    tasks = [task["id"] for task in fake.call("GET", "/__mock/tasks")[1]["tasks"]]
    (account,) = fake.call("GET", "/__mock/accounts")[1]["accounts"]
    assert set(made) <= set(tasks)
    assert account["credits"] == 10**9 - COST * len(tasks)
    assert fake.end() == 0
    assert not any("Traceback" in line for line in fake.said), fake.said


def test_the_database_is_away_while_all_run(start: Start) -> None:
    """503 meanwhile; web and courier come back by themselves, the task completes and its callback arrives once."""
    with Cluster(durable=True) as cluster, receiver() as (hook, came):
        store = cluster.database()
        fake = serve(start, store, "--no-courier", "--callbacks", "local", "--scenario", "completed queued=1 runs=4")
        courier = start("courier", "--store", store)
        made = fake.call("POST", "/v1/videos/generations", {**BODY, "callback_url": hook})[1]
        cluster.stop()
        assert fake.call("GET", f"/v1/tasks/{made['id']}")[0] == 503
        refused = fake.call("POST", "/v1/videos/generations", BODY)
        assert (refused[0], refused[1]["error"]["code"]) == (503, "service_unavailable"), "".join(fake.said)
        cluster.start()

        until(lambda: came)
        until(lambda: fake.call("GET", "/__mock/deliveries")[1]["deliveries"][0]["state"] == "delivered")
        assert fake.call("GET", f"/v1/tasks/{made['id']}")[1]["status"] == "completed"
        assert len(fake.call("GET", "/__mock/tasks")[1]["tasks"]) == 1
        assert (fake.end(), courier.end()) == (0, 0)
    assert len(came) == 1
    assert not any("Traceback" in line for line in [*fake.said, *courier.said]), [*fake.said, *courier.said]


def test_a_courier_whose_clock_is_an_hour_off(start: Start, cluster: Cluster, tmp_path: Path) -> None:
    """It says so in one line and goes by the database's clock: the callback comes when it is due, and not an hour early."""
    (tmp_path / "sitecustomize.py").write_text("import time\n_time = time.time\ntime.time = lambda: _time() + 3600\n")
    store = cluster.database()
    with receiver() as (hook, came):
        fake = serve(start, store, "--no-courier", "--callbacks", "local", "--scenario", "completed queued=1 runs=3")
        courier = start("courier", "--store", store, PYTHONPATH=str(tmp_path))
        made = fake.call("POST", "/v1/videos/generations", {**BODY, "callback_url": hook})[1]
        until(lambda: came)
        until(lambda: fake.call("GET", "/__mock/deliveries")[1]["deliveries"][0]["state"] == "delivered")
        (delivery,) = fake.call("GET", "/__mock/deliveries")[1]["deliveries"]
        assert courier.end() == 0

    assert came[0] >= made["created"] + 4
    assert delivery["attempts"][0]["sent"] >= delivery["attempts"][0]["due"]
    assert [line for line in courier.said if "clock" in line] == courier.said
    assert "ahead of the database's" in courier.said[0]


def test_two_fakes_on_one_file(start: Start, tmp_path: Path) -> None:
    """They are one world; the second says in one line that it was started with other options."""
    store = f"sqlite:///{tmp_path}/kling.db"
    first = serve(start, store, "--clock", "manual")
    second = serve(start, store, "--clock", "manual", "--scenario", "failed")
    made = [one.call("POST", "/v1/videos/generations", BODY)[1]["id"] for one in (first, second) * 5]

    assert len({task["id"] for task in first.call("GET", "/__mock/tasks")[1]["tasks"]} & set(made)) == 10
    assert (first.end(), second.end()) == (0, 0)
    assert first.said == []
    assert len(second.said) == 1
    assert "--scenario" in second.said[0]
