"""How fast a client may go, and when it is to give up: as the user says, else as its first reads show it."""

from dataclasses import dataclass, replace
from math import ceil

from kling_contract.lab.stories import Story
from kling_contract.reading.contract import Contract
from kling_contract.rules.rulebook import rules

RULE = "CP-01"
"""The rule about the pause between reads; it says which one is enough in the lab."""
PATIENCE = 60.0
"""Seconds that a story has while it is unknown how fast the client is."""
FORCED = 120.0
"""Seconds after which a client is ended by force, unless the limit that it was given is longer."""
GRACE = 2.5
"""Seconds after its deadline in which a client may still end by itself: start-up, a last read and tidying up."""
_STANDS_OUT, _LONGEST_WAIT = 6, 30
"""Seconds of Retry-After: more than any usual first back-off, and not more than a user waits for a verdict."""
_STARTS, _READS = 4.0, 8.0
"""The default deadline: seconds to start and end, and so many pauses between reads."""


def deadline(pause: float) -> float:
    """The deadline that leaves a client with that pause between reads enough time for a story."""
    return round(_STARTS + _READS * pause, 1)


@dataclass(frozen=True, slots=True)
class Pace:
    """What a client is given.

    min_poll: seconds between reads that a client is held to that keeps a pause of its own. hurried: what it is given for its
    pause, as {min_poll} or KLING_MIN_POLL, where a story needs no longer one. deadline: seconds until it gives up; None while
    unknown. fixed: whether the user gave that deadline. pause: seconds that the client was seen to wait. patience: seconds
    that the lab waits at least before it ends a client.
    """

    min_poll: float
    hurried: float
    deadline: float | None = None
    fixed: bool = False
    pause: float | None = None
    patience: float = FORCED

    @property
    def given(self) -> bool:
        """Whether the user said how long the client waits."""
        return self.hurried == self.min_poll

    @property
    def retry_after(self) -> int:
        """Seconds of a Retry-After that no client keeps by chance."""
        usual = self.hurried if self.pause is None else self.pause
        return min(_LONGEST_WAIT, ceil(max(_STANDS_OUT, 2.5 * usual + 3)))

    def for_story(self, story: Story) -> float:
        """Return the seconds between reads that *story* asks for."""
        if self.given:
            return self.min_poll
        return max(self.hurried, story.min_poll_at_least)

    def limit_for(self, story: Story) -> float:
        """Return the deadline that a client is given in *story*, with time for the pauses that the story asks for."""
        if self.fixed:
            return round((self.deadline or PATIENCE) * story.share, 2)
        pause = self.for_story(story)
        limit = self.deadline or PATIENCE
        if pause > self.hurried:
            limit = max(limit, deadline(pause))
        limit = max(limit * story.share, story.deadline_at_least)
        return round(limit + (self.retry_after if story.asks_to_wait else 0), 2)

    def ends_after(self, limit: float) -> float:
        """Return the seconds after which the lab ends a client that was given the deadline *limit*."""
        return max(limit + GRACE, self.patience)

    def with_pause(self, pause: float) -> "Pace":
        """Return the same, with the deadline of a client that waits *pause* between its reads."""
        return replace(self, deadline=deadline(pause), pause=pause)


def pace_for(contract: Contract, min_poll: float | None, limit: float | None) -> Pace:
    """Return the pace that the user gave; by default the contract's pause, and the rulebook's in stories about something else."""
    fixed = limit is not None
    if min_poll is not None:
        return Pace(min_poll, min_poll, limit or deadline(min_poll), fixed, min_poll)
    return Pace(contract.min_poll, min(contract.min_poll, rules(contract)[RULE].params["lab"]), limit, fixed)
