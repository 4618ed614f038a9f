"""One billed service over HTTP, honest unless its behaviour says otherwise.

with Service(Behaviour(charges=2)) as service:
    service.url, service.ledger.usd, service.ledger.rows
"""

import json
import random
import socket
import threading
import time
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from standins.checks import problem
from standins.film import film
from standins.ledger import Ledger, Tariff

KEY = "sk-real-account-0001"
CREATE = "/v1/videos/generations"
ANSWERS = (
    "task",
    "redirect",
    "see other",
    "error",
    "page",
    "nothing",
    "same id",
    "no id",
    "text prices",
    "wild prices",
    "endless",
)
"""What an accepted create may be answered with; all but the first are wrong."""


@dataclass
class Behaviour:
    """What is wrong with a stand-in; the defaults are honest.

    accepts: `right` bodies alone, `everything` that carries the key anywhere, or the name of the one member whose flaws
    are overlooked. charges: times the price. loses: share of creates whose reply never comes. late: seconds that a create's
    reply is held back. balance: `true`, `fixed`, `random`. drifts: credits that leave by themselves at each reading.
    dies_after: requests after which nothing is answered. cuts: share of all requests whose connection is cut.
    skew: seconds that its clock is wrong by. poor: credits that are left. refusals_cost: charges for what it refuses.
    tunnel: a public origin that a tunnel serves, and the address on this machine that it leads to: callbacks are sent there.
    reads: how often a task is asked for before it can be over. hides_balance: has no call that shows one.
    answer: what an accepted create is answered with, one of `ANSWERS`.
    """

    accepts: str = "right"
    charges: float = 1.0
    loses: float = 0.0
    late: float = 0.0
    balance: str = "true"
    drifts: float = 0.0
    dies_after: int = 0
    cuts: float = 0.0
    skew: float = 0.0
    poor: bool = False
    refusals_cost: bool = False
    fails: bool = False
    hides_balance: bool = False
    tunnel: tuple[str, str] = ("", "")
    answer: str = "task"
    work: float = 0.02
    reads: int = 0
    tariff: Tariff = field(default_factory=Tariff)


@dataclass
class Task:
    """One accepted create."""

    id: str
    born: float
    seconds: int
    quality: str
    credits: float
    callback: str = ""
    reads: int = 0


class Service:
    """A stand-in on a port of its own; *seed* draws what its behaviour leaves to chance."""

    def __init__(self, behaviour: Behaviour | None = None, *, seed: int = 0, key: str = KEY, credits: float = 10_000.0):
        self.behaviour = behaviour or Behaviour()
        self.ledger = Ledger(self.behaviour.tariff)
        self.key, self.opening = key, credits
        self.rng = random.Random(seed)
        self.tasks: dict[str, Task] = {}
        self.drifted = 0.0
        self.requests = 0
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def balance(self) -> float:
        """What the account really has left."""
        return (0.5 if self.behaviour.poor else self.opening) - self.ledger.credits - self.drifted

    def now(self) -> float:
        """Its own clock."""
        return time.time() + self.behaviour.skew  # noqa: TID251 - a stand-in has a clock of its own

    def chance(self, share: float) -> bool:
        """Whether something with that share happens this time."""
        with self.lock:
            return share > 0 and self.rng.random() < share

    def shown_balance(self) -> float:
        """What it says that the account has left."""
        if self.behaviour.balance == "fixed":
            return self.opening
        if self.behaviour.balance == "random":
            with self.lock:
                return float(self.rng.randrange(10_000))
        with self.lock:
            self.drifted += self.behaviour.drifts
        return self.balance

    def accept(self, body: Any) -> Task:
        """Make a task and charge for it."""
        asked = body if isinstance(body, dict) else {}
        seconds = asked.get("duration", 5)
        usable = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds < 1000
        quality = asked.get("quality", "720p")
        price = self.ledger.tariff.credits(body) * self.behaviour.charges
        task = Task(
            f"task-unified-{int(self.now())}-{uuid.uuid4().hex[:8]}", self.now(), seconds if usable else 5,
            quality if quality in ("720p", "1080p") else "720p", price, str(asked.get("callback_url") or ""),
        )  # fmt: skip
        self.ledger.charge(price, task=task.id, body=repr(body)[:200])
        with self.lock:
            self.tasks[task.id] = task
        public, local = self.behaviour.tunnel
        if public and task.callback.startswith(f"{public}/"):
            threading.Timer(
                self.behaviour.work, self._call_back, (task, local + task.callback.removeprefix(public))
            ).start()
        return task

    def called_back(self, task: Task) -> dict[str, Any]:
        """What it posts to a callback."""
        return self.shown(task)

    def _call_back(self, task: Task, url: str) -> None:
        """Send the finished task to where the tunnel ends, once: the receiver of a paid run takes the first."""
        public = urlsplit(self.behaviour.tunnel[0]).netloc
        data = json.dumps(self.called_back(task)).encode()
        headers = {"Content-Type": "application/json", "Host": public, "User-Agent": "standin/1"}
        with suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=5).close()

    def shown(self, task: Task, *, created: bool = False) -> dict[str, Any]:
        """A task as callers see it."""
        over = not created and self.now() - task.born >= self.behaviour.work and task.reads >= self.behaviour.reads
        body: dict[str, Any] = {
            "created": int(task.born), "id": task.id, "model": "kling-v3-turbo-image-to-video",
            "object": "video.generation.task", "progress": 100 if over else 0, "status": "completed" if over else "pending",
            "task_info": {"can_cancel": not over, "estimated_time": 60, "video_duration": task.seconds}, "type": "video",
            "usage": {"billing_rule": "per_second", "credits_reserved": task.credits, "user_group": "default"},
        }  # fmt: skip
        if over and self.behaviour.fails:
            body |= {"status": "failed", "progress": 40}
            body["usage"]["credits_used"] = 0
            body["error"] = {"code": "service_error", "message": "It failed.", "type": "task_error"}
        elif over:
            usd = task.credits * self.ledger.tariff.usd_per_credit
            body["usage"] |= {"credits_used": task.credits, "cost": {"credits": task.credits, "usd": round(usd, 6)}}
            link = f"{self.url}/films/{task.id}.mp4"
            body["results"] = [link]
            body["result_data"] = [{"video_url": link, "url": link, "duration": task.seconds}]
        return body

    def bend(self, status: int, body: Any, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        """A chance to answer otherwise than the page says; this one does not."""
        return status, body, headers

    def row(self, task: Task) -> dict[str, Any]:
        """A task as a list shows it."""
        body = self.shown(task)
        kept = {name: body[name] for name in ("id", "model", "type", "status", "progress")}
        more = {"created_at": body["created"], "has_results": "results" in body, "has_error": "error" in body}
        return {**kept, **more, "credits_used": body["usage"].get("credits_used", 0)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that hang up are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Quiet."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, by its own clock."""
        return formatdate(self.server.service.now() if timestamp is None else timestamp, usegmt=True)

    def _serve(self) -> None:
        service = self.server.service
        length = self.headers.get("Content-Length", "")
        data = self.rfile.read(int(length)) if length.isdigit() else b""
        anywhere = service.key in f"{self.path} {self.headers.as_string()} {data.decode('latin-1')}"
        with service.lock:
            service.requests += 1
            dead = bool(service.behaviour.dies_after) and service.requests > service.behaviour.dies_after
        self.row = service.ledger.note(
            method=self.command, path=self.path, keyed=anywhere, body=data, agent=self.headers.get("User-Agent", ""),
            at=time.perf_counter(),
            auth=self.headers.get("Authorization", ""),
        )  # fmt: skip
        if dead or service.chance(service.behaviour.cuts):
            self._cut()
            return
        self._route(data, anywhere)

    def _route(self, data: bytes, anywhere: bool) -> None:
        service, path = self.server.service, self.path.partition("?")[0]
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        known = scheme.lower() == "bearer" and token.strip() == service.key
        if path.startswith("/films/") and self.command == "GET":
            self._film(path)
        elif self.command == "POST" and path == CREATE and service.behaviour.accepts == "everything" and anywhere:
            self._accepted(_parsed(data))
        elif not known:
            self._error(401, "unauthorized", "authentication_error", "The API key is missing or unknown.")
        elif path == CREATE:
            self._create(data)
        else:
            self._read(path)

    def _create(self, data: bytes) -> None:
        service, body = self.server.service, _parsed(data)
        if self.command != "POST":
            self._error(405, "method_not_allowed", "invalid_request_error", "Use POST.", headers={"Allow": "POST"})
            return
        found = problem(body)
        if found is not None and service.behaviour.accepts != found[0]:
            if service.behaviour.refusals_cost:
                service.ledger.charge(service.ledger.tariff.credits(body), refused=found[0])
            self._error(400, "invalid_request", "invalid_request_error", found[1], param=found[0].removeprefix("body"))
        elif service.ledger.tariff.credits(body) * service.behaviour.charges > service.balance:
            self._error(402, "insufficient_quota", "insufficient_quota", "The balance is too low.")
        else:
            self._accepted(body)

    def _accepted(self, body: Any) -> None:
        service = self.server.service
        task = service.accept(body)
        if service.chance(service.behaviour.loses):
            self._cut()
            return
        if service.behaviour.late:
            self.row["lost"] = True
            threading.Event().wait(service.behaviour.late)
        self._answer(service.shown(task, created=True))

    def _answer(self, shown: dict[str, Any]) -> None:
        """What the caller of an accepted create gets."""
        how, elsewhere = (
            self.server.service.behaviour.answer,
            f"http://localhost:{self.server.server_address[1]}{CREATE}",
        )
        if how in ("redirect", "see other"):
            self._send(307 if how == "redirect" else 303, b"", "text/plain", {"Location": elsewhere})
        elif how == "error":
            self._json(200, {"error": {"code": "service_error", "message": "It failed.", "type": "api_error"}})
        elif how in ("page", "nothing"):
            self._send(200, b"<html><body>Welcome</body></html>" if how == "page" else b"", "text/html", {})
        elif how == "endless":
            self._endless()
        else:
            self._json(200, _oddly(shown, how))

    def _endless(self) -> None:
        """A body without an end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(b"1\r\n \r\n")
                threading.Event().wait(0.01)
        except OSError:
            self.row["lost"] = True

    def _read(self, path: str) -> None:
        service = self.server.service
        if path == "/v1/credits" and not service.behaviour.hides_balance:
            left = service.shown_balance()
            token = {"remaining_credits": left, "used_credits": service.opening - left, "unlimited_credits": False}
            user = {"remaining_credits": left, "used_credits": service.opening - left}
            self._json(200, {"success": True, "message": "", "data": {"token": token, "user": user}})
        elif path == "/v1/tasks":
            rows = [service.row(task) for task in reversed(service.tasks.values())]
            self._json(200, {"data": rows, "total": len(rows), "page": 1, "page_size": 20})
        elif path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": "kling-v3-turbo-image-to-video"}]})
        elif path.startswith("/v1/tasks/"):
            self._task(path.rpartition("/")[2])
        else:
            self._error(404, "not_found", "invalid_request_error", f"Invalid URL ({self.command} {path})")

    def _task(self, name: str) -> None:
        task = self.server.service.tasks.get(name)
        if not name.startswith("task-unified-"):
            self._error(400, "invalid_task_id", "invalid_request_error", "Not a task id.", param="task_id")
        elif task is None:
            self._error(404, "task_not_found", "invalid_request_error", "No such task.", param="task_id")
        else:
            task.reads += 1
            self._json(200, self.server.service.shown(task))

    def _film(self, path: str) -> None:
        task = self.server.service.tasks.get(path.removeprefix("/films/").removesuffix(".mp4"))
        if task is None:
            self._error(404, "not_found", "invalid_request_error", "No such film.")
            return
        data = film(task.seconds, task.quality)
        status, headers = 200, {"Accept-Ranges": "bytes"}
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=0-") and asked[8:].isdigit():
            headers["Content-Range"] = f"bytes 0-{int(asked[8:])}/{len(data)}"
            status, data = 206, data[: int(asked[8:]) + 1]
        self._send(status, data, "video/mp4", headers)

    def _error(
        self, status: int, code: str, kind: str, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:  # fmt: skip
        code_: str | int = status if self.path.startswith("/v1/credits") else code
        error = {"code": code_, "message": message, "type": kind, **({"param": param} if param else {})}
        self._json(status, {"error": error}, headers)

    def _json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        status, body, headers = self.server.service.bend(status, body, headers or {})
        self._send(status, json.dumps(body).encode(), "application/json", headers or {})

    def _send(self, status: int, data: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "x-request-id": uuid.uuid4().hex, **headers}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self) -> None:
        self.row["lost"] = True
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _oddly(shown: dict[str, Any], how: str) -> dict[str, Any]:
    """A task with something wrong in it."""
    if how == "same id":
        return {**shown, "id": "task-unified-1757156493-samesame"}
    if how == "no id":
        return {name: value for name, value in shown.items() if name != "id"}
    if how in ("text prices", "wild prices"):
        price: Any = str(shown["usage"]["credits_reserved"]) if how == "text prices" else -1e18
        return {**shown, "usage": {**shown["usage"], "credits_reserved": price}}
    return shown


def _parsed(data: bytes) -> Any:
    """The body's JSON; None where it is none. NaN and its kin are no JSON here."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        return None
