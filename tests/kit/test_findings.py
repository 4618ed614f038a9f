"""What every judge looks at and says, word for word: of a correct history and of one fault for each rule.

People read these texts, and a judge that looks at less than it did would go on passing. Whoever changes a judge on purpose writes the
file anew: `PYTHONPATH=tests/kit python tests/kit/test_findings.py`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from faults import BAD, GOOD, mutated
from scene import BOOK, judged
from tape import CONTRACT
from test_lab_judges import CASES

from kling_contract.history.events import from_json, to_json
from kling_contract.rules.registry import judge_all

FILE = Path(__file__).with_name("findings.json")


def read_again(events: Iterable[Any]) -> tuple[Any, ...]:
    """The events as they come from a file, where no two equal texts are one object."""
    return tuple(from_json(orjson.loads(orjson.dumps(to_json(event)))) for event in events)


def shown(found: Any) -> dict[str, Any]:
    """A judgement, as far as people see it."""
    texts = [f"expected {finding.expected}; seen {finding.seen}" for finding in found.findings]
    return {"looked": found.looked, "found": len(texts), "first": texts[0] if texts else ""}


def of_a_server(rule_id: str) -> dict[str, Any]:
    """What the judge of a server rule says of the correct history and of its fault."""
    pick, change, *every = BAD[rule_id]
    histories = {"right": GOOD, "wrong": mutated(pick, change, every=bool(every))}
    return {
        name: shown(judge_all(read_again(events), CONTRACT, [BOOK[rule_id]])[0]) for name, events in histories.items()
    }


def of_a_client(rule_id: str) -> dict[str, Any]:
    """What the judge of a client rule says of its good case and of its bad one."""
    right, wrong = (judged(rule_id, read_again(make(rule_id).recorder.events)) for make in CASES[rule_id])
    return {"right": shown(right), "wrong": shown(wrong)}


KNOWN: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def test_every_rule_stands_in_the_file() -> None:
    """And nothing else."""
    assert KNOWN.keys() == {*BAD, *CASES}


@pytest.mark.parametrize("rule_id", sorted(BAD))
def test_a_server_judge_says_what_it_said(rule_id: str) -> None:
    """How much it looked at, how much it found, and the words of the first finding."""
    assert of_a_server(rule_id) == KNOWN[rule_id]


@pytest.mark.parametrize("rule_id", sorted(CASES))
def test_a_client_judge_says_what_it_said(rule_id: str) -> None:
    """The same, of cases of the lab."""
    assert of_a_client(rule_id) == KNOWN[rule_id]


if __name__ == "__main__":
    found = {rule_id: of_a_server(rule_id) for rule_id in BAD} | {rule_id: of_a_client(rule_id) for rule_id in CASES}
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
