"""What the fixtures return: the control protocol's own objects, with typed names. Each is a dict too, as the protocol sends it."""

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

Outcome = Literal["2xx", "status", "timeout", "refused", "dns", "blocked"]
"""How an attempt ended.

`2xx`: delivered. `status`: the receiver responded with another status. `timeout`: no whole response in time. `refused`: no connection,
or it broke. `dns`: the host's name does not resolve. `blocked`: the address rules forbid it.
"""

Status = Literal["pending", "processing", "completed", "failed"]
"""Where a task is."""


T = TypeVar("T")
_NEEDED: Any = object()


class _Member(Generic[T]):
    """A member of the response as an attribute; *doc* says what it is, *make* gives it its type."""

    def __init__(
        self, doc: str, make: Callable[[Any], T] = lambda value: value, *, name: str = "", without: Any = _NEEDED
    ) -> None:
        """*name*: of the member, where the attribute has another. *without*: what stands for one that is not there."""
        self.__doc__ = doc
        self._make, self._name, self._without = make, name, without

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    def __get__(self, response: dict[str, Any] | None, owner: type) -> T:
        if response is None:
            return self  # type: ignore[return-value]  # asked of the class, by tools that show its documentation
        return self._make(response[self._name] if self._without is _NEEDED else response.get(self._name, self._without))


class Attempt(dict[str, Any]):
    """One POST of a callback. Times are Unix seconds of the account's clock."""

    outcome = _Member[Outcome]("How it ended.")
    status = _Member[int | None]("The receiver's status; None where there was no response.")
    number = _Member("Which attempt of its delivery it was, from 1.", int, name="attempt")
    due = _Member("When it was to be sent.", float)
    sent = _Member("When it was sent.", float)
    ended = _Member("When it had ended.", float)
    detail = _Member("What went wrong, in words; empty where nothing did.", str, without="")


class Delivery(dict[str, Any]):
    """One callback owed."""

    id = _Member("Its id, for `resend`.", str)
    task_id = _Member("The task that it reports.", str)
    url = _Member("Where it goes.", str)
    state = _Member[Literal["waiting", "delivered", "gave_up"]]("What has become of it.")
    next_due = _Member[float | None]("When the next attempt falls due; None once it was delivered or given up.")
    attempts = _Member[list[Attempt]]("What was tried, in order.", lambda found: [Attempt(one) for one in found])

    @property
    def outcomes(self) -> list[Outcome]:
        """How each attempt ended, in order."""
        return [attempt.outcome for attempt in self.attempts]


class Link(dict[str, Any]):
    """The link to a video."""

    url = _Member("The link itself.", str)
    expires_at = _Member("When it dies.", float)


class Task(dict[str, Any]):
    """A task as the control protocol shows it: facts and plan."""

    id = _Member("Its id.", str)
    status = _Member[Status]("Where it is.")
    progress = _Member("Percent.", int)
    code = _Member[str | None]("Why it failed.", without=None)
    scenario = _Member("The scenario that it follows.", str)
    reads = _Member("How often it was read.", int)
    callback_url = _Member[str | None]("Where it reports its end.", without=None)
    links = _Member[list[Link]](
        "The links to its video, once it is completed.", lambda found: [Link(one) for one in found]
    )


class Event(dict[str, Any]):
    """Something that happened because time moved."""

    at = _Member("When.", float)
    kind = _Member[Literal["status", "attempt", "retention"]]("What kind of thing.")
    task_id = _Member("To which task.", str)
