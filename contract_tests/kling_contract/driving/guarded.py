"""The only sender that may send a create to a service that bills: every request passes the guard, every answer is read by it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kling_common.bodies import json_or_none
from kling_common.masking import Mask, header
from kling_common.members import member
from kling_contract.driving.guard import SAFE, Charge, Guard, Stopped, Withheld
from kling_contract.driving.sender import About, Headers, Limits, RawResponse, Sender
from kling_contract.history.events import wall
from kling_contract.reading.contract import Contract
from kling_contract.reading.ledger import balance_of, reserved_by
from kling_contract.reading.retry_after import wait_until


def wait(seconds: float) -> None:
    """Wait in real time."""
    threading.Event().wait(seconds)


class GuardedSender(Sender):
    """A sender past the guard.

    keys: what a request must carry to cost anything; None where any request may. spending: whether a request that may make a
    task is sent with a key at all; where it is False no answer of the service can cost a cent. patient: whether a pause that
    the service asks for is kept here; a proxy leaves that to its client.
    """

    def __init__(
        self,
        sender: Sender,
        guard: Guard,
        contract: Contract,
        *,
        keys: Iterable[str] | None = None,
        spending: bool = True,
        patient: bool = True,
        wait: Callable[[float], None] = wait,
    ) -> None:
        super().__init__()
        self._sender, self.guard, self._contract = sender, guard, contract
        self._spellings = None if keys is None else tuple({text for key in keys if key for text in Mask.spellings(key)})
        self._spending, self._patient, self._pause = spending, patient, wait
        self._reserved = contract.named("createVideo")

    def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        limits: Limits = Limits(),  # noqa: B008 - a value
        about: About = About(),  # noqa: B008 - a value
    ) -> RawResponse:
        """One request and what became of it.

        Raises:
            Stopped: the run is over. Withheld: this request may not be sent; nothing was.
        """
        if self._patient and self.guard.pause > 0:
            self._pause(self.guard.pause)
        if self.guard.silent:
            raise Stopped(self.guard.stopped)
        costs = self._may_cost(method, url, headers, body)
        charge = self._pass(method, url, body, about) if costs else Charge()
        refused = self.guard.refused
        reply = self._sender.send(method, url, headers, body, limits)
        if costs:
            self._learn_cost(method, reply, charge, about)
        elif _fine(reply):
            self._learn(method, url, json_or_none(reply.body), refused)
        if reply.status == 429 and self._patient:
            self.guard.slow_down(pause_of(reply))
        return reply

    def _pass(self, method: str, url: str, body: bytes | None, about: About) -> Charge:
        if not self._spending:
            raise Withheld(
                f"{method} {urlsplit(url).path} with the account's key could make a task; this mode never sends one"
            )
        return self.guard.before(method, json_or_none(body or b""), about.name)

    def _may_cost(self, method: str, url: str, headers: Headers, body: bytes | None) -> bool:
        """Whether a careless service could make a task of this: an unsafe method, a key, and no call known to be free."""
        if method.upper() in SAFE:
            return False
        operation = self._contract.operation(method, urlsplit(url).path)
        if operation is not None and operation.id != self._reserved.id and self._spellings is None:
            return False
        if self._spellings is None:
            return True
        text = "\n".join([url, *(value for _, value in headers), (body or b"").decode("latin-1")])
        return any(spelling in text for spelling in self._spellings)

    def _learn_cost(self, method: str, reply: RawResponse, charge: Charge, about: About) -> None:
        """Tell the guard what became of a request that may cost."""
        answer = json_or_none(reply.body)
        task = member(answer, "id") if _fine(reply) else None
        self.guard.after(
            method, charge, reply.status, name=about.name, task_id=task if isinstance(task, str) else "", planned=about.planned
        )  # fmt: skip
        reserved = reserved_by(answer)
        if _fine(reply) and reserved is not None:
            self.guard.charged(reserved)

    def _learn(self, method: str, url: str, answer: Any, refused: int) -> None:
        """Tell the guard what an answer says of tasks and of the balance; *refused* as `Guard.balance` takes it."""
        for task in tasks_in(answer):
            if task.get("status") in self._contract.terminal:
                self.guard.ended(str(task.get("id")))
        if method == "GET" and urlsplit(url).path.endswith(self._contract.named("getCredits").template):
            left = balance_of(answer)
            if left is not None:
                self.guard.balance(left, refused)


def _fine(reply: RawResponse) -> bool:
    return reply.status is not None and 200 <= reply.status < 300


def tasks_in(answer: Any) -> list[Mapping[str, Any]]:
    """The tasks that an answer shows: itself, or the rows in its data."""
    rows = member(answer, "data")
    return [row for row in (rows if isinstance(rows, list) else [answer]) if isinstance(member(row, "id"), str)]


def pause_of(reply: RawResponse) -> float | None:
    """Seconds that a Retry-After asks for, as a number or as a date; None where it says nothing that can be read."""
    now = wall().at
    until = wait_until(header(reply.headers, "retry-after"), now)
    return None if until is None else max(until - now, 0.0)
