"""A small server of the contract, written from the document alone: the plain one that the jury's servers depart from.

It has the parts of the control protocol that a run is steered with: clock, relays, cancel, credits, scenarios. Its one import from
outside the standard library makes the videos. Run as a program it prints `{"url": ...}` and serves until its input ends.
"""

import hashlib
import heapq
import ipaddress
import itertools
import json
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(__import__("pathlib").Path(__file__).parent))
from video import video

MODEL = "kling-v3-turbo-image-to-video"
SIDES = {"720p": 720, "1080p": 1080}
INSIDE = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
)
DAY, TIMEOUT, GAPS = 86400, 10.0, (1.0, 2.0, 4.0)
Json = dict[str, Any]


class Refused(Exception):
    """An HTTP error: status, code, type, message, param."""

    def __init__(
        self, status: int, code: str, message: str, param: str = "", kind: str = "invalid_request_error", **headers: str
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.kind, self.headers = (
            status,
            code,
            message,
            param,
            kind,
            headers,
        )


@dataclass
class Answer:
    """Status, JSON or bytes, and headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Task:
    """One task: what was asked, when it began and ended, how it ends."""

    id: str
    created: float
    asked: Json
    price: float
    fails: bool = False
    cancelled: float = 0.0
    size: tuple[int, int] = (1280, 720)
    token: str = ""
    settled: bool = False


class Account:
    """One key: its clock, credits and tasks, and what is due to happen."""

    def __init__(self, key: str) -> None:
        self.key, self.lock = key, threading.RLock()
        self.idle = threading.Condition(self.lock)
        self.mode, self.rate, self.base, self.read = "real", 1.0, time.time(), time.monotonic()
        self.credits, self.used = 1_000_000.0, 0.0
        self.tasks: dict[str, Task] = {}
        self.keys: dict[str, tuple[str, Json]] = {}
        self.relays: dict[str, str] = {}
        self.models: list[str] | None = None
        self.rate_limit: int | None = None
        self.calls: list[float] = []
        self.stories: list[str] = []
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.flying = 0

    def now(self) -> float:
        """What its clock shows."""
        passed = 0.0 if self.mode == "manual" else (time.monotonic() - self.read) * self.rate
        return self.base + passed

    def set(self, mode: str, rate: float, at: float | None = None) -> None:
        """Another kind of clock, or another moment."""
        self.base = self.now() if at is None else at
        self.mode, self.rate, self.read = mode, rate if mode == "scaled" else 1.0, time.monotonic()

    def plan(self, at: float, act: Callable[[], None]) -> None:
        """Have something happen then."""
        heapq.heappush(self.due, (at, next(self.numbers), act))

    def run_due(self, until: float) -> None:
        """Let happen what is due."""
        while self.due and self.due[0][0] <= until:
            heapq.heappop(self.due)[2]()

    def advance(self, seconds: float) -> None:
        """Move a manual clock, from one thing that is due to the next; attempts on the wire are waited for."""
        target = round(self.now() + seconds, 6)
        with self.lock:
            while True:
                self.idle.wait_for(lambda: not self.flying)
                if not self.due or self.due[0][0] > target:
                    break
                self.set("manual", 1, max(self.now(), self.due[0][0]))
                self.run_due(self.now())
            self.set("manual", 1, target)


class Api:
    """The plain server. What a member of the jury does otherwise, it overrides."""

    queued, runs = 5.0, 30.0
    prices = {"720p": 7.2, "1080p": 9.0}
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    control = True

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.lock = threading.RLock()
        self.links: dict[str, tuple[Account, Task]] = {}
        self.origin = ""
        self.secret = secrets.token_bytes(8)
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while True:
            time.sleep(0.01)
            for account in list(self.accounts.values()):
                with account.lock:
                    account.run_due(account.now())

    # What is shown

    def status(self, task: Task, now: float) -> tuple[str, int]:
        """Status and progress at a moment."""
        age = now - task.created
        if task.cancelled:
            return "failed", 0
        if age >= self.queued + self.runs:
            return ("failed", 0) if task.fails else ("completed", 100)
        return ("pending", 0) if age < self.queued else ("processing", self.progress((age - self.queued) / self.runs))

    def progress(self, share: float) -> int:
        """The progress of a task that runs."""
        return int(1 + 98 * share)

    def ended(self, task: Task) -> float:
        """When it was or will be over."""
        return task.cancelled or task.created + self.queued + self.runs

    def show(self, account: Account, task: Task) -> Json:
        """The task as a query shows it."""
        status, progress = self.status(task, account.now())
        over = status in ("completed", "failed")
        usage: Json = {"billing_rule": "per_second", "credits_reserved": task.price, "user_group": "default"}
        found: Json = {
            "id": task.id, "object": "video.generation.task", "created": int(task.created), "model": MODEL, "type": "video",
            "status": status, "progress": progress, "usage": usage,
            "task_info": {"can_cancel": not over, "estimated_time": 0 if over else 60, "video_duration": task.asked.get("duration", 5)},
        }  # fmt: skip
        if over:
            usage["credits_used"] = task.price if status == "completed" else 0
        if status == "completed":
            found["results"] = [self.link(account, task)]
        if status == "failed":
            code = "request_cancelled" if task.cancelled else "service_error"
            found["error"] = {"code": code, "message": "The task did not succeed.", "type": "task_error"}
        return found

    def link(self, account: Account, task: Task) -> str:
        """Where its video is."""
        if not task.token:
            task.token = secrets.token_hex(12)
            self.links[task.token] = (account, task)
        return f"{self.origin}/v/{task.token}.mp4?signature={self.sign(task.token)}"

    def sign(self, token: str) -> str:
        """A signature that nobody else can make."""
        return hashlib.sha256(self.secret + token.encode()).hexdigest()[:16]

    def row(self, account: Account, task: Task) -> Json:
        """The task in a list."""
        shown = self.show(account, task)
        kept = {name: shown[name] for name in ("id", "model", "type", "status", "progress")}
        facts = {"has_results": "results" in shown, "has_error": "error" in shown}
        return {**kept, "created_at": shown["created"], **facts, "credits_used": shown["usage"].get("credits_used", 0)}

    def refusal(self, error: Refused) -> Answer:
        """An error as it is answered."""
        body: Json = {"code": error.code, "message": error.message, "type": error.kind}
        if error.param:
            body["param"] = error.param
        return Answer(error.status, {"error": body}, {"x-request-id": secrets.token_hex(8), **error.headers})

    # Calls

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """The answer to any request; an error is one too."""
        parts = urlsplit(target)
        try:
            if parts.path.startswith("/v/"):
                return self.download(method, parts.path, parts.query, headers)
            if parts.path.startswith("/__mock/") and self.control:
                return Answer(200, self.steer(method, parts.path[7:], headers, json.loads(body) if body else {}))
            return self.call(method, parts.path, parse_qs(parts.query), headers, body)
        except Refused as error:
            return self.refusal(error)

    def call(self, method: str, path: str, query: Any, headers: Any, body: bytes) -> Answer:
        """A call of the API."""
        account = self.who(headers)
        with account.lock:
            account.run_due(account.now())
            self.limit(account)
            found = self.route(account, method, path, query, headers, body)
        return Answer(found.status, found.body, {"x-request-id": secrets.token_hex(8), **found.headers})

    def route(self, account: Account, method: str, path: str, query: Any, headers: Any, body: bytes) -> Answer:
        """Which call it is."""
        if path == "/v1/videos/generations":
            self.allow(method, "POST")
            return self.create(account, headers, body)
        if path == "/v1/tasks/batch" and method == "POST":
            return self.batch(account, self.parse(body))
        if path == "/v1/tasks":
            self.allow(method, "GET")
            return self.list(account, {name: values[-1] for name, values in query.items()})
        if path.startswith("/v1/tasks/"):
            self.allow(method, "GET")
            return Answer(200, self.show(account, self.find(account, path[10:])))
        if path == "/v1/credits":
            self.allow(method, "GET")
            both = {"remaining_credits": round(account.credits, 6), "used_credits": round(account.used, 6)}
            return Answer(
                200,
                {"success": True, "data": {"token": {**both, "unlimited_credits": False}, "user": both}, "message": ""},
            )
        raise Refused(404, "not_found", f"Invalid URL ({method} {path})")

    def allow(self, method: str, *methods: str) -> None:
        """Refuse a method that the path does not have."""
        if method not in methods:
            raise Refused(405, "method_not_allowed", "no such method here", Allow=", ".join(methods))

    def limit(self, account: Account) -> None:
        """Refuse who asks too often."""
        now = account.now()
        account.calls = [moment for moment in account.calls if now - moment < 60] + [now]
        if account.rate_limit is not None and len(account.calls) > account.rate_limit:
            raise Refused(429, "rate_limit_exceeded", "slow down", kind="rate_limit_error", **{"Retry-After": "60"})

    def who(self, headers: Any) -> Account:
        """Whose key it is."""
        scheme, _, key = (headers.get("Authorization") or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not key.strip().startswith("sk-"):
            raise Refused(401, "unauthorized", "that is no valid key", kind="authentication_error")
        return self.account(key.strip())

    def account(self, key: str) -> Account:
        """The account of a key."""
        with self.lock:
            return self.accounts.setdefault(key, Account(key))

    def parse(self, body: bytes) -> Json:
        """The JSON object of a body."""
        if len(body) > 1024 * 1024:
            raise Refused(413, "request_too_large", "that is too much")
        try:
            found = json.loads(body.decode(), parse_constant=lambda _: 1 / 0)
        except (ValueError, ZeroDivisionError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Refused(400, "invalid_request", "the body must be a JSON object")
        return found

    def find(self, account: Account, task_id: str) -> Task:
        """A task of the account's own."""
        if not task_id.startswith("task-unified-"):
            raise Refused(400, "invalid_task_id", "that is no id", "task_id")
        task = account.tasks.get(task_id)
        if task is None:
            raise Refused(404, "task_not_found", "there is no such task")
        return task

    def create(self, account: Account, headers: Any, body: bytes) -> Answer:
        """Make a task, or give the one that the same key made."""
        asked = self.parse(body)
        size = self.check(asked)
        if account.models is not None and MODEL not in account.models:
            raise Refused(403, "model_access_denied", "not with this key")
        key = headers.get("Idempotency-Key") or ""
        if key in account.keys:
            task_id, before = account.keys[key]
            if before != asked:
                raise Refused(409, "idempotency_conflict", "that key was used for something else")
            shown = self.show(account, Task(task_id, account.now(), asked, account.tasks[task_id].price))
            return Answer(
                200, {**shown, "created": int(account.tasks[task_id].created)}, {"idempotency-replayed": "true"}
            )
        price = self.price(asked)
        if account.credits < price - 1e-9:
            raise Refused(402, "insufficient_quota", "not enough credits", kind="insufficient_quota")
        return Answer(200, self.make(account, asked, price, size, key))

    def price(self, asked: Json) -> float:
        """What it reserves."""
        return round(max(21.6, self.prices[asked.get("quality", "720p")] * asked.get("duration", 5)), 2)

    def make(self, account: Account, asked: Json, price: float, size: tuple[int, int], key: str) -> Json:
        """A task, with its credits reserved and its end planned."""
        now = account.now()
        end = "".join(secrets.choice(self.alphabet) for _ in range(8))
        fails = bool(account.stories) and account.stories.pop(0) == "failed"
        task = Task(f"task-unified-{int(now)}-{end}", now, asked, price, fails, size=size)
        account.credits = round(account.credits - price, 6)
        account.tasks[task.id] = task
        if key:
            account.keys[key] = (task.id, asked)
        account.plan(self.ended(task), lambda: self.settle(account, task))
        return self.show(account, task)

    def settle(self, account: Account, task: Task) -> None:
        """The task is over: its credits are used or given back, and whoever asked is called."""
        if task.settled:
            return
        task.settled = True
        if self.status(task, account.now())[0] == "completed":
            account.used = round(account.used + task.price, 6)
        else:
            account.credits = round(account.credits + task.price, 6)
        if task.asked.get("callback_url"):
            self.attempt(account, task, 0)

    def attempt(self, account: Account, task: Task, number: int) -> None:
        """Call back, in a thread of its own; after a failure, plan the next attempt."""
        body = json.dumps(self.show(account, task)).encode()
        account.flying += 1

        def fly() -> None:
            done = self.deliver(account, task.asked["callback_url"], body)
            with account.lock:
                if not done and number < len(GAPS):
                    account.plan(account.now() + GAPS[number], lambda: self.attempt(account, task, number + 1))
                account.flying -= 1
                account.idle.notify_all()

        threading.Thread(target=fly, daemon=True).start()

    def deliver(self, account: Account, url: str, body: bytes) -> bool:
        """One attempt, where a relay says."""
        parts = urlsplit(url)
        place = account.relays.get(f"https://{parts.netloc}") or account.relays.get(f"https://{parts.hostname}")
        if place is None:
            return False
        wire = HTTPConnection(urlsplit(place).netloc, timeout=self.patience() / account.rate)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            wire.request("POST", target or "/", body, {"Host": parts.netloc, "Content-Type": "application/json"})
            return self.taken(wire.getresponse().status)
        except (OSError, ValueError, Exception):
            return False
        finally:
            wire.close()

    def patience(self) -> float:
        """Seconds that a receiver has."""
        return TIMEOUT

    def taken(self, status: int) -> bool:
        """Whether an answer of a receiver is a yes."""
        return 200 <= status < 300

    def list(self, account: Account, asked: dict[str, str]) -> Answer:
        """The account's tasks, newest first."""
        rows = [self.row(account, task) for task in reversed(account.tasks.values())]
        status = asked.get("status")
        if status:
            kept = {"processing": ("pending", "processing"), "cancelled": ("failed",)}.get(status, (status,))
            rows = [row for row in rows if row["status"] in kept]
            if status == "cancelled":
                rows = [row for row in rows if account.tasks[row["id"]].cancelled]
        rows = [
            row for row in rows if asked.get("type", row["type"]) == row["type"] and asked.get("model", MODEL) == MODEL
        ]
        numbers = asked.get("page", "1"), asked.get("page_size", "20")
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise Refused(400, "invalid_request", "pages are numbers", "page")
        page, size = map(int, numbers)
        return Answer(
            200, {"data": rows[(page - 1) * size : page * size], "total": len(rows), "page": page, "page_size": size}
        )

    def batch(self, account: Account, asked: Json) -> Answer:
        """Several tasks at once."""
        ids = asked.get("task_ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= 50 or not all(isinstance(one, str) for one in ids):
            raise Refused(400, "invalid_request", "1 to 50 ids", "task_ids")
        found = [account.tasks[one] for one in dict.fromkeys(ids) if one in account.tasks]
        return Answer(200, {"data": [self.show(account, task) for task in found]})

    # Checks

    def check(self, asked: Json) -> tuple[int, int]:
        """Refuse what is wrong with a create; the size of its first frame."""
        for name in ("model", "image_start"):
            if name not in asked:
                raise Refused(400, "invalid_request", f"{name} is missing", name)
        if asked["model"] != MODEL:
            raise Refused(400, "invalid_request", f"the model served is {MODEL}", "model")
        prompt = asked.get("prompt", "")
        if not isinstance(prompt, str) or len(prompt) > 2500:
            raise Refused(400, "invalid_request", "prompt: at most 2500 characters", "prompt")
        if "quality" in asked and not (isinstance(asked["quality"], str) and asked["quality"] in SIDES):
            raise Refused(400, "invalid_request", "quality: 720p or 1080p", "quality")
        self.check_duration(asked)
        for name in ("aspect_ratio", "image_end", "image_urls", "video_urls", "mask_url", "audio_urls"):
            if name in asked:
                raise Refused(400, "invalid_request", f"{name} is not taken", name)
        if "callback_url" in asked:
            self.check_callback(asked["callback_url"])
        return self.check_image(asked["image_start"])

    def check_duration(self, asked: Json) -> None:
        """A whole number from 3 to 15."""
        seconds = asked.get("duration", 5)
        whole = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds == seconds // 1
        if not whole or not 3 <= seconds <= 15:
            raise Refused(400, "invalid_request", "duration: 3 to 15", "duration")
        if "duration" in asked:
            asked["duration"] = int(seconds)

    def check_image(self, url: Any) -> tuple[int, int]:
        """What the drawing host's URLs say of an image; any other host's is of ordinary size."""
        bad = Refused(400, "invalid_request", "that first frame cannot be used", "image_start")
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or " " in url:
            raise bad
        found = re.fullmatch(r"/(\d+)x(\d+)\.(jpg|jpeg|png)", parts.path)
        if parts.hostname != "image.test" or found is None:
            return 1280, 720
        width, height, query = int(found[1]), int(found[2]), parse_qs(parts.query, keep_blank_values=True)
        fits = min(width, height) >= 300 and 2 * width <= 5 * height and 2 * height <= 5 * width
        right = query.get("as", ["png"])[0] in ("png", "jpeg") and int(query.get("bytes", ["0"])[0]) <= 50 * 1024 * 1024
        if not fits or not right or "truncated" in query or "status" in query:
            raise bad
        return width, height

    def check_callback(self, url: Any) -> None:
        """https, public, at most 2048 characters."""
        bad = Refused(400, "invalid_request", "callback_url cannot be called", "callback_url")
        if not isinstance(url, str) or len(url) > 2048:
            raise bad
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".")
        except ValueError:
            raise bad from None
        if parts.scheme != "https" or not host or self.inside(host, url):
            raise bad

    def inside(self, host: str, url: str) -> bool:
        """Whether a host is one of this network's."""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            if ":" in host:
                address = ipaddress.IPv6Address(host)
                if address.ipv4_mapped is None:
                    return not address.is_global or address.is_multicast
                number = address.ipv4_mapped
            else:
                number = ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
        return any(number in ipaddress.ip_network(net) for net in INSIDE) or not number.is_global or number.is_multicast

    # Videos

    def download(self, method: str, path: str, query: str, headers: Any) -> Answer:
        """A result."""
        found = self.links.get(path[3:].removesuffix(".mp4"))
        if found is None or not self.opens(path[3:].removesuffix(".mp4"), query):
            return Answer(403, {"error": "no"})
        account, task = found
        if account.now() >= self.ended(task) + DAY:
            return Answer(403, {"error": "gone"})
        data = video(task.size, SIDES[task.asked.get("quality", "720p")], task.asked.get("duration", 5))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range") or "")
        kind = {"Content-Type": "video/mp4", "Accept-Ranges": "bytes"}
        if asked and int(asked[1]) < len(data):
            part = data[int(asked[1]) : int(asked[2]) + 1]
            return Answer(
                206, part, {**kind, "Content-Range": f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(data)}"}
            )
        return Answer(200, data, kind)

    def opens(self, token: str, query: str) -> bool:
        """Whether a link's query lets in."""
        return query == f"signature={self.sign(token)}"

    # Control

    def steer(self, method: str, path: str, headers: Any, body: Json) -> Json:
        """A call of the control protocol."""
        if path == "/info":
            return {"name": "jury", "version": "1", "features": ["clock", "scenarios", "relays", "cancel", "credits"]}
        account = self.account((headers.get("Authorization") or "").partition(" ")[2])
        if path == "/clock/advance":
            account.advance(body["seconds"])
            return {"now": account.now()}
        with account.lock:
            return self.steer_account(account, method, path, body)

    def steer_account(self, account: Account, method: str, path: str, body: Json) -> Json:
        """What concerns one account alone."""
        if path == "/clock" and method == "PUT":
            account.set(body["mode"], body.get("rate", 1.0))
        elif path == "/reset":
            self.accounts[account.key] = Account(account.key)
        elif path == "/scenarios":
            return {"scenarios": [{"name": "completed"}, {"name": "failed"}]}
        elif path == "/scenarios/next":
            if body.get("params"):
                raise Refused(400, "invalid_request", "no parameters here", "params")
            account.stories += [body["name"]] * body.get("times", 1)
        elif path == "/relays":
            account.relays = dict(body)
        elif path == "/account":
            account.credits = body.get("credits", account.credits)
            account.models = body.get("models", account.models)
            account.rate_limit = body.get("rate_limit", account.rate_limit)
            account.calls = []
        elif path.startswith("/tasks/"):
            task = self.find(account, path.split("/")[2])
            if not task.settled:
                task.cancelled = account.now()
                account.plan(account.now(), lambda: self.settle(account, task))
        return {"now": account.now()}


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 around an `Api`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        """Read one request and answer it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.respond(self.api.answer(self.command, self.path, self.headers, body))

    def respond(self, answer: Answer) -> None:
        """Write one answer."""
        data = answer.body if isinstance(answer.body, bytes) else self.dump(answer.body)
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": "application/json",
            **answer.headers,
            "Content-Length": str(len(data)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def dump(self, body: Any) -> bytes:
        """JSON as bytes."""
        return json.dumps(body).encode()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Many connections at once."""

    daemon_threads = True
    request_queue_size = 128


def serve(api: Api, handler: type[Handler] = Handler) -> None:
    """Serve on a free port, say where, and go on until the input ends."""
    server = Server(("127.0.0.1", 0), type("Bound", (handler,), {"api": api}))
    api.origin = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": api.origin}), flush=True)
    sys.stdin.read()
