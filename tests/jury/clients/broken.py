"""Clients with one real defect each: `python broken.py NAME`."""

import os
import sys
import time
from typing import Any

from base import Client, End, Lost, Response, main


class RepeatsLost(Client):
    """Sends a lost or failed create again after ten seconds, without a key."""

    def on_lost(self, lost: Lost) -> None:
        """Again."""
        time.sleep(10)

    def on_server_error(self, response: Response) -> None:
        """Again."""
        time.sleep(10)


class NoPause(Client):
    """Reads without a pause."""

    def next_wait(self) -> float:
        """None."""
        return 0.0

    first_wait = next_wait


class Hurries(Client):
    """Reads faster as time goes by."""

    def next_wait(self) -> float:
        """Half of the last wait."""
        self.waits += 1
        return self.pause * 4 * 0.5**self.waits


class IgnoresRetryAfterCreate(Client):
    """Sends a limited create again after a second, whatever it was asked."""

    def on_refused(self, response: Response, attempt: int) -> None:
        """A second."""
        if response.status == 429:
            self.sleep(1.0)
        else:
            super().on_refused(response, attempt)


class IgnoresRetryAfterRead(Client):
    """Reads on after a 429 as if nothing were asked."""

    def after_trouble(self, response: Response | None) -> float:
        """Its own back-off."""
        if response is not None and response.status == 429:
            return self.pause * min(8, 1 << self.errors)
        return super().after_trouble(response)


class KnowsNoDates(Client):
    """Understands Retry-After in seconds alone."""

    def asked(self, response: Response) -> float:
        """Seconds or nothing."""
        value = response.headers.get("retry-after", "")
        return float(value) if value.isdigit() else 0.0


class DiesOfLimitedRead(Client):
    """Gives up when a read is limited."""

    def after_trouble(self, response: Response | None) -> float:
        """The end."""
        if response is not None and response.status == 429:
            raise End(7, "rate limited")
        return super().after_trouble(response)


class DiesOfLimitedCreate(Client):
    """Gives up when a create is limited."""

    def on_refused(self, response: Response, attempt: int) -> None:
        """The end."""
        if response.status == 429:
            raise End(7, "rate limited")
        super().on_refused(response, attempt)


class HammersReads(Client):
    """Reads again at once while it is limited."""

    def after_trouble(self, response: Response | None) -> float:
        """At once."""
        if response is not None and response.status == 429:
            return 0.01
        return super().after_trouble(response)


class Bursts(Client):
    """Reads again at once after a 5xx, until it goes well."""

    def after_trouble(self, response: Response | None) -> float:
        """At once."""
        wait = super().after_trouble(response)
        return 0.02 if response is not None and response.status >= 500 else wait


class NoTimeout(Client):
    """Has no time-out for its calls."""

    call_timeout = None


class NoLimit(Client):
    """Waits for ever."""

    takes_limit = False
    own_limit = 1e9


class DropsQuality(Client):
    """Does not pass the quality on."""

    def body(self) -> dict[str, Any]:
        """Without it."""
        body = super().body()
        body.pop("quality", None)
        return body


class LateReceiver(Client):
    """Answers callbacks after eleven seconds."""

    callbacks = True

    def on_callback(self, method: str, path: str, raw: bytes) -> int:
        """Late."""
        time.sleep(11)
        return super().on_callback(method, path, raw)

    def run(self) -> None:
        """It serves its port for a while."""
        super().run()
        time.sleep(13)


class NoKey(Client):
    """Sends no key."""

    def headers(self) -> dict[str, str]:
        """Without it."""
        headers = super().headers()
        del headers["Authorization"]
        return headers


class OtherScheme(Client):
    """Sends its key as a token."""

    def headers(self) -> dict[str, str]:
        """Token."""
        return {**super().headers(), "Authorization": f"Token {self.key}"}


class CountsErrors(Client):
    """Gives up at the third error of a job, whatever came between."""

    total = 0

    def after_trouble(self, response: Response | None) -> float:
        """Count."""
        self.total += 1
        if self.total >= 3:
            raise End(7, "too many errors")
        return super().after_trouble(response)


class SavesPages(Client):
    """Saves whatever the link serves."""

    def keep(self, content: bytes) -> None:
        """As it is."""
        self.out.write_bytes(content)


class ActsTwice(Client):
    """Downloads for each callback, and for the read."""

    callbacks = True

    def on_callback(self, method: str, path: str, raw: bytes) -> int:
        """Download at once."""
        status = super().on_callback(method, path, raw)
        told = self.heard.get(self.task)
        if status == 200 and told and told.get("status") == "completed":
            self.fetch(told["results"][0])
        return status

    def run(self) -> None:
        """It serves its port for a while."""
        super().run()
        time.sleep(2)


class PrintsKey(Client):
    """Prints its key."""

    def run(self) -> None:
        """Say it."""
        print("key", self.key)
        super().run()


class DiesOf5xx(Client):
    """Gives up at the first 5xx of a read."""

    def after_trouble(self, response: Response | None) -> float:
        """The end."""
        if response is not None and response.status >= 500:
            raise End(7, "the service failed")
        return super().after_trouble(response)


class CreatesAgain(Client):
    """Creates anew when the task has failed."""

    def wait(self) -> dict[str, Any]:
        """Once more."""
        task = super().wait()
        if task["status"] == "failed":
            self.task = self.create()
            task = super().wait()
        return task


class KeepsSlash(Client):
    """Puts its paths behind the slash of the base URL."""

    def __init__(self) -> None:
        super().__init__()
        self.base = os.environ["KLING_BASE_URL"]


CLIENTS = {
    "repeats-lost": RepeatsLost, "no-pause": NoPause, "hurries": Hurries, "ignores-retry-after-create": IgnoresRetryAfterCreate,
    "ignores-retry-after-read": IgnoresRetryAfterRead, "knows-no-dates": KnowsNoDates, "dies-of-limited-read": DiesOfLimitedRead,
    "dies-of-limited-create": DiesOfLimitedCreate, "hammers-reads": HammersReads, "bursts": Bursts, "no-timeout": NoTimeout,
    "no-limit": NoLimit, "drops-quality": DropsQuality, "late-receiver": LateReceiver, "no-key": NoKey,
    "other-scheme": OtherScheme, "counts-errors": CountsErrors, "saves-pages": SavesPages, "acts-twice": ActsTwice,
    "prints-key": PrintsKey, "dies-of-5xx": DiesOf5xx, "creates-again": CreatesAgain, "keeps-slash": KeepsSlash,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(CLIENTS[sys.argv[1]]))
