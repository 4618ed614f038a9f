"""What became of the faults: a JSON file of runs, and the table of docs/tests.md that is written from it."""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .checkout import ROOT

RECORDED = ROOT / "tests" / "mutation.json"
EQUIVALENTS = ROOT / "tests" / "equivalents.yaml"
PAGE = ROOT / "docs" / "tests.md"
FROM, TO = "<!-- mutation: written by scripts/mutation -->", "<!-- mutation: end -->"
Fault = dict[str, Any]
Run = dict[str, Any]


@cache
def equivalents() -> dict[tuple[str, str, str], str]:
    """Return why a change makes no difference, by file and by the lines that it replaces and puts there."""
    listed = yaml.safe_load(EQUIVALENTS.read_text(encoding="utf-8")) or []
    return {(one["file"], one["was"].strip(), one["now"].strip()): one["why"] for one in listed}


def runs() -> list[Run]:
    """Return the recorded runs, by seed."""
    found: list[Run] = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else []
    return found


def record(run: Run) -> None:
    """Keep a run; groups of the same seed replace what was kept of them."""
    kept = {one["seed"]: one for one in runs()}
    before = kept.get(run["seed"], {**run, "groups": {}})
    kept[run["seed"]] = {**before, **run, "groups": {**before["groups"], **run["groups"]}}
    whole(RECORDED, json.dumps([kept[seed] for seed in sorted(kept)], indent=1) + "\n")


def whole(path: Path, text: str) -> None:
    """Write a file at once: another run may read it meanwhile."""
    new = path.with_suffix(".tmp")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def state(fault: Fault, known: dict[tuple[str, str, str], str]) -> str:
    """Return what became of a fault: noticed at once, equivalent, noticed by a test written since, or not noticed."""
    if fault["noticed"]:
        return "noticed"
    if (fault["file"], fault["was"].strip(), fault["now"].strip()) in known:
        return "equivalent"
    return "since" if fault.get("since") else "missed"


def table(run: Run) -> str:
    """Return the Markdown table of a run."""
    known = equivalents()
    lines = [
        "| group | planted | noticed | equivalent | not noticed | score | with the tests written since | date | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for name, group in run["groups"].items():
        counted = Counter(state(fault, known) for fault in group["faults"])
        total += counted
        lines.append(row(name, counted, group["date"], group["commit"]))
    return "\n".join([*lines, row("all", total, "", "")])


def row(name: str, counted: Counter[str], date: str, commit: str) -> str:
    """Return one row of the table."""
    missed = counted["missed"] + counted["since"]
    real = counted["noticed"] + missed
    score, now = (
        f"{100 * part / real:.1f} %" if real else "-" for part in (counted["noticed"], real - counted["missed"])
    )
    cells = [name, counted.total(), counted["noticed"], counted["equivalent"], missed, score, now, date, commit]
    return f"| {' | '.join(map(str, cells))} |"


def write_page() -> None:
    """Put the recorded runs into docs/tests.md."""
    parts = [f"`scripts/mutation --sample {run['sample']} --seed {run['seed']}`:\n\n{table(run)}" for run in runs()]
    text = PAGE.read_text(encoding="utf-8")
    written = "\n\n".join([FROM, *parts, TO])
    whole(PAGE, re.sub(f"{FROM}.*{TO}", lambda _: written, text, flags=re.DOTALL))


def missed(run: Run) -> list[Fault]:
    """Return the faults of a run that nothing notices and that are not equivalent."""
    known = equivalents()
    return [fault for group in run["groups"].values() for fault in group["faults"] if state(fault, known) == "missed"]


def shown(fault: Fault) -> str:
    """Return a fault that was not noticed, for a reader."""
    lines = [f"- {line}" for line in fault["was"].splitlines()] + [f"+ {line}" for line in fault["now"].splitlines()]
    where = f"{fault['file']}:{fault['line']} {fault['operator'].removeprefix('core/')}"
    return "\n".join([f"not noticed by {fault['reached_by']} tests: {where}", *lines])
