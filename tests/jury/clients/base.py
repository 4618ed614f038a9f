"""A plain, careful client of the standard library, in parts that the jury's clients replace one at a time."""

import email.utils
import http.client
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

MODEL = "kling-v3-turbo-image-to-video"
MOST = 32 << 20


class Lost(Exception):
    """No whole response came."""


class End(Exception):
    """The client ends without the video."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Response:
    """Status, headers and body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        """The JSON in the body; None where there is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def send(method: str, url: str, headers: dict[str, str], body: bytes | None, seconds: float | None) -> Response:
    """One request on a connection of its own; redirects are not followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    link = kind(parts.netloc, timeout=seconds)
    try:
        link.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
        answer, got = link.getresponse(), bytearray()
        until = None if seconds is None else time.monotonic() + seconds
        while block := answer.read1(1 << 16):
            got += block
            if len(got) > MOST or (until is not None and time.monotonic() > until):
                raise Lost("too long")
        if answer.length:
            raise Lost("cut")
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, bytes(got))
    except (OSError, http.client.HTTPException) as error:
        raise Lost(repr(error)) from None
    finally:
        link.close()


class Client:
    """create, wait, save."""

    agent = "jury-client/1"
    call_timeout: float | None = 20.0
    callbacks = False
    takes_limit = True
    own_limit = 100.0

    def __init__(self) -> None:
        env = os.environ
        self.base, self.key = env["KLING_BASE_URL"].rstrip("/"), env["KLING_API_KEY"]
        self.out = Path(env["KLING_OUT"])
        self.pause = max(0.05, float(env["KLING_MIN_POLL"])) * 1.05
        self.until = time.monotonic() + (float(env["KLING_DEADLINE"]) if self.takes_limit else self.own_limit)
        self.task, self.waits, self.errors, self.effects = "", 0, 0, 0
        self.news, self.heard = threading.Event(), {}  # type: ignore[var-annotated]
        self.lock = threading.Lock()

    # Calls

    def left(self) -> float:
        """Seconds until it gives up."""
        return self.until - time.monotonic()

    def headers(self) -> dict[str, str]:
        """Headers of each call."""
        return {"Authorization": f"Bearer {self.key}", "User-Agent": self.agent, "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """One call of the API."""
        seconds = None if self.call_timeout is None else max(0.1, min(self.call_timeout, self.left()))
        data = None if body is None else json.dumps(body).encode()
        return send(method, self.base + path, {**self.headers(), **headers}, data, seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; a callback cuts it short."""
        if seconds >= self.left() and self.takes_limit:
            raise End(5, f"gave up on {self.task or 'the request'}: it may still be running")
        if self.left() < 0:
            raise End(5, f"gave up on {self.task or 'the request'}: it may still be running")
        self.news.wait(seconds)
        self.news.clear()

    def asked(self, response: Response) -> float:
        """Seconds that a response asks to wait."""
        value = response.headers.get("retry-after", "")
        if value.isdigit():
            return float(value)
        try:
            return email.utils.parsedate_to_datetime(value).timestamp() - time.time() + 0.3
        except (TypeError, ValueError):
            return 0.0

    # Creating

    def body(self) -> dict[str, Any]:
        """The create's body."""
        env = os.environ
        body: dict[str, Any] = {"model": MODEL, "image_start": env["KLING_IMAGE"]}
        body |= {name: env[f"KLING_{name.upper()}"] for name in ("prompt", "quality") if f"KLING_{name.upper()}" in env}
        if "KLING_DURATION" in env:
            body["duration"] = int(env["KLING_DURATION"])
        if self.callbacks:
            body["callback_url"] = self.callback_url()
        return body

    def callback_url(self) -> str:
        """Where callbacks are to go."""
        return os.environ["KLING_CALLBACK_URL"]

    def create(self) -> str:
        """Send the create; once more only where nothing was made."""
        for attempt in range(4):
            try:
                response = self.call("POST", "/v1/videos/generations", self.body())
            except Lost as lost:
                self.on_lost(lost)
                continue
            made = response.json
            if response.status == 200 and isinstance(made, dict) and isinstance(made.get("id"), str):
                print("task", made["id"], flush=True)
                print("credits reserved:", f"{(made.get('usage') or {}).get('credits_reserved', 0):g}")
                return made["id"]
            self.on_refused(response, attempt)
        raise End(7, "rate limited too often")

    def on_lost(self, lost: Lost) -> None:
        """What is done when no response came."""
        raise End(6, f"no response to the create ({lost}): a task may have been made")

    def on_refused(self, response: Response, attempt: int) -> None:
        """What is done with a response that names no task."""
        if response.status == 429:
            self.sleep(max(self.asked(response), self.pause * 2**attempt))
        elif response.status == 402:
            raise End(4, "402: the balance is too low")
        elif 400 <= response.status < 500:
            raise End(4, f"{response.status}: refused")
        else:
            self.on_server_error(response)

    def on_server_error(self, response: Response) -> None:
        """What is done when the service failed."""
        raise End(6, f"{response.status}: a task may have been made")

    # Waiting

    def wait(self) -> dict[str, Any]:
        """Read until the task is over."""
        missing = 0
        self.sleep(self.first_wait())
        while True:
            response = self.read()
            task = response.json if response and response.status == 200 else None
            if isinstance(task, dict) and "status" in task:
                self.errors = 0
                if task["status"] in ("completed", "failed", "cancelled"):
                    return task
                self.sleep(self.next_wait())
            elif response and response.status == 404 and missing < 3 and self.errors == 0:
                missing += 1
                self.sleep(self.pause)
            else:
                self.errors += 1
                self.sleep(self.after_trouble(response))

    def first_wait(self) -> float:
        """Seconds before the first read."""
        return self.pause

    def next_wait(self) -> float:
        """Seconds after a good read."""
        self.waits += 1
        return self.pause

    def read(self) -> Response | None:
        """One read; None when it was lost."""
        try:
            return self.call("GET", f"/v1/tasks/{quote(self.task, safe='')}")
        except Lost:
            return None

    def after_trouble(self, response: Response | None) -> float:
        """Seconds after a read that showed no task."""
        wait = self.pause * min(8, 1 << self.errors)
        if response is not None and response.status == 429:
            return max(wait, self.asked(response))
        if response is not None and response.status in (400, 401, 402, 403, 404):
            raise End(4, f"{self.task}: {response.status}: the API key cannot read it")
        return wait

    # Saving

    def save(self, task: dict[str, Any]) -> None:
        """Save the video."""
        if task["status"] != "completed":
            error = task.get("error") or {}
            raise End(3, f"{self.task}: {task['status']}: {error.get('code')}: {error.get('message')}")
        for attempt in range(3):
            links = [link for link in task.get("results") or () if isinstance(link, str)]
            if not links:
                raise End(3, f"{self.task} is completed, but has no results")
            try:
                content = self.fetch(links[0])
                break
            except Lost:
                self.sleep(self.pause * 2**attempt)
            except PermissionError:
                if attempt:
                    raise End(8, "the link is refused") from None
                task = self.read_again(task)
        else:
            raise End(8, f"{self.task} is completed, but its video cannot be saved")
        self.keep(content)

    def read_again(self, task: dict[str, Any]) -> dict[str, Any]:
        """A fresh link."""
        response = self.read()
        return response.json if response and response.status == 200 else task

    def fetch(self, link: str) -> bytes:
        """The bytes behind a link."""
        response = send("GET", link, {"User-Agent": self.agent}, None, max(0.5, min(30.0, self.left())))
        if response.status in (403, 404, 410):
            raise PermissionError
        if response.status != 200:
            raise Lost(str(response.status))
        return response.body

    def keep(self, content: bytes) -> None:
        """Write the file, whole or not at all."""
        if content[4:8] != b"ftyp":
            raise End(8, "the link serves no video")
        part = self.out.with_suffix(".part")
        part.write_bytes(content)
        part.replace(self.out)
        self.effects += 1

    # Callbacks

    def on_callback(self, method: str, path: str, raw: bytes) -> int:
        """Take a callback as a hint to read."""
        if method != "POST":
            return 405
        try:
            body = json.loads(raw)
        except ValueError:
            return 400
        if len(raw) > 1 << 20 or not isinstance(body, dict) or not isinstance(body.get("id"), str):
            return 413
        self.heard[body["id"]] = body
        if body["id"] == self.task:
            self.news.set()
        return 200

    def listen(self) -> None:
        """Serve the callback port."""
        client = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status = client.on_callback(self.command, self.path, self.rfile.read(length))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET = do_PUT = do_HEAD = _serve

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["KLING_CALLBACK_PORT"])), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def check(self) -> None:
        """Refuse what cannot be right."""
        parts = urlsplit(self.base)
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise End(4, "the base URL is not encrypted")

    def run(self) -> None:
        """Carry it out."""
        self.check()
        if self.callbacks:
            self.listen()
        self.task = self.create()
        self.save(self.wait())


def main(client: type[Client]) -> int:
    """Run *client*; return the exit code."""
    try:
        client().run()
    except End as end:
        print(end, file=sys.stderr)
        return end.code
    return 0
