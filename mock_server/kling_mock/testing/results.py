"""What the fixtures return: the control protocol's own objects, with typed names. Each is a dict too, as the protocol sends it."""

from typing import Any, Literal

Outcome = Literal["2xx", "status", "timeout", "refused", "dns", "blocked"]
"""How an attempt ended.

`2xx`: delivered. `status`: the receiver responded with another status. `timeout`: no whole response in time. `refused`: no connection,
or it broke. `dns`: the host's name does not resolve. `blocked`: the address rules forbid it.
"""

Status = Literal["pending", "processing", "completed", "failed"]
"""Where a task is."""


class Attempt(dict[str, Any]):
    """One POST of a callback. Times are Unix seconds of the account's clock."""

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        found: Outcome = self["outcome"]
        return found

    @property
    def status(self) -> int | None:
        """The receiver's status; None where there was no response."""
        found: int | None = self["status"]
        return found

    @property
    def number(self) -> int:
        """Which attempt of its delivery it was, from 1."""
        return int(self["attempt"])

    @property
    def due(self) -> float:
        """When it was to be sent."""
        return float(self["due"])

    @property
    def sent(self) -> float:
        """When it was sent."""
        return float(self["sent"])

    @property
    def ended(self) -> float:
        """When it had ended."""
        return float(self["ended"])

    @property
    def detail(self) -> str:
        """What went wrong, in words; empty where nothing did."""
        return str(self.get("detail", ""))


class Delivery(dict[str, Any]):
    """One callback owed."""

    @property
    def id(self) -> str:
        """Its id, for `resend`."""
        return str(self["id"])

    @property
    def task_id(self) -> str:
        """The task that it reports."""
        return str(self["task_id"])

    @property
    def url(self) -> str:
        """Where it goes."""
        return str(self["url"])

    @property
    def state(self) -> Literal["waiting", "delivered", "gave_up"]:
        """What has become of it."""
        found: Literal["waiting", "delivered", "gave_up"] = self["state"]
        return found

    @property
    def next_due(self) -> float | None:
        """When the next attempt falls due; None once it was delivered or given up."""
        found: float | None = self["next_due"]
        return found

    @property
    def attempts(self) -> list[Attempt]:
        """What was tried, in order."""
        return [Attempt(one) for one in self["attempts"]]

    @property
    def outcomes(self) -> list[Outcome]:
        """How each attempt ended, in order."""
        return [attempt.outcome for attempt in self.attempts]


class Link(dict[str, Any]):
    """The link to a video."""

    @property
    def url(self) -> str:
        """The link itself."""
        return str(self["url"])

    @property
    def expires_at(self) -> float:
        """When it dies."""
        return float(self["expires_at"])


class Task(dict[str, Any]):
    """A task as the control protocol shows it: facts and plan."""

    @property
    def id(self) -> str:
        """Its id."""
        return str(self["id"])

    @property
    def status(self) -> Status:
        """Where it is."""
        found: Status = self["status"]
        return found

    @property
    def progress(self) -> int:
        """Percent."""
        return int(self["progress"])

    @property
    def code(self) -> str | None:
        """Why it failed."""
        found: str | None = self.get("code")
        return found

    @property
    def scenario(self) -> str:
        """The scenario that it follows."""
        return str(self["scenario"])

    @property
    def reads(self) -> int:
        """How often it was read."""
        return int(self["reads"])

    @property
    def callback_url(self) -> str | None:
        """Where it reports its end."""
        found: str | None = self.get("callback_url")
        return found

    @property
    def links(self) -> list[Link]:
        """The links to its video, once it is completed."""
        return [Link(one) for one in self["links"]]


class Event(dict[str, Any]):
    """Something that happened because time moved."""

    @property
    def at(self) -> float:
        """When."""
        return float(self["at"])

    @property
    def kind(self) -> Literal["status", "attempt", "retention"]:
        """What kind of thing."""
        found: Literal["status", "attempt", "retention"] = self["kind"]
        return found

    @property
    def task_id(self) -> str:
        """To which task."""
        return str(self["task_id"])
