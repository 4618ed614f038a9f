"""Callbacks as documented: POST of the task, 10 s an attempt, any 2xx is success, retries 1, 2, 4 s after a failure."""

import json
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from standin_facts import Options, ticks, wall
from standin_net import BlockedError, connect, origin, receive, send, target


class Courier:
    """Sends each callback in a thread of its own, so that a slow receiver delays nobody else's."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stopped = threading.Event()
        self.rows: list[dict[str, Any]] = []
        self._threads: list[threading.Thread] = []

    def deliver(self, task_id: str, url: str, body: Mapping[str, Any]) -> None:
        """Start delivering `body` (the task as a query shows it) to `url`. Returns at once."""
        payload = json.dumps(body).encode()
        thread = threading.Thread(target=self._deliver, args=(task_id, url, payload), daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop retrying; an attempt on the wire may still end by itself."""
        self.stopped.set()
        for thread in self._threads:
            thread.join(timeout=1)

    def _deliver(self, task_id: str, url: str, payload: bytes) -> None:
        gaps = [0.0, *self.options.retry_gaps]
        for number, gap in enumerate(gaps, start=1):
            if self.stopped.wait(gap):
                return
            started = wall()
            outcome, status = self._attempt(url, payload)
            self.rows.append(
                {
                    "task_id": task_id,
                    "attempt": number,
                    "sent": started,
                    "ended": wall(),
                    "outcome": outcome,
                    "status": status,
                }
            )
            if outcome == "2xx":
                return

    def _attempt(self, url: str, payload: bytes) -> tuple[str, int | None]:
        """One attempt, at most `callback_timeout` seconds from connect to last byte: (outcome, status seen)."""
        until = ticks() + self.options.callback_timeout
        parts = urlsplit(url)
        head = [
            f"POST {target(parts)} HTTP/1.1",
            f"Host: {origin(parts)}",
            "Content-Type: application/json",
            f"Content-Length: {len(payload)}",
            "User-Agent: standin/1",
            "Accept: */*",
            "Connection: close",
        ]
        try:
            with connect(parts, self.options, until, not self.options.allow_internal_callbacks) as sock:
                send(sock, until, head, payload)
                status = receive(sock, until)[0].status
        except (OSError, HTTPException, ValueError) as error:
            return _outcome(error), None
        return ("2xx" if 200 <= status < 300 else "status"), status


def _outcome(error: Exception) -> str:
    names = {BlockedError: "blocked", TimeoutError: "timeout", ssl.SSLError: "tls", ConnectionRefusedError: "refused"}
    return next((name for kind, name in names.items() if isinstance(error, kind)), "cut")
