"""The client's receiver."""

import contextlib
from typing import Any

from kling_contract.mutants.client.calls import Calls, parsed
from kling_contract.mutants.client.world import Lost, TooLong


class Hearing(Calls):
    """What arrives at the callback URL."""

    def heard(self, method: str, body: bytes) -> int:
        """Take a callback; return the status to give. A callback is a hint to read the task, and nothing more."""
        if method != "POST":
            return 200 if self.does("takes-any-method") else 405
        if len(body) > self.setup.limits["callback_bytes"] and not self.does("breaks-on-rubbish"):
            return 200 if self.does("takes-any-length") else 413
        told = parsed(body)
        if not isinstance(told, dict) or not isinstance(told.get("id"), str):
            return 500 if self.does("breaks-on-rubbish") else 400
        return self._take(told)

    def _take(self, told: dict[str, Any]) -> int:
        early, strange = not self.task_id, bool(self.task_id) and told["id"] != self.task_id
        if early and self.does("forgets-early-callbacks"):
            return 404
        unknown = told["id"] != self.task_id  # also while the create's own reply is on its way
        if (unknown and self.does("breaks-on-unknown-ids")) or self.does("answers-500"):
            return 500
        self.heard_of[told["id"]] = told
        if not strange:
            self._again.append(told)
            self.news.set()
        self._misuse(told)
        return 200

    def _misuse(self, told: dict[str, Any]) -> None:
        """What only broken clients do before they answer."""
        if self.does("fetches-what-callbacks-name"):
            for link in told.get("results") or ():
                with contextlib.suppress(Lost, TooLong):
                    self.world.send("GET", link, {"User-Agent": self._agent()}, None, 1.0, 1 << 20)
        if self.does("works-before-it-answers"):
            self.over.wait(self.setup.deadline)
        if self.does("loses-what-it-confirms"):
            with contextlib.suppress(Lost):
                if self.call("GET", self.setup.limits["read"] + told["id"]).status == 200:
                    self._confirmed.set()
