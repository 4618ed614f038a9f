"""A mutation run on purpose: `scripts/mutation --sample 200 --seed 1`.

Of every group of modules equally many faults are drawn. The faults of a group are judged by the tests of that group alone, so
that a fault counts as noticed only where its own tests see it.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .checkout import ROOT, copy_checkout
from .faults import Fault, again, sample
from .groups import GROUPS
from .results import Run, equivalents, missed, record, runs, shown, state, table, write_page
from .running import judged, reached


def main() -> None:
    """Run as the command line says."""
    options = argparse.ArgumentParser(prog="scripts/mutation", description=__doc__)
    options.add_argument("--sample", type=int, default=200, help="faults planted in all groups together")
    options.add_argument("--seed", type=int, default=1, help="which ones")
    options.add_argument("--group", action="append", choices=sorted(GROUPS), help="only these")
    options.add_argument("--record", action="store_true", help="keep what is found, and write it to docs/tests.md")
    options.add_argument(
        "--again", action="store_true", help="plant only what the recorded run of this seed shows as not noticed"
    )
    options.add_argument("--tests", action="append", help="judge by these tests, instead of the group's (with --again)")
    options.add_argument("--workers", type=int, default=2, help="faults at a time")
    options.add_argument("--page", action="store_true", help="only write the recorded runs to docs/tests.md")
    given = options.parse_args()
    if given.page:
        write_page()
    elif given.again:
        plant_again(given)
    else:
        plant(given)


def plant(given: argparse.Namespace) -> None:
    """Draw faults, plant them, and say what became of them."""
    names = given.group or list(GROUPS)
    run: Run = {"seed": given.seed, "sample": given.sample, "groups": {}}
    for name in names:
        drawn = sample(ROOT, name, GROUPS[name], given.sample // len(GROUPS), given.seed)
        run["groups"][name] = {**stamp(), "faults": []}
        for outcome in found(name, drawn, list(GROUPS[name].tests), given.workers):
            run["groups"][name]["faults"].append(outcome)
            keep(run, given)
    print(f"\nsample {given.sample}, seed {given.seed}\n\n{table(run)}")


def plant_again(given: argparse.Namespace) -> None:
    """Plant what was not noticed once more, and note what is noticed by now.

    A fault is found again by the lines that it replaces, wherever they stand today.
    """
    (run,) = (run for run in runs() if run["seed"] == given.seed)
    for name in given.group or run["groups"]:
        left = [(fault, again(ROOT, fault)) for fault in run["groups"][name]["faults"] if fault in missed(run)]
        for fault in (fault for fault, place in left if place is None):
            print(f"changed since, so not planted: {shown(fault)}\n", flush=True)
        drawn = [(fault, place) for fault, place in left if place is not None]
        outcomes = found(name, [place for _, place in drawn], given.tests or list(GROUPS[name].tests), given.workers)
        for (fault, _), outcome in zip(drawn, outcomes, strict=True):
            fault["since"] = outcome["by"]
            keep(run, given)


def keep(run: Run, given: argparse.Namespace) -> None:
    """Record what is found so far, where that was asked for: a run that is interrupted has lost nothing."""
    if given.record:
        record(run)
        write_page()


def found(name: str, drawn: list[tuple[Fault, str]], tests: list[str], workers: int) -> Iterator[dict[str, Any]]:
    """Plant faults of a group, and yield what became of each; those that are not noticed are printed as they come."""
    if not drawn:
        return
    with tempfile.TemporaryDirectory(prefix="mut-") as folder:
        copy = Path(folder) / "copy"
        copy_checkout(copy)
        known = reached(copy, name, GROUPS[name].files(ROOT), tests)
        print(f"{name}: {len(known.seconds)} tests in {sum(known.seconds.values()):.0f} s", flush=True)
        for number, outcome in enumerate(judged(copy, known, tests, drawn, workers), 1):
            if state(outcome, equivalents()) == "missed":
                print(f"\n{shown(outcome)}\n", flush=True)
            else:
                print(f"  {number}/{len(drawn)} {outcome['file']}:{outcome['line']} {outcome['by']}", flush=True)
            yield outcome


def stamp() -> dict[str, str]:
    """Return when and of what a run is made."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    day = f"{datetime.now(UTC):%Y-%m-%d}"  # noqa: TID251 - the day of the run
    return {"date": day, "commit": head.stdout.strip()}


if __name__ == "__main__":
    sys.exit(main())
