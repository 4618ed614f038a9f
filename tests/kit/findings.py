"""`findings.txt`: what every judge says of each small change of a correct history, part by part and rule by rule.

`scripts/findings` writes it, `scripts/findings --check` says whether it is as it would be written, and `test_findings.py` holds it.
A line for each rule: how many things it looked at, how many breaches it found, in how many ways, and a digest of all of them with
the events that they name; then the most frequent ways, in the rule's words.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import histories
import scene
import test_lab_judges
import variations
from blocks import write
from tape import CONTRACT

from kling_contract.reading.view import View
from kling_contract.rules.judging import Judgement
from kling_contract.rules.registry import judge_all, run_judge
from kling_contract.rules.rulebook import Rule, rules

FILE = Path(__file__).with_name("findings.txt")
SHOWN = 3
"""How many ways of a breach are shown in words."""
CLIENTS = ("CQ", "CM", "CP", "CD", "CW")
BOOK = [rule for rule in rules(CONTRACT).values() if not rule.for_clients]
EDGE = 0.001
Said = dict[str, Counter[str]]


@cache
def parts() -> dict[str, list[Any]]:
    """The parts of the correct history."""
    return histories.parts()


@cache
def planned() -> dict[str, list[tuple[Any, bool]]]:
    """The events of each part that are changed."""
    return variations.plan(parts())


def of_part(name: str) -> Said:
    """What the judges of servers say of each change of a part: those that look at the event which is changed."""
    events = parts()[name]
    looked = {one.rule.id: one.events for one in judge_all(events, CONTRACT, BOOK)}
    said: Said = {}
    for event, whole in planned()[name]:
        judging = [rule for rule in BOOK if event.seq in looked[rule.id]]
        for changed in variations.variations(events, event, whole=whole):
            view = View(changed, CONTRACT)
            for rule in judging:
                note(said, run_judge(rule, view))
        for rule in judging:
            for changed in variations.moved(events, event, edges(rule)):
                note(said, run_judge(rule, View(changed, CONTRACT)))
    return said


def of_clients(prefix: str) -> Said:
    """What the judges of clients with that prefix say of each change of the cases that they are tried on."""
    said: Said = {}
    for rule_id, cases in sorted(test_lab_judges.CASES.items()):
        if rule_id.startswith(prefix):
            rule = scene.BOOK[rule_id]
            for case in cases:
                for changed in variations.of_case(list(case(rule_id).recorder.events), edges(rule)):
                    note(said, run_judge(rule, View(changed, CONTRACT)))
    return said


def edges(rule: Rule) -> list[float]:
    """What lies just below and just above each number of a rule, and above what two of them make together."""
    given = [float(value) for value in rule.params.values() if isinstance(value, int | float) and value is not True]
    made = {
        *given,
        *(one - two for one, two in permutations(given, 2)),
        *(one * two for one, two in combinations(given, 2)),
    }
    return sorted(edge for value in made if 0 < value < 10_000 for edge in (value - EDGE, value + EDGE))


def note(said: Said, found: Judgement) -> None:
    """Count what a judge looked at and found."""
    counted = said.setdefault(found.rule.id, Counter())
    counted["looked"] += found.looked
    counted.update(f"{one.expected} | {one.seen}\n{one.events}" for one in found.findings)
    counted.update(f"implied by {one}\n" for one in found.implied)
    counted.update(
        f"{word}: {text}\n" for word, text in (("doubt", found.unconfirmed), ("broken", found.broken)) if text
    )


def written(said: Said) -> Iterator[str]:
    """Yield the lines of what was said."""
    for rule_id, counted in sorted(said.items()):
        ways: Counter[str] = Counter()
        for text, times in counted.items():
            if text != "looked":
                ways[text.partition("\n")[0]] += times
        digest = hashlib.sha256(repr(sorted(counted.items())).encode()).hexdigest()[:8]
        yield f"{rule_id} looked {counted['looked']}, found {ways.total()} in {len(ways)} ways, {digest}"
        for text, times in sorted(ways.items(), key=lambda one: (-one[1], one[0]))[:SHOWN]:
            yield f"    {times} x {text[:200]}"


def block(name: str) -> str:
    """What is kept of a part, or of the client rules with a prefix."""
    said = of_clients(name) if name in CLIENTS else of_part(name)
    return "\n".join([f"== {name}", *written(said)])


def names() -> Iterable[str]:
    """The parts and prefixes, in order."""
    return (*parts(), *CLIENTS)


if __name__ == "__main__":
    sys.exit(write(FILE, "\n\n".join(map(block, names())) + "\n", sys.argv[1:]))
