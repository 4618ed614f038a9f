"""How fast a client may go, and when it is to give up: as the user says, else as its first reads show it."""

from dataclasses import dataclass, replace

from kling_contract.lab.stories import Story
from kling_contract.reading.contract import Contract
from kling_contract.rules.rulebook import rules

RULE = "CP-01"
"""The rule about the pause between reads: a story that shows it keeps the whole pause."""
PATIENCE = 60.0
"""Seconds that a story has while it is unknown how fast the client is."""
_STARTS, _READS = 4.0, 8.0
"""The default deadline: seconds to start and end, and so many pauses between reads."""


def deadline(pause: float) -> float:
    """The deadline that leaves a client with that pause between reads enough time for a story."""
    return round(_STARTS + _READS * pause, 1)


@dataclass(frozen=True, slots=True)
class Pace:
    """What a client is given.

    min_poll: seconds between reads that it is held to. hurried: the same in stories that are about something else; a client
    that takes it from KLING_MIN_POLL is spared the wait. deadline: seconds until it gives up; None while unknown.
    """

    min_poll: float
    hurried: float
    deadline: float | None = None

    @property
    def given(self) -> bool:
        """Whether the user said how long the client waits."""
        return self.hurried == self.min_poll

    def for_story(self, story: Story) -> float:
        """Seconds between reads that *story* asks for."""
        return self.min_poll if RULE in story.rules else self.hurried

    def limit_for(self, story: Story) -> float:
        """Seconds until a client gives up in *story*; where it keeps a pause that others need not keep, it has its time."""
        whole = not self.given and self.for_story(story) == self.min_poll
        limit = max(self.deadline or 0.0, PATIENCE) if whole else self.deadline or PATIENCE
        return round(limit * story.share, 2)

    def with_pause(self, pause: float) -> "Pace":
        """The same, with the deadline of a client that waits *pause* between its reads."""
        return replace(self, deadline=deadline(pause))


def pace_for(contract: Contract, min_poll: float | None, limit: float | None) -> Pace:
    """Return the pace that the user gave; by default the contract's pause, and the rulebook's in stories about something else."""
    if min_poll is not None:
        return Pace(min_poll, min_poll, limit or deadline(min_poll))
    return Pace(contract.min_poll, min(contract.min_poll, rules(contract)[RULE].params["lab"]), limit)
