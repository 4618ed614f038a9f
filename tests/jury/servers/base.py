"""A small server of the contract, written from the document alone: the plain one that the jury's servers depart from.

It has the parts of the control protocol that a run is steered with: clock, relays, cancel, credits, scenarios. Its one import from
outside the standard library makes the videos.
"""

import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlsplit

from accounts import Account, Json, Task
from checks import MODEL, SIDES, Checks, Refused
from video import video

DAY, TIMEOUT, GAPS = 86400, 10.0, (1.0, 2.0, 4.0)


@dataclass
class Answer:
    """Status, JSON or bytes, and headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Api(Checks):
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
