"""Virtual weeks at full speed: does memory stay flat, and does every callback arrive once?

.venv/bin/python benchmarks/virtual_weeks.py --minutes 60
"""

import argparse
import json
import re
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from kling_mock.serving.process import Running

CREATE = "/v1/videos/generations"
MODEL = "kling-v3-turbo-image-to-video"
EACH, HOURS = 50, 6
"""Tasks that are created before the clock is moved, and by how much it is."""


class Receiver(BaseHTTPRequestHandler):
    """Counts callbacks by task."""

    protocol_version = "HTTP/1.1"
    taken: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        """Take one callback."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.taken[body["id"]] += 1
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def memory(pid: int) -> int:
    """MiB that a process uses."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) // 1024


class Client:
    """One connection to the fake."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=300)

    def call(self, method: str, path: str, body: Any = None, key: str = "sk-weeks") -> Any:
        """One call with a key; the JSON that comes back."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Authorization": f"Bearer {key}"})
        response = self._connection.getresponse()
        said = response.read()
        assert response.status == 200, (path, response.status, said)
        return json.loads(said)


def main() -> None:
    """Create, move the clock, read, for so many minutes; then say what became of memory and callbacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    minutes = parser.parse_args().minutes
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with Running(["--clock", "manual"]) as fake:
        client, created, week = Client(fake.url), [], 0.0
        client.call(
            "PUT", "/__mock/relays", {"https://hooks.example.com": f"http://127.0.0.1:{receiver.server_address[1]}"}
        )
        body = {
            "model": MODEL,
            "image_start": "https://image.test/640x480.png",
            "callback_url": "https://hooks.example.com/x",
        }
        print(f"at the start: {memory(fake.pid)} MiB")
        until = time.perf_counter() + 60 * minutes
        while time.perf_counter() < until:
            made = [client.call("POST", CREATE, body)["id"] for _ in range(EACH)]
            client.call("POST", "/__mock/clock/advance", {"seconds": HOURS * 3600})
            for task_id in made[::10]:
                client.call("GET", f"/v1/tasks/{task_id}")
            client.call("GET", "/v1/credits", key=f"sk-invented-{len(created)}")
            created += made
            week += HOURS / 168
            if week % 1 < HOURS / 168:
                print(f"week {int(week)}: {len(created)} tasks, {memory(fake.pid)} MiB", flush=True)
        client.call("POST", "/__mock/clock/advance", {"seconds": 86400})
        print(f"{week:.1f} virtual weeks in {minutes:g} minutes, {len(created)} tasks, {memory(fake.pid)} MiB")
        lost = sum(Receiver.taken[task_id] == 0 for task_id in created)
        doubled = sum(Receiver.taken[task_id] > 1 for task_id in created)
        print(f"callbacks: {sum(Receiver.taken.values())} taken, {lost} lost, {doubled} doubled")


if __name__ == "__main__":
    main()
