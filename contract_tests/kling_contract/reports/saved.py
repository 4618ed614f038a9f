"""Reports of earlier runs, read again: `report.json` holds the verdicts, so a page can be made of them without the histories."""

from pathlib import Path
from typing import Any

import orjson

from kling_contract.reading.contract import shipped
from kling_contract.rules.judging import Finding
from kling_contract.rules.rulebook import Level, Rule, rules
from kling_contract.rules.verdicts import Result, Run, SetupError, Verdict

_LATE = 10_000
"""Where a rule stands that this rulebook does not have: after all others."""


def read(path: Path) -> Run:
    """Return the run that a `report.json`, or the folder that holds one, tells of; without its events.

    Raises:
        SetupError: there is none, or it is no report.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        document = orjson.loads(file.read_bytes())
        return _run(document)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}; `--report DIR` of a run writes it") from error
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SetupError(f"{file}: this is no report.json of the kit; `--report DIR` of a run writes one") from error


def _run(document: dict[str, Any]) -> Run:
    book = rules(shipped())
    return Run(
        target=str(document["target"]), mode=str(document["mode"]), contract=str(document["contract"]),
        seed=document["seed"], verdicts=tuple(_verdict(row, book.get(row["id"])) for row in document["rules"]),
        said_exit=int(document["exit"]),
    )  # fmt: skip


def _verdict(row: dict[str, Any], rule: Rule | None) -> Verdict:
    """One row; the sentence is the report's own, since the rulebook may have moved on."""
    known = Rule(
        id=str(row["id"]), sentence=str(row["sentence"]), level=Level(row["level"]), grade=str(row["grade"]),
        where=rule.where if rule else (), group=str(row["group"]), order=rule.order if rule else _LATE,
        source=rule.source if rule else (),
    )  # fmt: skip
    findings = tuple(Finding(known.id, str(f["expected"]), str(f["seen"]), ()) for f in row["findings"])
    return Verdict(
        known, Result(row["verdict"]), str(row["reason"]), findings, (), int(row["looked"]), str(row["rerun"])
    )
