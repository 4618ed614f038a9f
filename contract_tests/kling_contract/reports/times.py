"""How long things took, by the machine's own clock: the account's clock may stand still, or leap a day."""

from collections.abc import Collection
from datetime import UTC, datetime

from kling_contract.history.events import Note, Span
from kling_contract.history.labels import Topic
from kling_contract.rules.verdicts import Run


class Clock:
    """When a run began, and how long its calls took."""

    def __init__(self, run: Run) -> None:
        calls = (event for event in run.events if isinstance(event, Span))
        self._spans = sorted((event.mono, max(event.mono, event.ended_mono), event.seq) for event in calls)
        started = next((e.at for e in run.events if isinstance(e, Note) and e.topic == Topic.RUN and e.at), 0.0)
        self._began = started or min((event.at for event in run.events if event.at), default=0.0)

    @property
    def began(self) -> str:
        """The start as JUnit writes it: ISO 8601 in UTC, without a zone."""
        return datetime.fromtimestamp(self._began, UTC).strftime("%Y-%m-%dT%H:%M:%S")

    def spent(self, seqs: Collection[int] | None) -> str:
        """Seconds of the calls *seqs* (None: of all), to the millisecond; calls at the same time are counted once."""
        total, until = 0.0, float("-inf")
        for began, ended, seq in self._spans:
            if seqs is None or seq in seqs:
                total += max(0.0, ended - max(began, until))
                until = max(until, ended)
        return f"{total:.3f}"
