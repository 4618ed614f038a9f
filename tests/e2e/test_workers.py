"""`serve --workers N` and `courier` as processes: one port, one set of counts, and none of them left over or left out."""

import json
import os
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
from prometheus_client.parser import text_string_to_metric_families

from kling_mock import clock as clocks

pytestmark = pytest.mark.e2e

MOCK = [sys.executable, "-m", "kling_mock"]
KEY = {"Authorization": "Bearer sk-test"}
BODY = {"model": "kling-v3-turbo-image-to-video", "image_start": "https://image.test/640x480.png"}
_PATIENCE = 120.0


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A command of the project that ends with the block."""
    pipe = subprocess.PIPE
    own = {name: value for name, value in os.environ.items() if not name.startswith("KLING_")} | environment
    process = subprocess.Popen([*MOCK, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=own)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


@contextmanager
def serving(store: str, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A `serve` on *store* and its URL."""
    command = ("serve", "--port", "0", "--store", store, "--ready-json", "--stop-with-stdin", "--quiet")
    with started(*command, *options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield process, json.loads(line)["url"]


def children(pid: int) -> list[int]:
    """The processes that *pid* has started and that still run."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(one) for one in found.split()]


def until(condition: Callable[[], Any]) -> Any:
    """What *condition* is once it is true."""
    end = clocks.monotonic() + _PATIENCE
    while not (found := condition()):
        assert clocks.monotonic() < end
        clocks.pause(0.05)
    return found


def alive(pid: int) -> bool:
    """Whether the process runs, and is not only a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def counts(url: str) -> dict[tuple[str, str], float]:
    """The samples of `GET /metrics` by name and first label."""
    families = text_string_to_metric_families(requests.get(url, timeout=60).text)
    return {(one.name, next(iter(one.labels.values()), "")): one.value for family in families for one in family.samples}


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A new SQLite file."""
    return f"sqlite:///{tmp_path}/kling.db"


def test_a_worker_that_is_killed_is_started_again_and_counts_stay(store: str) -> None:
    """Both are killed, one after the other: what they served is still counted, their tasks are there, and nothing is left at the end."""
    with serving(store, "--workers", "2", "--clock", "manual") as (process, url):
        first = until(lambda: (found := children(process.pid)) and len(found) == 2 and found)
        session = requests.Session()
        for _ in range(6):  # a connection each, so that both workers have some
            assert requests.post(f"{url}/v1/videos/generations", json=BODY, headers=KEY, timeout=60).status_code == 200
        assert counts(f"{url}/metrics")["kling_mock_tasks_total", "pending"] == 6
        for pid in first:
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: pid not in children(process.pid) and len(children(process.pid)) == 2)
            until(lambda: _answers(session, url))
        seen = counts(f"{url}/metrics")
        tasks = requests.get(f"{url}/__mock/tasks", headers=KEY, timeout=60).json()["tasks"]
        second = children(process.pid)
        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0
    assert (seen["kling_mock_tasks_total", "pending"], seen["kling_mock_request_seconds_count", "createVideo"]) == (
        6,
        6,
    )
    assert seen["kling_mock_store_up", ""] == 1
    assert len(tasks) == 6
    assert not any(alive(pid) for pid in second)


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/__mock/ready", timeout=60).ok
    except requests.RequestException:
        return False


def test_workers_end_with_a_killed_supervisor(store: str) -> None:
    """SIGKILL to `serve`: nothing can be passed on, and its workers stop all the same."""
    with serving(store, "--workers", "2") as (process, _):
        workers = until(lambda: (found := children(process.pid)) and len(found) == 2 and found)
        process.kill()
        process.wait(60)

        until(lambda: not any(alive(pid) for pid in workers))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--port", "0", "--workers", "2"), "needs a store that processes share"),
        (("serve", "--port", "0", "--no-courier"), "needs a store that a courier shares"),
        (("courier", "--store", "memory"), "a courier needs a store that processes share"),
        (("courier", "--store", "postgresql://kling:secret@127.0.0.1:1/kling"), "refused"),
        (("courier", "--store", "sqlite:////nonexistent/kling.db"), "unable to open database file"),
        (("serve", "--port", "0", "--store", "postgresql://kling:secret@127.0.0.1:1/kling"), "refused"),
    ],
)
def test_what_cannot_start_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, one line, no password in it."""
    with started(*arguments) as process:
        _, said = process.communicate(timeout=_PATIENCE)

    assert process.returncode == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert "secret" not in said


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Take a callback when the test lets it."""
        self.server.came.set()  # type: ignore[attr-defined]
        self.server.let.wait(_PATIENCE)  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_courier_that_is_asked_to_stop_ends_what_it_sends(store: str) -> None:
    """SIGTERM while a receiver has an attempt in hand: it is recorded as it ended, not sent again. Counts are on a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.came, server.let = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{server.server_address[1]}/hook"
    with serving(store, "--no-courier", "--callbacks", "local", "--scenario", "instant") as (_, url):
        requests.post(f"{url}/v1/videos/generations", json={**BODY, "callback_url": hook}, headers=KEY, timeout=60)
        with started("courier", "--store", store, "--metrics", "127.0.0.1:0") as courier:
            assert courier.stdout is not None
            place = courier.stdout.readline().strip().rpartition("metrics at ")[2]
            assert server.came.wait(_PATIENCE)  # type: ignore[attr-defined]
            assert counts(place)["kling_mock_store_up", ""] == 1
            courier.send_signal(signal.SIGTERM)
            server.let.set()  # type: ignore[attr-defined]
            assert courier.wait(60) == 0
        (delivery,) = requests.get(f"{url}/__mock/deliveries", headers=KEY, timeout=60).json()["deliveries"]
    server.shutdown()
    server.server_close()

    assert delivery["state"] == "delivered"
    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["2xx"]
