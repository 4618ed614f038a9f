"""The control protocol of a fake (`openapi/control.yaml`), as the kit speaks it. Nothing of it is recorded as an exchange."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from kling_common.members import member, number_in
from kling_contract.driving.sender import Limits, Sender

ROOT = "/__mock"
FEATURES = ("clock", "scenarios", "relays", "names", "cancel", "credits", "journal", "wait")
"""The parts of the protocol, by the names a fake declares them with."""

_PAGE = 1000
"""Entries of the journal that are asked for at once."""


class ControlFailed(Exception):
    """A control call did not do what it should; the message says which and what it answered."""


class Control:
    """Calls on one account; without a key, on all. token: what a fake asks of callers from off its own machine."""

    def __init__(self, base: str, sender: Sender, *, key: str = "", token: str = "") -> None:
        self._base, self._sender, self._key, self._token = base, sender, key, token

    def of(self, key: str) -> "Control":
        """The same for the account of *key*."""
        return Control(self._base, self._sender, key=key, token=self._token)

    def call(self, method: str, path: str, body: Any = None, *, seconds: float = 60.0) -> Any:
        """The JSON that a control call answers.

        Raises:
            ControlFailed: it did not answer 200 with JSON.
        """
        headers = [("Accept", "application/json")]
        if self._key:
            headers.append(("Authorization", f"Bearer {self._key}"))
        if self._token:
            headers.append(("X-Mock-Token", self._token))
        data = None if body is None else orjson.dumps(body)
        if data is not None:
            headers.append(("Content-Type", "application/json"))
        url = self._base + ROOT + path
        reply = self._sender.send(
            method, url, headers, b"" if method == "POST" and data is None else data, Limits(seconds)
        )
        if reply.status != 200:
            seen = (
                reply.detail if reply.status is None else f"{reply.status} {reply.body[:200].decode(errors='replace')}"
            )
            raise ControlFailed(f"{method} {ROOT}{path}: {seen}")
        try:
            return orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise ControlFailed(f"{method} {ROOT}{path}: not JSON") from error

    def info(self) -> Mapping[str, Any] | None:
        """Name, version and features of the fake; None where there is no control protocol."""
        try:
            found = self.call("GET", "/info", seconds=10.0)
        except ControlFailed:
            return None
        return found if isinstance(member(found, "features"), list) else None

    def reset(self) -> None:
        """Forget everything of the account."""
        self.call("POST", "/reset")

    def now(self) -> float:
        """The account's clock, in Unix seconds."""
        return self._number(self.call("GET", "/clock"), "GET", "/clock")

    def set_clock(self, mode: str, rate: float = 1.0) -> float:
        """Set the account's clock; answers what it shows."""
        body = {"mode": mode, "rate": rate} if mode == "scaled" else {"mode": mode}
        return self._number(self.call("PUT", "/clock", body), "PUT", "/clock")

    def advance(self, seconds: float) -> float:
        """Move a manual clock; answers what it shows when everything on the way has happened."""
        answer = self.call("POST", "/clock/advance", {"seconds": seconds}, seconds=120.0)
        return self._number(answer, "POST", "/clock/advance")

    @staticmethod
    def _number(answer: Any, method: str, path: str) -> float:
        now = number_in(answer, "now")
        if now is None:
            raise ControlFailed(f"{method} {ROOT}{path}: no number in now")
        return now

    def story(self, name: str, times: int = 1, **params: Any) -> None:
        """Queue a scenario for the account's next creates."""
        self.call("POST", "/scenarios/next", {"name": name, "params": params, "times": times})

    def account(self, **values: Any) -> None:
        """Set balance (credits), models or rate_limit."""
        self.call("PUT", "/account", values)

    def relays(self, relays: Mapping[str, str]) -> None:
        """Where callbacks for an origin really go."""
        self.call("PUT", "/relays", dict(relays))

    def names(self, names: Mapping[str, Sequence[str]]) -> None:
        """What host names lead to when a callback is sent."""
        self.call("PUT", "/names", {host: list(addresses) for host, addresses in names.items()})

    def journal(self, since: int = 0) -> list[Any]:
        """Every entry of the journal from *since* on."""
        return [entry for page in self.journal_pages(since) for entry in page["entries"]]

    def journal_pages(self, since: int = 0) -> Iterator[Any]:
        """The journal from *since* on, one answer after another until there is nothing more: each has `entries`, and the `next`
        number."""
        while (page := self.call("GET", f"/journal?since={since}&limit={_PAGE}"))["entries"]:
            yield page
            since = page["next"]

    def cancel(self, task_id: str) -> None:
        """Have the task cancelled."""
        self.call("POST", f"/tasks/{task_id}/cancel")
