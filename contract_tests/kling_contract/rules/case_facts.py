"""What the lab writes down about a case before anything happens, as a typed object: its story, and what the client was given."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Literal["completed", "failed", "refused", "gave_up", "unknown"]
"""What a client says of its request, in KLING_RESULT or over JSON lines."""
Need = Literal["webhook", "base-url", "aspect-ratio"]
"""What a client must be able to do for a story."""
Flow = Literal["once", "twice", "many", "killed", "again"]
"""How many processes a story has, and how they follow each other; see `lab.stories.Story`."""
Base = Literal["fake", "slash", "version", "plain-http", "untrusted"]
"""Where a client is led."""
SPELT = ("slash", "version")
"""Bases that are the service's own, written otherwise; a path that a client makes of them may be none of the service's."""
Forgery = Literal["unknown-id", "huge", "not-json", "get", "early"]
"""A callback that the kit sends itself, `early`: that the task is completed, while it still runs."""


class Right(BaseModel):
    """What is right at the end of a story.

    completes: whether the client ends with its video; None where both are right. says: the words that fit, where the client
    says one. creates: the most creates that may be accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    completes: bool | None = True
    says: tuple[Word, ...] = ()
    creates: int = Field(1, ge=0)


class CaseFacts(BaseModel):
    """One case of the lab. Members are those of the note in the history; older histories may lack some.

    request: what the client is asked for besides the image; offered: the members of it that the client takes for certain.
    api, links: the origins of the service and of its result links;
    other_host: an origin that is not the service's. deadline, min_poll: seconds that the client was given; grace: seconds
    more that it may need; limit: seconds after which the lab ends it by force. held_to: the pause
    that a client keeps which does not take min_poll; None where the user gave min_poll.
    bounded: whether it is certain that the client takes the deadline. repeats: the case that this one repeats.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)
    story: str = ""
    summary: str = ""
    rules: tuple[str, ...] = ()
    scenario: str = ""
    params: dict[str, Any] = {}
    right: Right = Right()
    request: dict[str, Any] = {}
    needs: tuple[Need, ...] = ()
    flow: Flow = "once"
    jobs: int = 1
    forge: tuple[Forgery, ...] = ()
    base: Base = "fake"
    base_url: str = ""
    api: str = ""
    links: str = ""
    other_host: str = Field("", alias="elsewhere")
    callback_url: str = ""
    deadline: float | None = None
    grace: float = 0.0
    limit: float | None = None
    min_poll: float | None = None
    held_to: float | None = None
    bounded: bool = True
    offered: tuple[str, ...] = ()
    repeats: str = ""

    def data(self) -> dict[str, Any]:
        """Return the note's members."""
        return self.model_dump(mode="json", by_alias=True)


def facts_of(data: Mapping[str, Any]) -> CaseFacts:
    """Return the facts in a case's note."""
    return CaseFacts.model_validate(dict(data))
