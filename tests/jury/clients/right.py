"""Right clients that are not like the usual one: `python right.py NAME`."""

import hashlib
import hmac
import os
import random
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

from base import Client, End, Lost, Response, main, send


class Plain(Client):
    """Nothing unusual."""


class FixedInterval(Client):
    """Reads by a timer, whatever happens, and never waits longer after errors."""

    began = 0.0

    def tick(self) -> float:
        """Seconds to the next tick of the timer, at least one pause after the last read."""
        self.began = self.began or time.monotonic()
        return self.pause

    next_wait = first_wait = tick

    def after_trouble(self, response: Response | None) -> float:
        """The same, but when asked to wait."""
        return max(self.tick(), super().after_trouble(response) if response and response.status < 500 else 0.0)


class FullJitter(Client):
    """Random waits between 0 and a bound that grows."""

    def next_wait(self) -> float:
        """Full jitter."""
        self.waits += 1
        return random.uniform(0, min(8, 2**self.waits) * self.pause)

    def first_wait(self) -> float:
        """The same."""
        return self.next_wait()

    def after_trouble(self, response: Response | None) -> float:
        """Full jitter over what the careful client waits, but never less than was asked for."""
        wait = super().after_trouble(response)
        asked = self.asked(response) if response is not None else 0.0
        return max(asked, random.uniform(0, 2 * wait))


class LookFirst(Client):
    """Looks at once, then waits."""

    def first_wait(self) -> float:
        """None."""
        return 0.0


class ParallelDownload(Client):
    """Downloads three ranges at once."""

    def fetch(self, link: str) -> bytes:
        """Three parts, where the server has ranges."""
        first = self.part(link, "bytes=0-63")
        if first.status == 200:
            return first.body
        size = int(first.headers["content-range"].rpartition("/")[2])
        third = max(64, size // 3)
        spans = [(start, min(size, start + third) - 1) for start in range(0, size, third)]
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(lambda span: self.part(link, f"bytes={span[0]}-{span[1]}"), spans))
        if any(part.status != 206 for part in parts):
            raise Lost("a part is missing")
        return b"".join(part.body for part in parts)

    def part(self, link: str, span: str) -> Response:
        """One range."""
        response = send("GET", link, {"User-Agent": self.agent, "Range": span}, None, max(0.5, min(30.0, self.left())))
        if response.status in (403, 404, 410):
            raise PermissionError
        if response.status not in (200, 206):
            raise Lost(str(response.status))
        return response


class HmacUrl(Client):
    """Puts an HMAC into its callback URL, refuses callbacks without it, and trusts those that have it."""

    callbacks = True
    secret = uuid.uuid4().bytes

    def mac(self) -> str:
        """Over the file's name, which is the job."""
        return hmac.new(self.secret, str(self.out).encode(), hashlib.sha256).hexdigest()

    def callback_url(self) -> str:
        """With the HMAC."""
        return f"{super().callback_url()}?mac={self.mac()}"

    def on_callback(self, method: str, path: str, raw: bytes) -> int:
        """Only with the HMAC."""
        if parse_qs(urlsplit(path).query).get("mac") != [self.mac()]:
            return 403
        return super().on_callback(method, path, raw)

    def read(self) -> Response | None:
        """What the callback said, else a read."""
        told = self.heard.get(self.task)
        if told and told.get("status") in ("completed", "failed"):
            import json

            return Response(200, {}, json.dumps(told).encode())
        return super().read()


class CallbackOnly(Client):
    """Never reads: waits for the callback, and gives up without one."""

    callbacks = True

    def wait(self) -> dict[str, Any]:
        """Until the callback comes."""
        while self.task not in self.heard:
            if self.left() <= 0.2:
                raise End(5, f"gave up on {self.task}: it may still be running")
            self.news.wait(0.1)
        return self.heard[self.task]


class Racing(Client):
    """Callback and polling race; whichever shows the end first wins."""

    callbacks = True

    def wait(self) -> dict[str, Any]:
        """The first of both."""
        found: list[Any] = []
        over = threading.Event()

        def poll() -> None:
            try:
                found.append(Client.wait(self))
            except End as end:
                found.append(end)
            over.set()

        threading.Thread(target=poll, daemon=True).start()
        over.wait()
        if isinstance(found[0], End):
            raise found[0]
        return found[0]


class Confirming(Client):
    """Reads once more after the end, to be sure."""

    def wait(self) -> dict[str, Any]:
        """And once more."""
        task = super().wait()
        response = self.read()
        return response.json if response and response.status == 200 else task


class Reloading(Client):
    """A page that is reloaded twice when the task is finished."""

    def run(self) -> None:
        """And two reloads."""
        super().run()
        for _ in range(2):
            self.read()


class Patient(Client):
    """Call time-outs of a minute, and a limit of its own, whatever it is given."""

    call_timeout = 60.0
    takes_limit = False

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """A minute for each call."""
        import json

        data = None if body is None else json.dumps(body).encode()
        return send(method, self.base + path, {**self.headers(), **headers}, data, 60.0)


class PromptDemanded(Client):
    """Demands a prompt."""

    def check(self) -> None:
        """Refuse a request without one."""
        super().check()
        if not os.environ.get("KLING_PROMPT"):
            raise End(4, "a prompt is required")


class TopUp(Client):
    """After a 402 it looks at the balance, and asks again once it suffices."""

    def on_refused(self, response: Response, attempt: int) -> None:
        """Look, then ask again once."""
        if response.status == 402 and attempt == 0:
            credits = self.call("GET", "/v1/credits").json
            if credits["data"]["user"]["remaining_credits"] > 100:
                return
        super().on_refused(response, attempt)


class Idempotent(Client):
    """Repeats a lost or failed create after three seconds, with the same Idempotency-Key."""

    def __init__(self) -> None:
        super().__init__()
        self.run_id = f"run_{uuid.uuid4().hex}"

    def headers(self) -> dict[str, str]:
        """With the key."""
        return {**super().headers(), "Idempotency-Key": self.run_id}

    def on_lost(self, lost: Lost) -> None:
        """Wait and repeat."""
        self.sleep(3.0)

    def on_server_error(self, response: Response) -> None:
        """The same."""
        self.sleep(3.0)


class BatchReader(Client):
    """Reads its task through the batch call."""

    def read(self) -> Response | None:
        """One of one."""
        import json

        try:
            response = self.call("POST", "/v1/tasks/batch", {"task_ids": [self.task]})
        except Lost:
            return None
        rows = response.json.get("data") if response.status == 200 and isinstance(response.json, dict) else None
        if rows is None:
            return response
        return Response(200 if rows else 404, {}, json.dumps(rows[0]).encode() if rows else b"{}")


class SlowStart(Client):
    """Takes two seconds before it does anything."""

    def run(self) -> None:
        """Later."""
        time.sleep(2)
        super().run()


class SlowTls(Client):
    """Each call needs most of a second for its handshake before a byte of it is sent."""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """After the handshake."""
        time.sleep(0.7)
        return super().call(method, path, body, **headers)


class LongLimit(Client):
    """Waits ten minutes for a task, as the guide says, whatever it is given."""

    takes_limit = False
    own_limit = 600.0


class OwnPace(Client):
    """Waits six seconds between reads, whatever it is given."""

    takes_limit = False
    own_limit = 60.0  # its longest wait, 48 s, still ends before the lab does

    def __init__(self) -> None:
        super().__init__()
        self.pause = 6.0


class Growing(Client):
    """Waits longer each time, up to five times its pause."""

    def next_wait(self) -> float:
        """Half as much again."""
        self.waits += 1
        return self.pause * min(5.0, 1.5 ** (self.waits - 1))


class LinksOnly(Client):
    """Prints the links and saves nothing."""

    def save(self, task: dict[str, Any]) -> None:
        """Print."""
        if task["status"] != "completed" or not task.get("results"):
            super().save(task)
        for link in task["results"]:
            print(link)


class Relaxed(Client):
    """Waits three times as long as it must."""

    def next_wait(self) -> float:
        """Long."""
        return self.pause * 3


class Keyword(Client):
    """Spells the scheme in lower case."""

    def headers(self) -> dict[str, str]:
        """bearer."""
        return {**super().headers(), "Authorization": f"bearer {self.key}"}


class QuickRetry(Client):
    """Reads again at once after the first error of a row, then slows down."""

    def after_trouble(self, response: Response | None) -> float:
        """At once, once."""
        wait = super().after_trouble(response)
        return 0.05 if self.errors == 1 and (response is None or response.status >= 500) else wait


CLIENTS = {
    "plain": Plain, "fixed-interval": FixedInterval, "full-jitter": FullJitter, "look-first": LookFirst,
    "parallel-download": ParallelDownload, "hmac-url": HmacUrl, "callback-only": CallbackOnly, "racing": Racing,
    "confirming": Confirming, "reloading": Reloading, "patient": Patient, "prompt-demanded": PromptDemanded, "top-up": TopUp,
    "idempotent": Idempotent, "batch-reader": BatchReader, "slow-start": SlowStart,
    "slow-tls": SlowTls, "long-limit": LongLimit, "own-pace": OwnPace, "growing": Growing,
    "links-only": LinksOnly, "relaxed": Relaxed, "lower-case": Keyword, "quick-retry": QuickRetry,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(CLIENTS[sys.argv[1]]))
