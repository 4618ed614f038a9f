"""How a server behaves in one drawn story: a short list of events, everything else being as it should.

An empty list is the plainest service: the create is accepted, the first read shows the end, the link serves the video. Any
part of a list is again a behaviour that the contract allows, so that a failure can be made small by leaving events out.
"""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kling_contract.rules.case_facts import Right
from kling_contract.rules.verdicts import SetupError, read_yaml

Place = Literal["create", "read", "link", "callback"]
Deed = Literal[
    "refuse", "limit", "fail-server", "cut", "silence", "not-json", "bare", "extra",
    "pending", "processing", "unknown-status", "fail", "not-found", "revoke",
    "stall", "expire", "early", "once", "twice", "forge",
]  # fmt: skip
DEEDS: dict[Place, tuple[Deed, ...]] = {
    "create": ("refuse", "limit", "fail-server", "cut", "silence", "not-json", "bare", "extra"),
    "read": (
        "pending", "processing", "unknown-status", "bare", "extra", "fail", "stall", "limit", "fail-server", "cut", "silence",
        "not-json", "not-found", "revoke",
    ),
    "link": ("cut", "expire", "fail-server"),
    "callback": ("once", "twice", "early", "forge"),
}  # fmt: skip
"""What may happen where."""
TROUBLE = frozenset({"limit", "fail-server", "cut", "silence", "not-json"})
"""What a read or a download may meet and must outlive, once."""
LOSSES = frozenset({"cut", "silence", "not-json"})
_RULES: dict[str, tuple[str, ...]] = {
    "fail": ("CD-10", "CD-12"), "unknown-status": ("CP-09",), "extra": ("CP-10",), "bare": ("CP-11",), "not-json": ("CP-15",),
    "not-found": ("CP-16",), "revoke": ("CP-17",), "processing": ("CP-12",), "stall": ("CP-12",),
}  # fmt: skip
_EVERY = ("CD-01", "CD-03", "CP-08")


class Event(BaseModel):
    """One event: at the next create, read, download or, for callbacks, after so many reads.

    `stall`: nothing changes any more. `forge`: a forged callback, which says that the task is completed.
    status: of `refuse` and `fail-server` (502 comes as a page). wait, form: Retry-After of `limit`. accepted: whether a create
    whose answer is lost made a task. progress: of `processing`. code: of `fail`. after: reads before a callback.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    at: Place
    does: Deed
    status: int = 0
    wait: int = Field(0, ge=0)
    form: Literal["seconds", "date"] = "seconds"
    accepted: bool = False
    progress: int = Field(0, ge=0, le=100)
    code: str = ""
    after: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "Event":
        if self.does not in DEEDS[self.at]:
            raise ValueError(f"a {self.at} does not {self.does}; there are {', '.join(DEEDS[self.at])}")
        return self


class Behaviour(BaseModel):
    """One story. rule: what it was found to break, empty for none; client: what it was found with; both for readers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    events: tuple[Event, ...] = ()
    rule: str = ""
    client: str = ""

    def of(self, place: Place) -> list[Event]:
        """The events at one place, in order."""
        return [event for event in self.events if event.at == place]

    def has(self, *deeds: str) -> bool:
        """Whether one of *deeds* is among the events."""
        return any(event.does in deeds for event in self.events)

    @property
    def right(self) -> Right:
        """What is right at the end. Where giving up is as right as going on, both are."""
        creates, reads, links = self.of("create"), self.of("read"), self.of("link")
        if creates and creates[0].does == "refuse":
            return Right(completes=False, says=("refused", "failed"), creates=0)
        if any(event.does in TROUBLE | {"refuse"} for event in creates):
            return Right(completes=None)
        if self.has("fail"):
            return Right(completes=False, says=() if self.has("revoke", "stall") else ("failed",))
        if self.has("revoke", "stall"):
            ends = self.has("once", "twice", "early")  # a callback goes out because the task is over
            calm = not ends and not self.has("revoke", *TROUBLE)
            return Right(completes=None if ends else False, says=("gave_up",) if calm else ())
        patient = longest_row(reads) <= 2 and sum(event.does in TROUBLE for event in reads) <= 4
        return Right(completes=True if patient and len(links) <= 1 else None)

    @property
    def rules(self) -> list[str]:
        """The rules that it can show, besides those that every history shows."""
        found = list(_EVERY) + [rule for event in self.events for rule in _RULES.get(event.does, ())]
        found += [*self._of_creates(), *self._of_reads(), *self._of_links()]
        if self.has("forge"):
            found += ["CW-08", "CW-13"]
        return list(dict.fromkeys(found))

    def _of_creates(self) -> list[str]:
        creates = self.of("create")
        lost = ["CM-07"] if any(event.does in LOSSES for event in creates) else []
        return lost + (["CM-11"] if any(event.status == 402 for event in creates) else [])

    def _of_reads(self) -> list[str]:
        found = ["CP-13", "CP-23"] if "gave_up" in self.right.says else []
        limited = any(event.does == "limit" for event in self.of("read"))
        return found + (["CP-21"] if limited and self.right.completes else [])

    def _of_links(self) -> list[str]:
        deeds = [event.does for event in self.of("link")]
        calm = not any(event.does in TROUBLE for event in self.of("read"))
        found = ["CD-04"] if "cut" in deeds else []
        found += ["CD-05"] if deeds == ["cut"] else ["CD-06"] if deeds == ["expire"] and calm else []
        if self.has("early") and self.right.completes:
            found.append("CW-04")
        ends = self.has("once", "twice", "early") and not deeds and self.right.completes
        return found + (["CW-03", "CW-05"] if ends else [])

    def as_yaml(self) -> str:
        """It as YAML, defaults left out."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        head = {name: document[name] for name in ("rule", "client") if name in document}
        lines = [
            yaml.safe_dump(event, default_flow_style=True, width=200, sort_keys=False).strip()
            for event in document.get("events", ())
        ]
        return (
            (yaml.safe_dump(head) if head else "")
            + ("events:\n" + "\n".join(f"- {line}" for line in lines) if lines else "events: []")
            + "\n"
        )


def longest_row(events: Iterable[Event]) -> int:
    """How many troubles follow each other at most."""
    rows = groupby(events, lambda event: event.does in TROUBLE)
    return max((len(list(row)) for trouble, row in rows if trouble), default=0)


def read(path: Path) -> Behaviour:
    """The behaviour in a file.

    Raises:
        SetupError: it cannot be read, or holds none.
    """
    try:
        return Behaviour.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise SetupError(f"{path}: {'.'.join(map(str, first['loc'])) or 'story'}: {first['msg']}") from error
