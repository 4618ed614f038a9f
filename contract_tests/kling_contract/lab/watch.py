"""The fake's journal, followed while clients run: who has called, and when they read their tasks.

One reader for all cases, since each question to the fake is paid for with time that the clients need.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any, Self

from kling_contract.driving.control import Control, ControlFailed

_TICK = 0.1
_MOST = 1000
"""Entries of one answer."""

Entry = Mapping[str, Any]


def _nothing() -> None:
    """No listener."""


class Seen:
    """What the fake has seen of one account so far: its calls of the API, in order. `called` is called at the first."""

    def __init__(self) -> None:
        self.calls: list[Entry] = []
        self.called: Callable[[], None] = _nothing
        self.account = ""

    def take(self, entry: Entry) -> None:
        """Note a call."""
        self.calls.append(entry)
        if len(self.calls) == 1:
            self.called()

    @property
    def first(self) -> float | None:
        """When the first call came, in Unix seconds; None before that."""
        return float(self.calls[0]["at"]) if self.calls else None

    def posted(self, path: str) -> list[Entry]:
        """The calls that post to *path*."""
        posts = (call for call in self.calls if call["request"]["method"] == "POST")
        return [call for call in posts if call["request"]["url"].partition("?")[0] == path]

    @property
    def reads(self) -> list[Entry]:
        """The calls that only look."""
        return [call for call in self.calls if call["request"]["method"] == "GET"]

    @property
    def pause(self) -> float | None:
        """Seconds between the first read that went well and the next; None before there are two."""
        for read, following in pairwise(self.reads):
            if (read["response"] or {}).get("status") == 200:
                return float(following["at"]) - float(read["at"])
        return None


class Watch:
    """`with Watch(control) as watch`: follows the journal of a fake until the block ends, or the fake is gone.

    since: the first entry that is looked at.
    """

    def __init__(self, control: Control, since: int = 0) -> None:
        self._control = control
        self._accounts: dict[str, Seen] = {}
        self._since = since
        self.strays: list[Entry] = []
        """Calls that carry no followed account's key."""
        self._news = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def follow(self, key: str, seen: Seen) -> None:
        """Note the calls of *key*."""
        (account,) = self._control.of(key).call("GET", "/accounts")["accounts"]
        with self._news:
            seen.account = str(account["account"])
            self._accounts[seen.account] = seen

    def until(self, found: Callable[[], bool], seconds: float) -> bool:
        """Wait until *found*, which is asked whenever there is news, is so; whether it is, within *seconds*."""
        with self._news:
            return self._news.wait_for(lambda: found() or self._over.is_set(), seconds) and found()

    def _follow(self) -> None:
        with suppress(ControlFailed):
            while not self._over.wait(_TICK):
                self._read()
        self._over.set()
        with self._news:
            self._news.notify_all()

    def _read(self) -> None:
        """Take in what is new."""
        answer = self._control.call("GET", f"/journal?since={self._since}&limit={_MOST}")
        self._since = answer["next"]
        with self._news:
            for entry in answer["entries"]:
                seen = self._accounts.get(str(entry["account"]))
                if entry["kind"] != "exchange":
                    continue
                if seen is not None:
                    seen.take(entry)
                else:
                    self.strays.append(entry)
            self._news.notify_all()
