"""What a repeated story confirms: a finding counts when the repetition of its story shows it as well.

The lab repeats a story once before it says that a client breaks a MUST. Only the history is looked at, so a recorded run gives
the same verdicts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kling_contract.history.events import AnyEvent, Note
from kling_contract.history.labels import Topic
from kling_contract.rules.judging import Finding, Judgement


def pairs_in(events: Iterable[AnyEvent]) -> Mapping[str, str]:
    """Return each repeated case and its repetition, either way."""
    notes = (event for event in events if isinstance(event, Note) and event.topic == Topic.CASE)
    found = {note.case: str(note.data["repeats"]) for note in notes if note.data.get("repeats")}
    return {**found, **{first: again for again, first in found.items()}}


def confirmed(judgement: Judgement, events: Iterable[AnyEvent], pairs: Mapping[str, str]) -> Judgement:
    """Return *judgement* with the findings that stand; where none does, with a word on that and all of them."""
    if not judgement.findings or not pairs or judgement.unconfirmed:
        return judgement
    case_of = {event.seq: event.case for event in events if event.case}
    places = {finding: _case(finding, case_of) for finding in judgement.findings}
    shown = set(places.values())
    standing = tuple(one for one, case in places.items() if case not in pairs or pairs[case] in shown)
    if standing:
        return replace(judgement, findings=standing)
    names = ", ".join(sorted({min(case, pairs[case], key=len) for case in shown}))
    return replace(judgement, unconfirmed=f"seen in one of two runs of {names}: the repetition disagrees")


def _case(finding: Finding, case_of: Mapping[int, str]) -> str:
    return next((case_of[seq] for seq in finding.events if seq in case_of), "")
