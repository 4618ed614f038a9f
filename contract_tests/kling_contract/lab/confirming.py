"""A second run of every story that shows a broken MUST, or a breach that is judged from a sample, before it is said."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kling_contract.history.events import AnyEvent
from kling_contract.lab.lab import Ended, Lab
from kling_contract.lab.results import Adapter
from kling_contract.rules.registry import judge_all
from kling_contract.rules.rulebook import Level, rules


def confirm(lab: Lab, adapter: Adapter, ended: Sequence[Ended], at_once: int = 64) -> list[Ended]:
    """Repeat each story of *ended* in which something was found that must be seen twice; return the repetitions.

    A client that was ended by force is not asked again: it was waited for long enough.
    """
    if not ended or lab.out_of_time:
        return []
    forced = {over.story.name for over in ended if any(result.ended == "deadline" for result in over.results)}
    doubtful = _doubtful(lab.recorder.events, lab) - forced
    again = [over.story for over in ended if over.story.name in doubtful]
    if not again:
        return []
    with ThreadPoolExecutor(min(at_once, adapter.parallel)) as pool:
        return list(pool.map(lambda story: lab.run_story(story, adapter, repeats=story.name), again))


def _doubtful(events: Sequence[AnyEvent], lab: Lab) -> set[str]:
    """Return the cases with a finding of a rule that must be confirmed."""
    book = [rule for rule in rules(lab.contract).values() if rule.for_clients]
    book = [rule for rule in book if rule.level is Level.MUST or rule.params.get("sampled")]
    case_of = {event.seq: event.case for event in events if event.case}
    findings = [finding for one in judge_all(events, lab.contract, book) for finding in one.findings]
    return {case_of[seq] for finding in findings for seq in finding.events if seq in case_of}
