"""A stand-in that differs from the public page in ten ways, each by itself or all at once."""

from typing import Any

from standins.ledger import Tariff
from standins.service import Behaviour, Service

PLANTS = (
    "no can_cancel", "a member more", "404 for a malformed id", "aspect_ratio is taken", "another price", "no param", "no request id",
    "another billing rule", "progress 99 at the end", "another code for an unknown id",
)  # fmt: skip


class Planted(Service):
    """Differs as its plants say."""

    def __init__(self, plants: tuple[str, ...] = PLANTS, **more: Any) -> None:
        price = Tariff({"720p": 10.0, "1080p": 16.0}, at_least=0.0) if "another price" in plants else Tariff()
        taken = "aspect_ratio" if "aspect_ratio is taken" in plants else "right"
        super().__init__(Behaviour(accepts=taken, tariff=price, work=0.5), **more)
        self.plants = frozenset(plants)

    def bend(self, status: int, body: Any, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        """Answer otherwise than the page says."""
        if "no request id" in self.plants:
            headers = {**headers, "x-request-id": ""}
        if "error" in body and status >= 400:
            return self._refusal(status, body, headers)
        if "task_info" in body:
            self._task(body)
        return status, body, headers

    def _task(self, body: dict[str, Any]) -> None:
        if "no can_cancel" in self.plants:
            del body["task_info"]["can_cancel"]
        if "a member more" in self.plants:
            body["queue"] = {"name": "fast"}
        if "another billing rule" in self.plants:
            body["usage"]["billing_rule"] = "per_call"
        if "progress 99 at the end" in self.plants and body["status"] == "completed":
            body["progress"] = 99

    def _refusal(self, status: int, body: Any, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        error = body["error"]
        if "404 for a malformed id" in self.plants and error["code"] == "invalid_task_id":
            status = 404
        elif "another code for an unknown id" in self.plants and error["code"] == "task_not_found":
            error["code"] = "no_such_task"
        if "no param" in self.plants and error["code"] == "invalid_request":
            error.pop("param", None)
        return status, body, headers


def _of_task(body: dict[str, Any]) -> dict[str, Any]:
    """What each plant of `Odd` makes of a task, as pointers and values; `...` takes a member away."""
    return {
        "created as a text": {"created": str(body["created"])},
        "credits as a text": {"usage.credits_reserved": str(body["usage"]["credits_reserved"])},
        "no estimate": {"task_info.estimated_time": None},
        "no billing rule": {"usage.billing_rule": ...},
        "another object": {"object": "task"},
        "warnings": {"warnings": []},
    }


ODD = (
    "created as a text", "credits as a text", "no estimate", "no billing rule", "another object", "warnings", "403 for a wrong key",
    "errors without a message", "404 for a wrong method", "rows without a type",
)  # fmt: skip


class Odd(Service):
    """Differs from the public page in ten other ways."""

    def __init__(self) -> None:
        super().__init__(Behaviour(work=0.5))

    def bend(self, status: int, body: Any, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        """Answer otherwise than the page says."""
        if "task_info" in body:
            for changes in _of_task(body).values():
                for name, value in changes.items():
                    holder, _, last = name.rpartition(".")
                    _put(body[holder] if holder else body, last, value)
        for row in body.get("data") or () if "total" in body else ():
            row.pop("type")
        if status == 404:
            body["error"].pop("message")
        return {401: 403, 405: 404}.get(status, status), body, headers


def _put(holder: dict[str, Any], name: str, value: Any) -> None:
    if value is ...:
        holder.pop(name, None)
    else:
        holder[name] = value
