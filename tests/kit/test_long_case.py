"""A case of the client lab in which the client calls more often than a page of the journal has entries."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kling_contract.driving.control import Control
from kling_contract.driving.sender import Sender
from kling_contract.history.events import Exchange, Recorder
from kling_contract.lab.lab import Lab
from kling_contract.lab.pace import pace_for
from kling_contract.lab.results import RunRequest, RunResult
from kling_contract.lab.stories import Story, load
from kling_contract.lab.watch import Watch
from kling_contract.mutants.called import Called, application
from kling_contract.reading.contract import shipped

READS = 1100


@dataclass
class CalledFake:
    """As `lab.fake.Fake`, in this process; nobody follows its journal."""

    called: Called
    since: int = 0
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.origin = self.link_origin = self.called.url
        self.control = Control(self.origin, self.called)
        self.watch = Watch(self.control)

    def reached(self, url: str) -> str:
        """Where a link leads."""
        return url


@dataclass
class Hasty:
    """An adapter whose client reads its task without a pause."""

    sender: Sender
    parallel: int = 1
    speaks: bool = False
    min_poll: float | None = None
    bounded: bool = True
    takes: frozenset[str] = frozenset()

    def unable(self, story: Story) -> str:
        """It can do all that is asked of it here."""
        return ""

    def close(self) -> None:
        """Nothing of it runs."""

    def run(self, order: RunRequest) -> RunResult:
        """Read a task that does not exist."""
        for _ in range(READS):
            self.sender.send(
                "GET", f"{order.base_url}/v1/tasks/x", [("Authorization", f"Bearer {order.api_key}")], None
            )
        return RunResult(exit=1)


def test_a_case_is_read_to_its_end(tmp_path: Path) -> None:
    """Every call of its client is in the history, not the first thousand alone."""
    with application(clock="real", journal=2 * READS) as called:
        fake: Any = CalledFake(called)
        lab = Lab(fake, shipped(), Recorder(), tmp_path, pace_for(shipped(), 1.0, 5.0))
        ended = lab.run_story(load(shipped())["happy"], Hasty(called))

    assert sum(isinstance(event, Exchange) for event in ended.events) == READS
