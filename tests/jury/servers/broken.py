"""Servers with one real defect each: `broken.py NAME`."""

import sys
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from accounts import Account, Json, Task
from base import Answer, Api
from checks import Refused
from wire import serve


class EmptyCredentials(Api):
    """An empty Authorization is nobody's, and nobody is let in."""

    def who(self, headers: Any) -> Account:
        """`Bearer` alone is enough."""
        if (headers.get("Authorization") or "x").strip() in ("", "Bearer"):
            return self.account("sk-nobody")
        return super().who(headers)


class NoPoint(Api):
    """5.0 is no integer here."""

    def check_duration(self, asked: Json) -> None:
        """An int, in Python's sense."""
        if isinstance(asked.get("duration"), float):
            raise Refused(400, "invalid_request", "duration must be an integer", "duration")
        super().check_duration(asked)


class BeforeAt(Api):
    """The host is what stands first."""

    def inside(self, host: str, url: str) -> bool:
        """By the text between // and the first of : / @."""
        text = url.split("//", 1)[1]
        return super().inside(
            text.split("/")[0].split("@")[0].split(":")[0] if "@" in text.split("/")[0] else host, url
        )


class LooksInside(Api):
    """Whatever contains an internal address is internal."""

    def inside(self, host: str, url: str) -> bool:
        """Anywhere in the URL."""
        return super().inside(host, url) or any(
            each in url for each in ("127.0.0.1", "10.0.0.", "192.168.", "localhost")
        )


class NoAddressCheck(Api):
    """Only dotted private addresses are known."""

    def inside(self, host: str, url: str) -> bool:
        """By prefix."""
        return host.startswith(("127.", "10.", "192.168.")) or host == "localhost"


class OtherLink(Api):
    """The callback's link is of another file."""

    def attempt(self, account: Account, task: Task, number: int) -> None:
        """A task that is like it, with another video."""
        twin = Task(
            task.id,
            task.created,
            {**task.asked, "duration": 15},
            task.price,
            task.fails,
            task.cancelled,
            task.size,
            settled=True,
        )
        super().attempt(account, twin, number)


class OpenLinks(Api):
    """Signatures are made, and not looked at."""

    def opens(self, token: str, query: str) -> bool:
        """Always."""
        return True


class OldestFirst(Api):
    """Lists as they were made."""

    def list(self, account: Account, asked: dict[str, str]) -> Answer:
        """Turned around."""
        found = super().list(account, {**asked, "page": "1", "page_size": "1000"})
        page, size = int(asked.get("page", 1)), int(asked.get("page_size", 20))
        rows = found.body["data"][::-1][(page - 1) * size : page * size]
        found.body |= {"data": rows, "page": page, "page_size": size}
        return found


class NoFilter(Api):
    """The filter by status is not known."""

    def list(self, account: Account, asked: dict[str, str]) -> Answer:
        """All of them."""
        return super().list(account, {name: value for name, value in asked.items() if name != "status"})


class PagesFromZero(Api):
    """Page 1 is the second one."""

    def list(self, account: Account, asked: dict[str, str]) -> Answer:
        """One further."""
        found = super().list(account, {**asked, "page": str(int(asked["page"]) + 1)} if "page" in asked else asked)
        return Answer(200, {**found.body, "page": int(asked.get("page", 1))})


class EndlessBatch(Api):
    """A batch of any size."""

    def batch(self, account: Account, asked: Json) -> Answer:
        """As many as one likes."""
        return super().batch(account, {**asked, "task_ids": list(asked.get("task_ids") or ())[:50]})


class TellingRefusal(Api):
    """Who asks for another's task hears how far it is."""

    def find(self, account: Account, task_id: str) -> Task:
        """403 with its status."""
        for other in list(self.accounts.values()):
            if other is not account and task_id in other.tasks:
                state, _ = self.status(other.tasks[task_id], other.now())
                raise Refused(403, "permission_denied", f"not yours, and {state}")
        return super().find(account, task_id)


class SharedKeys(Api):
    """One table of idempotency keys for everybody."""

    shared: dict[str, tuple[str, Json]] = {}

    def create(self, account: Account, headers: Any, body: bytes) -> Answer:
        """Another account's task."""
        key = headers.get("Idempotency-Key") or ""
        for other in list(self.accounts.values()):
            if other is not account and key in other.keys:
                return super().create(other, headers, body)
        return super().create(account, headers, body)


class DearWhenLong(Api):
    """More for each second of a long video."""

    def price(self, asked: Json) -> float:
        """Half as much again from ten seconds on."""
        return round(super().price(asked) * (1.5 if asked.get("duration", 5) >= 10 else 1), 2)


class FlatPrice(Api):
    """One price, whatever the length."""

    def price(self, asked: Json) -> float:
        """72 credits."""
        return 72.0


class ByTheCall(Api):
    """Says that it bills by the call."""

    def show(self, account: Account, task: Task) -> Json:
        """Another rule."""
        shown = super().show(account, task)
        shown["usage"]["billing_rule"] = "per_call"
        return shown


class FollowsRedirects(Api):
    """A redirect of a receiver is followed."""

    def deliver(self, account: Account, url: str, body: bytes) -> bool:
        """And what comes there counts."""
        parts = urlsplit(url)
        place = account.relays.get(f"https://{parts.netloc}")
        if place is None:
            return super().deliver(account, url, body)
        wire = HTTPConnection(urlsplit(place).netloc, timeout=10)
        try:
            wire.request("POST", parts.path, body, {"Host": parts.netloc, "Content-Type": "application/json"})
            answer = wire.getresponse()
            where = answer.getheader("Location")
            if 300 <= answer.status < 400 and where:
                return super().deliver(account, where, body)
            return 200 <= answer.status < 300
        except Exception:
            return False
        finally:
            wire.close()


class LateRetries(Api):
    """Retries come half a second late."""

    def attempt(self, account: Account, task: Task, number: int) -> None:
        """Half a second after they are due."""
        if number:
            account.plan(account.now() + 0.5, lambda: super(LateRetries, self).attempt(account, task, number))
        else:
            super().attempt(account, task, number)


class ThirtySeconds(Api):
    """Receivers have half a minute."""

    def patience(self) -> float:
        """30 s."""
        return 30.0


class FiveSeconds(Api):
    """Receivers have five seconds."""

    def patience(self) -> float:
        """5 s."""
        return 5.0


class Overspends(Api):
    """Looks at the balance, thinks, and then takes."""

    def create(self, account: Account, headers: Any, body: bytes) -> Answer:
        """Without the account's lock in between."""
        import time

        asked = self.parse(body)
        if asked.get("prompt") != "burst" or account.credits < self.price(asked):
            return super().create(account, headers, body)
        account.lock.release()
        time.sleep(0.1)
        account.lock.acquire()
        account.credits += self.price(asked)
        found = super().create(account, headers, body)
        account.credits -= self.price(asked)
        return found


class LateReplays(Api):
    """A key counts once the create has been answered."""

    def create(self, account: Account, headers: Any, body: bytes) -> Answer:
        """Creates at once are made one by one."""
        import time

        key = headers.get("Idempotency-Key") or ""
        if key and key not in account.keys:
            account.lock.release()
            time.sleep(0.1)
            account.lock.acquire()
            account.keys.pop(key, None)
        return super().create(account, headers, body)


class CreatedLater(Api):
    """created is a second after what the id says."""

    def show(self, account: Account, task: Task) -> Json:
        """One more."""
        shown = super().show(account, task)
        return {**shown, "created": shown["created"] + 1}


class CutKeys(Api):
    """Keys are kept by their first sixteen characters."""

    def create(self, account: Account, headers: Any, body: bytes) -> Answer:
        """Two keys that begin alike are one."""
        return super().create(account, {"Idempotency-Key": (headers.get("Idempotency-Key") or "")[:16]}, body)


class OnlySome(Api):
    """Durations of 3, 5, 10 and 15 seconds."""

    def check_duration(self, asked: Json) -> None:
        """No others."""
        if asked.get("duration", 5) not in (3, 5, 10, 15):
            raise Refused(400, "invalid_request", "duration: 3, 5, 10 or 15", "duration")
        super().check_duration(asked)


class TellsStates(Api):
    """Another account's task is forbidden while it runs, and unknown when it is over."""

    def find(self, account: Account, task_id: str) -> Task:
        """403, and then 404."""
        for other in list(self.accounts.values()):
            if other is not account and task_id in other.tasks and not other.tasks[task_id].settled:
                raise Refused(403, "permission_denied", "not yours")
        return super().find(account, task_id)


class HiddenFee(Api):
    """1080p costs nine credits more than it says."""

    def make(self, account: Account, asked: Json, price: float, size: tuple[int, int], key: str) -> Json:
        """They are taken beside the reservation."""
        account.credits -= 9 if asked.get("quality") == "1080p" else 0
        return super().make(account, asked, price, size, key)


class UnpaidTasks(Api):
    """A create without the means is refused, and made."""

    def create(self, account: Account, headers: Any, body: bytes) -> Answer:
        """402, and a task in the list."""
        try:
            return super().create(account, headers, body)
        except Refused as error:
            if error.status == 402:
                self.make(account, self.parse(body), 0.0, (1280, 720), "")
            raise


BROKEN: dict[str, type[Api]] = {
    "empty-credentials": EmptyCredentials, "no-point": NoPoint, "before-at": BeforeAt, "looks-inside": LooksInside,
    "no-address-check": NoAddressCheck, "other-link": OtherLink, "open-links": OpenLinks, "oldest-first": OldestFirst,
    "no-filter": NoFilter, "pages-from-zero": PagesFromZero, "endless-batch": EndlessBatch, "telling-refusal": TellingRefusal,
    "shared-keys": SharedKeys, "dear-when-long": DearWhenLong, "flat-price": FlatPrice, "by-the-call": ByTheCall,
    "follows-redirects": FollowsRedirects, "late-retries": LateRetries, "thirty-seconds": ThirtySeconds, "five-seconds": FiveSeconds,
    "overspends": Overspends, "late-replays": LateReplays, "created-later": CreatedLater,
    "cut-keys": CutKeys, "only-some": OnlySome, "tells-states": TellsStates, "hidden-fee": HiddenFee, "unpaid-tasks": UnpaidTasks,
}  # fmt: skip

if __name__ == "__main__":
    serve(BROKEN[sys.argv[1]]())
