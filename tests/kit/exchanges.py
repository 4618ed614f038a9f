"""The exchanges on the pages of rules: what each judge is tested with, good and bad, as text.

`scripts/exchanges` writes the file that the kit ships; a test compares the two.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from faults import BAD, GOOD, mutated
from tape import CONTRACT
from test_lab_judges import CASES

from kling_contract.history.events import AnyEvent, Note
from kling_contract.history.labels import Topic
from kling_contract.reports.exchanges import as_text
from kling_contract.rules.judging import Judgement
from kling_contract.rules.pages import EXCHANGES
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import rules

_LACKING = Note(seq=len(GOOD) + 1, topic=Topic.MISSING_FEATURE, data={"feature": "clock", "reason": "404"})
_PROOF = 3


def judged(events: Iterable[AnyEvent], rule_id: str) -> Judgement:
    """The judgement of one rule."""
    (found,) = judge_all(events, CONTRACT, [rules(CONTRACT)[rule_id]])
    return found


def histories_of(rule_id: str) -> tuple[list[AnyEvent], list[AnyEvent]]:
    """A good history and a bad one."""
    if rule_id in CASES:
        good, bad = CASES[rule_id]
        return list(good(rule_id).recorder.events), list(bad(rule_id).recorder.events)
    if rule_id in BAD:
        pick, change, *every = BAD[rule_id]
        return list(GOOD), list(mutated(pick, change, every=bool(every)))
    return list(GOOD), [*GOOD, _LACKING]


def example(rule_id: str) -> Mapping[str, str]:
    """What the page of a rule shows: the finding with its exchanges, and the same ones of a correct history where they are in it."""
    good, bad = histories_of(rule_id)
    finding, fine = judged(bad, rule_id).findings[0], judged(good, rule_id)
    broken = [event for event in bad if event.seq in finding.events]
    same = [event for event in good if event.seq in finding.events] if rule_id in BAD else []
    if rule_id == "SS-03":
        proof = [event for event in good if isinstance(event, Note) and event.topic == Topic.RUN]
        return {"expected": finding.expected, "seen": finding.seen, "bad": as_text(broken), "good": as_text(proof)}
    looked = [event for event in good if event.seq in fine.events[:_PROOF]]
    proof = same if same and as_text(same) != as_text(broken) else looked
    return {
        "expected": finding.expected, "seen": finding.seen, "bad": as_text(_plain(broken)), "good": as_text(_plain(proof)),
    }  # fmt: skip


def _plain(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """*events* without the notes of the lab about its own case, which say nothing to a reader."""
    kept = [
        event
        for event in events
        if not (isinstance(event, Note) and event.topic in (Topic.RUN, Topic.CASE, Topic.NOISE))
    ]
    return [replace(event) for event in kept]


def document() -> dict[str, Any]:
    """The whole file."""
    return {rule_id: example(rule_id) for rule_id in rules(CONTRACT)}


def text() -> str:
    """The file as it is written."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write the file, or with --check compare it."""
    if "--check" in sys.argv:
        sys.exit(
            0 if EXCHANGES.read_text(encoding="utf-8") == text() else f"{EXCHANGES.name} is old: run scripts/exchanges"
        )
    EXCHANGES.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
