"""Servers that are right but unusual: `right.py NAME`."""

import secrets
import sys
from typing import Any

from accounts import Account, Json, Task
from base import Answer, Api
from checks import MODEL, Refused
from wire import Handler, serve


class Shuffled(Api):
    """Members in another order, many more of them, and another spelling of every header."""

    def show(self, account: Account, task: Task) -> Json:
        """Backwards, with members that nobody documents."""
        shown = super().show(account, task)
        more = {"region": "eu", "trace": {"spans": [secrets.token_hex(4)]}, "queue": None}
        return dict(
            reversed(
                {**shown, **({} if task.settled else {"queue": 3}), "meta": more if not task.settled else {}}.items()
            )
        )

    def refusal(self, error: Refused) -> Answer:
        """With help."""
        found = super().refusal(error)
        found.body = {"success": False, "error": {**found.body["error"], "help": "https://docs.example.com"}, "time": 1}
        return found


class ShoutingHandler(Handler):
    """Header names in capitals, JSON with spaces and newlines and a charset."""

    def send_header(self, keyword: str, value: str) -> None:
        """In capitals."""
        super().send_header(keyword.upper(), f"{value}; charset=utf-8" if value == "application/json" else value)

    def dump(self, body: Any) -> bytes:
        """Indented, in ASCII."""
        import json

        return b"\n" + json.dumps(body, indent=4).encode() + b"\n"


class ChunkedHandler(Handler):
    """Bodies in chunks of a few bytes."""

    def respond(self, answer: Answer) -> None:
        """Chunked."""
        data = answer.body if isinstance(answer.body, bytes) else self.dump(answer.body)
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": "application/json",
            **answer.headers,
            "Transfer-Encoding": "chunked",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        size = max(7, len(data) // 8)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")


class ClosingHandler(Handler):
    """HTTP/1.0: no length, and the end of the connection is the end of the body."""

    protocol_version = "HTTP/1.0"

    def respond(self, answer: Answer) -> None:
        """Until it closes."""
        data = answer.body if isinstance(answer.body, bytes) else self.dump(answer.body)
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True


class Forbidding(Api):
    """403 for another account's task, 410 for a dead link, other words, and every callback URL with a user name refused."""

    def find(self, account: Account, task_id: str) -> Task:
        """403 where somebody else has it."""
        others = (other for other in list(self.accounts.values()) if other is not account and task_id in other.tasks)
        if next(others, None) is not None:
            raise Refused(403, "permission_denied", "Nope.")
        return super().find(account, task_id)

    def check_callback(self, url: Any) -> None:
        """No user names."""
        super().check_callback(url)
        if "@" in url.split("/")[2]:
            raise Refused(400, "invalid_request", "no user names", "callback_url")

    def download(self, method: str, path: str, query: str, headers: Any) -> Answer:
        """410 when it is gone."""
        found = super().download(method, path, query, headers)
        return Answer(410, {"gone": True}) if found.body == {"error": "gone"} else found


class Jumping(Api):
    """Progress in two jumps, a short life, ids of digits alone, and 100 only at the end."""

    queued, runs = 0.5, 3.0
    alphabet = "0123456789"

    def progress(self, share: float) -> int:
        """Two jumps."""
        return 3 if share < 0.7 else 91


class Legacy(Api):
    """The older error codes, no can_cancel, whole credits, and 404 for an unknown model."""

    prices = {"720p": 8, "1080p": 13}
    kinds = {
        400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota_error", 403: "permission_error",
        404: "not_found_error", 413: "request_too_large_error", 429: "rate_limit_error",
    }  # fmt: skip

    def refusal(self, error: Refused) -> Answer:
        """The status as the code."""
        found = super().refusal(error)
        found.body["error"] |= {"code": error.status, "type": self.kinds.get(error.status, "invalid_request_error")}
        return found

    def show(self, account: Account, task: Task) -> Json:
        """Newer pages drop can_cancel."""
        shown = super().show(account, task)
        del shown["task_info"]["can_cancel"]
        return shown

    def check(self, asked: Json) -> tuple[int, int]:
        """404 for a model that there is not."""
        if isinstance(asked.get("model"), str) and asked["model"] != MODEL:
            raise Refused(404, "not_found", f"try {MODEL}", "model")
        return super().check(asked)


class Minimal(Api):
    """A minimum of 60 credits, fresh links at every look, unknown members refused, and no more than there must be."""

    known = frozenset({"model", "image_start", "prompt", "quality", "duration", "callback_url"})

    def price(self, asked: Json) -> float:
        """At least 60."""
        return max(60.0, super().price(asked))

    def check(self, asked: Json) -> tuple[int, int]:
        """Nothing that is not documented."""
        size = super().check(asked)
        for name in asked:
            if name not in self.known:
                raise Refused(400, "invalid_request", "what is that?", name)
        return size

    def link(self, account: Account, task: Task) -> str:
        """Signed anew for each reader, with a nonce."""
        plain = super().link(account, task)
        return f"{plain}&nonce={secrets.token_hex(4)}"

    def opens(self, token: str, query: str) -> bool:
        """The nonce says nothing."""
        return super().opens(token, query.partition("&nonce=")[0])


class Slow(Api):
    """A fifth of a second for everything, image checks after the create, and whole numbers written with a point."""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """Later."""
        import time

        if not target.startswith("/__mock"):
            time.sleep(0.02)
        return super().answer(method, target, headers, body)

    def price(self, asked: Json) -> float:
        """As a float."""
        return float(super().price(asked))

    def check_image(self, url: Any) -> tuple[int, int]:
        """An image that cannot be used fails the task."""
        try:
            return super().check_image(url)
        except Refused:
            if not (isinstance(url, str) and url.startswith("https://image.test/")):
                raise
            return 0, 0

    def make(self, account: Account, asked: Json, price: float, size: tuple[int, int], key: str) -> Json:
        """A task without a frame fails."""
        if size == (0, 0):
            account.stories.insert(0, "failed")
        return super().make(account, asked, price, size, key)

    def show(self, account: Account, task: Task) -> Json:
        """With the reason."""
        shown = super().show(account, task)
        if task.size == (0, 0) and "error" in shown and not task.cancelled:
            shown["error"]["code"] = "image_processing_error"
        return shown


RIGHT: dict[str, tuple[type[Api], type[Handler]]] = {
    "plain": (Api, Handler), "shuffled": (Shuffled, ShoutingHandler), "chunked": (Api, ChunkedHandler), "closing": (Api, ClosingHandler),
    "forbidding": (Forbidding, Handler), "jumping": (Jumping, Handler), "legacy": (Legacy, Handler), "minimal": (Minimal, Handler),
    "slow": (Slow, Handler),
}  # fmt: skip

if __name__ == "__main__":
    api, handler = RIGHT[sys.argv[1]]
    serve(api(), handler)
