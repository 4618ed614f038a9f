"""Kills processes of a fake at random moments under load, and judges what is left.

`python tests/store/crashes.py --store sqlite|postgresql --kills 200 --seed 1` runs it by itself; the tests run a short one.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster, free_port

from kling_mock import clock as clocks

KEYS = ["sk-crash-a", "sk-crash-b"]
CREDITS = 1_000_000
MODEL = "kling-v3-turbo-image-to-video"
POLICY = 4
"""Attempts that a callback has: the first and three retries."""
_PATIENCE = 300.0


class Receiver(ThreadingHTTPServer):
    """Counts the callbacks of each task; of every fifth task it takes none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where callbacks go."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """Take or refuse one callback."""
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the courier was killed while it sent this
            return
        task_id = json.loads(body)["id"]
        with self.server.lock:
            self.server.seen[task_id] += 1
        clocks.pause(0.04)  # so that some are under way when a process ends
        self.send_response(500 if unlucky(task_id) else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def unlucky(task_id: str) -> bool:
    """Whether the receiver takes no callback of this task."""
    return sum(task_id.encode()) % 5 == 0


@dataclass
class Report:
    """What was made, and what is wrong with what is left."""

    kills: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    callbacks: int = 0
    unknown: int = 0
    problems: list[str] = field(default_factory=list)


class Fake:
    """A web process and a courier on one store, each started again after it was killed."""

    def __init__(self, store: str) -> None:
        self.port = free_port()
        options = ["--callbacks", "local", "--clock", "x10", "--quiet", "--scenario", "completed queued=1 runs=10"]
        self._commands = {
            "web": ["serve", "--port", str(self.port), "--store", store, "--no-courier", *options],
            "courier": ["courier", "--store", store],
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start a process; the web is waited for, and begun again where another program took its port while it was away."""
        command = [sys.executable, "-m", "kling_mock", *self._commands[name], "--stop-with-stdin"]
        self._running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        if name == "web":
            until = clocks.monotonic() + _PATIENCE
            while self.call("GET", "/__mock/ready")[0] != 200:
                assert clocks.monotonic() < until, "the web process did not come back"
                if self._running[name].poll() is not None:
                    self._running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
                clocks.pause(0.05)

    def kill(self, name: str) -> None:
        """SIGKILL, and start it again."""
        process = self._running[name]
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
        self.start(name)

    def call(self, method: str, path: str, body: Any = None, key: str = KEYS[0]) -> tuple[int, Any]:
        """Return status and body; 0 where no response came."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            error.close()
            return error.code, None
        except (OSError, ValueError):
            return 0, None

    def stop(self) -> None:
        """End both."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            process.wait(_PATIENCE)
            if process.stdin:
                process.stdin.close()


def run(store: str, kills: int, seed: int) -> Report:
    """Kill processes of a fake on *store* so many times while creates come in, then judge the facts."""
    rng, report = random.Random(seed), Report()
    receiver, fake = Receiver(), Fake(store)
    stopping = threading.Event()
    accepted: dict[str, tuple[str, Any]] = {}
    try:
        fake.start("web")
        fake.start("courier")
        for key in KEYS:
            assert fake.call("PUT", "/__mock/account", {"credits": CREDITS}, key)[0] == 200
        loads = [threading.Thread(target=_load, args=(fake, receiver.url, key, accepted, stopping)) for key in KEYS]
        for load in loads:
            load.start()
        for _ in range(kills):
            clocks.pause(rng.uniform(0.05, 1.0))
            name = rng.choice(["web", "courier"])
            report.kills[name] += 1
            fake.kill(name)
        stopping.set()
        for load in loads:
            load.join()
        _judge(fake, receiver, accepted, report)
    finally:
        stopping.set()
        fake.stop()
        receiver.shutdown()
        receiver.server_close()
    return report


def _load(fake: Fake, hook: str, key: str, accepted: dict[str, tuple[str, Any]], stopping: threading.Event) -> None:
    """Create tasks one after the other, a few a second; only those whose acceptance arrived are owed anything."""
    body = {"model": MODEL, "image_start": "https://image.test/640x480.png", "callback_url": hook}
    while not stopping.is_set():
        status, made = fake.call("POST", "/v1/videos/generations", body, key)
        if status == 200:
            accepted[made["id"]] = (key, made)
        clocks.pause(0.05)


def _judge(fake: Fake, receiver: Receiver, accepted: dict[str, tuple[str, Any]], report: Report) -> None:
    report.accepted = len(accepted)
    _wait_until_settled(fake, report)
    for key in KEYS:
        tasks = {task["id"]: task for task in fake.call("GET", "/__mock/tasks", key=key)[1]["tasks"]}
        for task_id, (owner, made) in accepted.items():
            if owner == key:
                _judge_task(task_id, made, tasks.get(task_id), report)
        for delivery in fake.call("GET", "/__mock/deliveries", key=key)[1]["deliveries"]:
            _judge_delivery(delivery, receiver, report)
        (account,) = fake.call("GET", "/__mock/accounts", key=key)[1]["accounts"]
        spent = sum(task["credits_reserved"] for task in tasks.values())
        if round(account["credits"] + account["used"], 6) != CREDITS or round(account["used"], 6) != round(spent, 6):
            report.problems.append(f"{key}: {account} does not add up to {CREDITS} with {spent} used")
    missing = [task_id for task_id in accepted if not receiver.seen[task_id]]
    report.problems += [f"{task_id}: its callback never arrived" for task_id in missing]


def _judge_task(task_id: str, made: Any, found: Any, report: Report) -> None:
    if found is None:
        report.problems.append(f"{task_id}: accepted, and gone")
    elif (found["created"], found["status"]) != (made["created"], "completed"):
        report.problems.append(f"{task_id}: {found['status']}, created {found['created']} and not {made['created']}")


def _judge_delivery(delivery: Any, receiver: Receiver, report: Report) -> None:
    outcomes = [attempt["outcome"] for attempt in delivery["attempts"]]
    lost = outcomes.count("unknown")
    report.callbacks += 1
    report.unknown += lost
    arrived, name = receiver.seen[delivery["task_id"]], delivery["id"]
    expected = "gave_up" if unlucky(delivery["task_id"]) else "delivered"
    if delivery["state"] != expected:
        report.problems.append(f"{name}: {delivery['state']} and not {expected}")
    if len(outcomes) - lost > POLICY:
        report.problems.append(f"{name}: {outcomes} are more than the policy's {POLICY}")
    responded = outcomes.count("2xx") + outcomes.count("status")  # whether the others arrived only the receiver knows
    if not responded <= arrived <= len(outcomes):
        report.problems.append(f"{name}: {arrived} arrived, {outcomes} are recorded")


def _wait_until_settled(fake: Fake, report: Report) -> None:
    """Return when nothing is due any more, or say what still is."""
    until, left = clocks.monotonic() + _PATIENCE, 1
    while left and clocks.monotonic() < until:
        clocks.pause(0.5)
        left = 0
        for key in KEYS:
            tasks = fake.call("GET", "/__mock/tasks", key=key)[1]["tasks"]
            deliveries = fake.call("GET", "/__mock/deliveries", key=key)[1]["deliveries"]
            left += sum(task["status"] != "completed" for task in tasks) + len(tasks) - len(deliveries)
            left += sum(delivery["state"] == "waiting" for delivery in deliveries)
    if left:
        report.problems.append(f"{left} things were still to happen after {_PATIENCE:g} s")


def main() -> None:
    """Run it by itself and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = clocks.monotonic()
    if chosen.store == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            report = run(f"sqlite:///{folder}/crash.db", chosen.kills, chosen.seed)
    else:
        with Cluster(durable=True) as cluster:
            report = run(cluster.database(), chosen.kills, chosen.seed)
    print(f"{chosen.store}, seed {chosen.seed}: {dict(report.kills)} kills in {clocks.monotonic() - began:.0f} s")
    print(f"{report.accepted} accepted, {report.callbacks} callbacks, {report.unknown} attempts of unknown outcome")
    print("\n".join(report.problems) or "nothing lost, nothing doubled, every credit in its place")
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
