"""What each rule of the kit rests on: the section of `docs/provenance.md` that shows rule, grade and sentence."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

WIRE_FACTS = (
    "Create a task", "Query a task", "Task error codes", "HTTP errors", "Idempotency", "Callback", "Beside the two endpoints",
    "Corrections",
)  # fmt: skip
"""Sections of the restored wire facts that a rule may cite as `wire:SECTION`."""
_KINDS = {"D": "doc:", "S": "wire:", "C": "wire:"}
_QUOTED = re.compile(r"\{(\w+)\}")


def rows_of(rulebook: Path | None) -> list[dict[str, Any]]:
    """Return the rules of a rulebook file, in its order; none without a file."""
    groups = yaml.safe_load(rulebook.read_text(encoding="utf-8"))["groups"] if rulebook else ()
    return [rule for group in groups for rule in group["rules"]]


def complaints(rules: list[dict[str, Any]], document: Mapping[int, str]) -> Iterator[str]:
    """Yield what is wrong with the grades of *rules*: one of grade D without its sentence, or a source that does not exist."""
    for rule in rules:
        sources, kind = rule.get("source", []), _KINDS.get(rule["grade"])
        if kind is None and sources:
            yield f"{rule['id']}: graded {rule['grade']}, and cites {', '.join(sources)}"
        if kind is not None and not any(source.startswith(kind) for source in sources):
            yield f"{rule['id']}: graded {rule['grade']}, and cites no {'sentence' if kind == 'doc:' else 'section'}"
        yield from (f"{rule['id']}: no such source: {source}" for source in sources if not _exists(source, document))


def _exists(source: str, document: Mapping[int, str]) -> bool:
    kind, _, name = source.partition(":")
    return name in WIRE_FACTS if kind == "wire" else kind == "doc" and name.isdecimal() and int(name) in document


def rows(rules: list[dict[str, Any]], document: Mapping[int, str]) -> list[list[str]]:
    """Return a row for each rule: id, level, grade, what it says, and the sentences or sections that it rests on."""
    return [
        [rule["id"], rule["level"], rule["grade"], _said(rule["sentence"]), "<br>".join(_shown(rule, document))]
        for rule in rules
    ]


def _said(sentence: str) -> str:
    """Return a sentence of the rulebook for a reader; a number of the contract stands under its name."""
    return _QUOTED.sub(r"\1", sentence.replace("{{", "\0").replace("}}", "\1")).replace("\0", "{").replace("\1", "}")


def _shown(rule: Mapping[str, Any], document: Mapping[int, str]) -> Iterator[str]:
    for source in rule.get("source", []):
        kind, _, name = source.partition(":")
        yield f"{source}: {document[int(name)]}" if kind == "doc" and name.isdecimal() else source
    if not rule.get("source"):
        yield "practice"
