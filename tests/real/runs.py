"""One run of the kit against a stand-in, without a command line: what the tests of money share."""

from dataclasses import dataclass
from typing import Any

from standins.service import KEY, Service

from kling_contract.driving.drivers.run_context import Options
from kling_contract.driving.drivers.running import Made, Money, Wanted, for_servers, make_history, plan_of
from kling_contract.driving.target import Asked
from kling_contract.history.events import Note
from kling_contract.judging import judge_history
from kling_contract.rules.verdicts import Choice, Run

FAST = Options(seed=1, poll=0.01, patience=1.0)


@dataclass
class Ran:
    """A history and what it was judged to be."""

    made: Made
    judged: Run

    @property
    def stopped(self) -> str:
        """Why the run was stopped; empty when it was not."""
        return self.judged.stopped

    @property
    def text(self) -> str:
        """Everything that the user is shown beside the verdicts."""
        return "\n".join([*self.made.remarks, self.stopped])

    def ids(self, *results: str) -> set[str]:
        """The rules with one of these results."""
        return {verdict.rule.id for verdict in self.judged.verdicts if verdict.result in results}

    def notes(self, topic: str) -> list[dict[str, Any]]:
        """What the notes of a topic say."""
        return [dict(event.data) for event in self.judged.events if isinstance(event, Note) and event.topic == topic]


def run(
    service: Service,
    mode: str,
    max_usd: float | None = None,
    *,
    timeout: float = 5.0,
    assumptions: bool = False,
    **caps: Any,
) -> Ran:
    """A run of *mode* with the stand-in's key; a paid one is agreed to."""
    wanted = Wanted(
        Asked(url=service.url, key=KEY, mode=mode), FAST, Money(max_usd, **caps), timeout=timeout, assumptions=assumptions,
        agreed="",
    )  # fmt: skip
    if mode == "paid":
        wanted = Wanted(
            wanted.asked, wanted.options, wanted.money, timeout=timeout, agreed=plan_of(wanted, "paid").hash
        )  # fmt: skip
    choice = for_servers(Choice())
    made = make_history(wanted, choice)
    return Ran(made, judge_history(made.recorder.events, choice, lambda rule: rule))
