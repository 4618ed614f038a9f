"""What is worth knowing of a rule besides its sentence: why it matters, a bad exchange, a good one, and where it comes from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from kling_contract.rules.rulebook import LOADER, Rule

WHY = Path(__file__).with_name("why.yaml")
EXCHANGES = Path(__file__).with_name("exchanges.json")
_SOURCES = {
    "doc": "sentence {} of the vendor's page, as openapi/document.txt numbers them",
    "wire": "the section “{}” of the notes on what was seen on the wire and in first-party client code",
}


@dataclass(frozen=True, slots=True)
class Example:
    """What breaks a rule and what keeps it. expected, seen: the finding; bad, good: the exchanges as text."""

    expected: str = ""
    seen: str = ""
    bad: str = ""
    good: str = ""


@cache
def _why() -> Mapping[str, str]:
    found: Mapping[str, str] = yaml.load(WHY.read_text(encoding="utf-8"), Loader=LOADER)  # noqa: S506 - a safe loader, in C
    return found


@cache
def _examples() -> Mapping[str, Example]:
    document = json.loads(EXCHANGES.read_text(encoding="utf-8"))
    return {rule_id: Example(**members) for rule_id, members in document.items()}


def why(rule_id: str) -> str:
    """Return what goes wrong for a user when the rule is broken; empty where the page has yet to be written."""
    return _why().get(rule_id, "")


def example(rule_id: str) -> Example:
    """Return the exchanges of the rule; empty ones where there are none yet."""
    return _examples().get(rule_id, Example())


def sources(rule: Rule) -> list[str]:
    """Return where the rule's grade comes from, a phrase each; plain practice where no document states it."""
    found = []
    for source in rule.source:
        kind, _, place = source.partition(":")
        found.append(_SOURCES[kind].format(place) if kind in _SOURCES else source)
    return found or ["practice: no document states it"]
