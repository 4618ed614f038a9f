"""What every part of the client needs: its switches, its clock, and one call at a time."""

import json
import threading
from typing import Any

from kling_contract.mutants.client.world import Lost, Reply, Setup, TooLong, World

REDIRECTS = (301, 302, 303, 307, 308)


class End(Exception):
    """How it ended, if not with the video."""

    def __init__(self, outcome: str, kind: str, message: str) -> None:
        super().__init__(message)
        self.outcome, self.kind, self.message = outcome, kind, message


def parsed(body: bytes) -> Any:
    """The JSON in *body*; None where there is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


class Calls:
    """One request of the user, as far as it is calls and waits."""

    def __init__(self, setup: Setup, world: World) -> None:
        self.setup, self.world = setup, world
        self.task_id, self.effects, self.troubles = "", 0, 0
        self.news = threading.Event()
        self.heard_of: dict[str, dict[str, Any]] = {}
        self.over, self._confirmed = threading.Event(), threading.Event()
        self._again: list[dict[str, Any]] = []
        self._until = world.clock() + setup.deadline
        self._pause = setup.pause * (1.0 if self.does("polls-in-step") else 1 + setup.spread)

    def does(self, name: str) -> bool:
        """Whether that switch is thrown."""
        return self.setup.mutant == name

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._until - self.world.clock()

    def nap(self, seconds: float) -> None:
        """Wait; news of the task cuts it short."""
        if not (self.news.is_set() and self.task_id in self.heard_of):
            self.news.clear()
        self.world.sleep(seconds, self.news)
        self.news.clear()

    def _agent(self) -> str:
        return "Python-urllib/3" if self.does("names-a-library") else "switchable-client/1"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.setup.key}", "User-Agent": self._agent(), "Accept": "application/json"}

    def call(self, method: str, path: str, body: bytes | None = None, key: str = "") -> Reply:
        """One call of the API. Raises Lost."""
        base = self.setup.base_url if self.does("keeps-the-slash") else self.setup.base_url.rstrip("/")
        base = base if self.does("doubles-the-version") else base.removesuffix("/v1")
        url = base + path
        headers = self._headers()
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        if body is not None and self.does("sends-plain-text"):
            headers["Content-Type"] = "text/plain"
        if body is None and self.does("reads-without-bearer"):
            headers["Authorization"] = self.setup.key
        if self.does("puts-the-key-in-the-url"):
            url += f"?api_key={self.setup.key}"
        seconds = 3600.0 if self.does("has-no-timeout") else max(0.05, min(self.setup.timeout, self.left()))
        try:
            reply = self.world.send(method, url, headers, body, seconds, 1 << 22)
        except TooLong:
            raise Lost("an answer without end") from None
        if reply.status in REDIRECTS and method == "POST" and self.does("follows-redirects"):
            return self.world.send(method, reply.headers.get("location", ""), headers, body, seconds, 1 << 22)
        if reply.status in REDIRECTS and method == "GET" and self.does("carries-the-key-along"):
            return self.world.send(method, reply.headers.get("location", ""), headers, None, seconds, 1 << 22)
        return reply
