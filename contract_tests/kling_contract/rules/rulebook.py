"""The rulebook as data: every rule of `rulebook.yaml`, its sentence filled in from the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kling_contract.reading.contract import Contract

FILE = Path(__file__).with_name("rulebook.yaml")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads the kit's own files of rules, in C where PyYAML was built with it: a tenth of the time at each start."""


class Level(StrEnum):
    """How much a broken rule weighs: MUST breaks the run, SHOULD warns, MAY informs."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


@dataclass(frozen=True, slots=True)
class Rule:
    """One checkable sentence.

    grade: D, S, C as in the wire facts, I for plain sense and HTTP practice. where: F, R0, R$, H, C, see the file.
    source: `doc:N` or `wire:SECTION`, where the grade comes from. group: its title. order: its place in reports, first
    causes first. params: tolerances and names its judge uses.
    """

    id: str
    sentence: str
    level: Level
    grade: str
    where: tuple[str, ...]
    group: str
    order: int
    params: Mapping[str, Any] = field(default_factory=dict)
    source: tuple[str, ...] = ()

    @property
    def for_clients(self) -> bool:
        """Whether it judges a client, not a server."""
        return "C" in self.where


@cache
def rules(contract: Contract) -> Mapping[str, Rule]:
    """Every rule by its id, in the order in which reports show them.

    Raises:
        ValueError: the file names a level that does not exist, an unknown number, or an id twice.
    """
    facts = contract.facts()
    book: dict[str, Rule] = {}
    for group in yaml.load(FILE.read_text(encoding="utf-8"), Loader=LOADER)["groups"]:  # noqa: S506 - a safe loader, in C
        for row in group["rules"]:
            if row["id"] in book or not row["id"].startswith(group["prefix"]):
                raise ValueError(f"{FILE.name}: {row['id']} stands twice or in the wrong group")
            book[row["id"]] = _rule(row, group["title"], len(book), facts)
    return book


def _rule(row: Mapping[str, Any], group: str, order: int, facts: Mapping[str, Any]) -> Rule:
    try:
        sentence = row["sentence"].format_map(facts)
    except KeyError as error:
        raise ValueError(f"{FILE.name}: {row['id']} quotes {error}, which the contract does not have") from error
    return Rule(
        row["id"],
        sentence,
        Level(row["level"]),
        row["grade"],
        tuple(row["where"]),
        group,
        order,
        row.get("params", {}),
        tuple(row.get("source", ())),
    )
