"""Accounts, tasks and money of the stand-in: one lock, real time, and a ledger of every credit that moved."""

import heapq
import json
import math
import re
import secrets
import string
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import formatdate
from typing import Any

from standin_checks import Create
from standin_facts import IDEMPOTENCY_LIFE, MODEL, TASK_ERRORS, ApiError, Options, ticks, wall

JUMPS = (0.0, 0.03, 0.03, 0.41, 0.42, 0.42, 0.97, 0.97)  # odd steps, never back
TAG = re.compile(r"\[\[(failed|cancelled)((?:\s+\w+=\w+)*)\s*\]\]")
RATE_WINDOW = 60.0  # seconds
EXTRA = {"x_region": "eu-1", "x_trace": {"hops": [1, 2, 3], "sampled": False}}  # the same in every answer


@dataclass
class Task:
    """One accepted create: what was decided when it was made, and whether its charge is settled."""

    id: str
    token: str  # of its link
    key: str
    created: int  # Unix seconds
    born: float  # ticks()
    duration: int
    quality: str
    size: tuple[int, int]
    callback_url: str | None
    reserved: Decimal
    error: str | None  # the task error code it ends with
    top: int  # progress it has reached when it ends early
    settled: bool = False


@dataclass
class Account:
    """One API key: credits it can still spend, credits it spent, and what it did lately."""

    key: str
    balance: Decimal
    may_use_model: bool
    used: Decimal = Decimal(0)
    calls: deque[float] = field(default_factory=deque)
    replays: dict[str, tuple[float, str, dict[str, Any]]] = field(default_factory=dict)


class Ledger:
    """Rows in order, in memory and (where a file was named) one JSON line each, flushed at once."""

    def __init__(self, options: Options) -> None:
        self.rows: list[dict[str, Any]] = []
        self._rate = Decimal(str(options.usd_per_credit))
        self._file = options.ledger.open("a", encoding="utf-8") if options.ledger else None

    def write(self, event: str, account: Account | None, **facts: Any) -> None:
        """One row. Credits and dollars are numbers; a row without them moved none."""
        row: dict[str, Any] = {"at": wall(), "event": event, "key": account.key if account else None}
        row |= {"credits_reserved": 0, "credits_settled": 0, "credits_refunded": 0}
        row |= {name: plain(value) if isinstance(value, Decimal) else value for name, value in facts.items()}
        row["usd_reserved"] = plain(Decimal(str(row["credits_reserved"])) * self._rate)
        row["usd_settled"] = plain(Decimal(str(row["credits_settled"])) * self._rate)
        row["balance_after"] = plain(account.balance) if account else None
        self.rows.append(row)
        if self._file:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; the rows stay readable."""
        if self._file:
            self._file.close()


def plain(value: Decimal) -> int | float:
    """A JSON number for an exact amount."""
    return int(value) if value == value.to_integral_value() else float(value)


class World:
    """Every account and task. `on_end(task_id, url, body)` is called for a task with a callback, after its charge."""

    def __init__(self, options: Options, on_end: Callable[[str, str, dict[str, Any]], None]) -> None:
        self.options = options
        self.ledger = Ledger(options)
        self.base_url = ""
        self._on_end = on_end
        self._lock = threading.Condition()
        self._due: list[tuple[float, str]] = []
        self._closed = False
        self._tasks: dict[str, Task] = {}
        self._links: dict[str, Task] = {}
        opening = Decimal(str(options.credits))
        self.accounts = {key: Account(key, opening, True) for key in options.keys}
        self.accounts |= {key: Account(key, opening, False) for key in options.denied_keys}
        self._ender = threading.Thread(target=self._end_tasks, daemon=True)
        self._ender.start()

    def close(self) -> None:
        """Stop ending tasks and close the ledger."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._ender.join()
        self.ledger.close()

    def throttle(self, account: Account, kind: str) -> None:
        """Count a call of the account; raises ApiError 429 (of type `kind`) over the limit."""
        if self.options.rate_limit is None:
            return
        with self._lock:
            now, calls = ticks(), account.calls
            while calls and calls[0] <= now - RATE_WINDOW:
                calls.popleft()
            if len(calls) < self.options.rate_limit:
                calls.append(now)
                return
            wait = math.ceil(calls[0] + RATE_WINDOW - now) if calls else math.ceil(RATE_WINDOW)
        # One second more for the date: it has whole seconds, and a client must not come too early by rounding.
        after = formatdate(wall() + wait + 1, usegmt=True) if self.options.retry_after == "date" else str(wait)
        raise ApiError(
            429,
            "rate_limit_exceeded",
            "Too many requests.",
            kind=kind,
            suggestion=f"retry after {wait} seconds",
            headers={"Retry-After": after},
        )

    def replay(self, account: Account, idempotency_key: str | None, create: Create) -> dict[str, Any] | None:
        """The answer this key got for the same body, None when it is new; raises ApiError 409 for another body."""
        if idempotency_key is None:
            return None
        with self._lock:
            found = account.replays.get(idempotency_key)
            if found is None or ticks() - found[0] > IDEMPOTENCY_LIFE:
                return None
            if found[1] != create.canonical:
                raise ApiError(
                    409,
                    "idempotency_conflict",
                    "This Idempotency-Key was used with another body.",
                    param="Idempotency-Key",
                )
            self.ledger.write("replayed", account, task_id=found[2]["id"], status=200)
            return found[2]

    def create(
        self, account: Account, create: Create, size: tuple[int, int], error: str | None, idempotency_key: str | None
    ) -> tuple[dict[str, Any], bool]:
        """Reserve and accept in one step: (create answer, whether it is a replay). Raises ApiError 402, 409."""
        with self._lock:
            again = self.replay(account, idempotency_key, create)
            if again is not None:
                return again, True
            self._settle()
            price = self.options.price_1080p if create.quality == "1080p" else self.options.price_720p
            reserved = Decimal(str(price)) * create.duration
            if reserved > account.balance:
                raise ApiError(402, "insufficient_quota", "The balance is too low.", kind="insufficient_quota")
            task = self._new_task(account, create, size, error, reserved)
            account.balance -= reserved
            answer = self._view(task, task.born)
            if idempotency_key is not None:
                account.replays[idempotency_key] = (task.born, create.canonical, answer)
            self.ledger.write(
                "accepted",
                account,
                status=200,
                task_id=task.id,
                credits_reserved=reserved,
                quality=task.quality,
                duration=task.duration,
            )
            return answer, False

    def refused(self, account: Account | None, error: ApiError) -> None:
        """Note a create that was answered with an error."""
        with self._lock:
            self.ledger.write(
                "refused", account, status=error.status, task_id=None, error_code=error.code, param=error.param
            )

    def read(self, account: Account, task_id: str) -> dict[str, Any]:
        """The task as a query shows it; raises ApiError 404, the same for no task and for another account's."""
        with self._lock:
            self._settle()
            task = self._tasks.get(task_id)
            if task is None or task.key != account.key:
                raise ApiError(404, "task_not_found", "The task does not exist or has expired.", param="task_id")
            return self._view(task, ticks())

    def balance(self, account: Account) -> tuple[int | float, int | float]:
        """(credits left after reservations, credits spent)."""
        with self._lock:
            self._settle()
            return plain(account.balance), plain(account.used)

    def linked(self, token: str) -> tuple[Task, bool] | None:
        """(task, whether its link still works) for the token of a completed task, else None."""
        with self._lock:
            self._settle()
            task = self._links.get(token)
            if task is None:
                return None
            return task, ticks() < task.born + self._lasts() + self.options.link_life

    def _lasts(self) -> float:
        return self.options.queue + self.options.run

    def _new_task(
        self, account: Account, create: Create, size: tuple[int, int], error: str | None, reserved: Decimal
    ) -> Task:
        top = 99
        if self.options.tags and error is None:
            error, top = _tagged(create.prompt)
        created = int(wall())
        letters = string.ascii_lowercase + string.digits
        task_id = ""
        while not task_id or task_id in self._tasks:
            task_id = f"task-unified-{created}-" + "".join(secrets.choice(letters) for _ in range(8))
        task = Task(
            id=task_id,
            token=secrets.token_hex(16),
            key=account.key,
            created=created,
            born=ticks(),
            duration=create.duration,
            quality=create.quality,
            size=size,
            callback_url=create.callback_url,
            reserved=reserved,
            error=error,
            top=top,
        )
        self._tasks[task_id] = task
        heapq.heappush(self._due, (task.born + self._lasts(), task_id))
        self._lock.notify_all()
        return task

    def _end_tasks(self) -> None:
        with self._lock:
            while not self._closed:
                self._settle()
                self._lock.wait(max(0.0, self._due[0][0] - ticks()) if self._due else None)

    def _settle(self) -> None:
        """End every task whose time has come: charge or refund first, then the callback. Needs the lock."""
        while self._due and self._due[0][0] <= ticks() and not self._closed:
            task = self._tasks[heapq.heappop(self._due)[1]]
            account = self.accounts[task.key]
            task.settled = True
            if task.error is None:
                account.used += task.reserved
                self._links[task.token] = task
                self.ledger.write("settled", account, task_id=task.id, credits_settled=task.reserved)
            else:
                account.balance += task.reserved
                self.ledger.write("refunded", account, task_id=task.id, credits_refunded=task.reserved)
            if task.callback_url is not None:
                self._on_end(task.id, task.callback_url, self._view(task, ticks()))

    def _progress(self, task: Task, age: float) -> int:
        share = min(1.0, max(0.0, (age - self.options.queue) / self.options.run)) if self.options.run else 0.0
        if self.options.jumpy_progress:
            share = JUMPS[min(len(JUMPS) - 1, int(share * len(JUMPS)))]
        return int(task.top * share)

    def _view(self, task: Task, now: float) -> dict[str, Any]:
        """The task as every answer and the callback show it. Nothing of it changes once the task has ended."""
        ended, age = task.settled, now - task.born
        body: dict[str, Any] = {
            "created": task.created,
            "id": task.id,
            "model": MODEL,
            "object": "video.generation.task",
            "progress": self._progress(task, age),
            "status": "pending" if age < self.options.queue else "processing",
            "task_info": {
                "can_cancel": not ended,
                "estimated_time": 0 if ended else math.ceil(self._lasts()),
                "video_duration": task.duration,
            },
            "type": "video",
            "usage": {
                "billing_rule": "per_second",
                "credits_reserved": plain(task.reserved),
                "user_group": "default",
            },
        }
        if ended:
            self._add_end(body, task)
        elif now == task.born:
            body["status"] = "pending"  # the create answer, even with a queue of no seconds
        if self.options.no_cancel_field:
            del body["task_info"]["can_cancel"]
        if self.options.extra_fields:
            body |= EXTRA
            body["task_info"]["x_queue"] = "fast"
            body["usage"]["x_tariff"] = None
        return body

    def _add_end(self, body: dict[str, Any], task: Task) -> None:
        if task.error is not None:
            body |= {"status": "failed", "progress": task.top}
            body["usage"]["credits_used"] = 0
            body["error"] = {"code": task.error, "message": TASK_ERRORS[task.error], "type": "task_error"}
            return
        link = f"{self.base_url}/dl/{task.token}.mp4"
        body |= {"status": "completed", "progress": 100, "results": [link]}
        body["result_data"] = [{"video_url": link, "duration": task.duration}]
        usd = task.reserved * Decimal(str(self.options.usd_per_credit))
        body["usage"]["credits_used"] = plain(task.reserved)
        body["usage"]["cost"] = {"credits": plain(task.reserved), "usd": plain(usd)}


def _tagged(prompt: str) -> tuple[str | None, int]:
    """(task error code or None, progress at which it fails) asked for by a tag in the prompt."""
    found = TAG.search(prompt)
    if found is None:
        return None, 99
    given = dict(pair.split("=", 1) for pair in found[2].split())
    code = "request_cancelled" if found[1] == "cancelled" else given.get("code", "unknown_error")
    at = given.get("at", "50")
    return (code if code in TASK_ERRORS else "unknown_error"), min(99, int(at) if at.isdecimal() else 50)
