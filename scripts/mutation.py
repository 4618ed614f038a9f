"""A mutation run on purpose, with cosmic-ray: a stated sample, a stated seed, and a table of what the tests notice.

The faults of a group are judged by the tests of that group alone, so that a fault counts as noticed only where its own tests see it.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("common", "openapi", "mock_server", "contract_tests", "clients/python")
FAKE, KIT, CLIENT = "mock_server/kling_mock", "contract_tests/kling_contract", "clients/python/kling_client"
# Types are written with it and are never evaluated as numbers: such faults only stop the import.
NO_FAULTS = ("BinaryOperator_BitOr", "_BitOr_")


@dataclass(frozen=True)
class Group:
    """Modules, and the tests that have to notice a fault in them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    seconds: float


GROUPS = {
    "core": Group((f"{FAKE}/core",), ("tests/core", "tests/web/test_billing.py", "tests/web/test_query.py"), 240),
    "store": Group(
        (f"{FAKE}/store/memory.py", f"{FAKE}/store/memory_account.py", f"{FAKE}/service/creating.py"),
        (
            "tests/web/test_create.py",
            "tests/web/test_query.py",
            "tests/web/test_billing.py",
            "tests/web/test_control.py",
            "tests/web/test_idempotency.py",
        ),
        240,
    ),
    "courier": Group(
        (f"{FAKE}/service/courier.py", f"{FAKE}/core/callbacks.py", f"{FAKE}/core/deliveries.py"),
        ("tests/core/test_callbacks.py", "tests/core/test_deliveries.py", "tests/web/test_callbacks.py"),
        240,
    ),
    "rules": Group(
        (f"{KIT}/rules",),
        ("tests/kit/test_judges.py", "tests/kit/test_judges_hold.py", "tests/kit/test_lab_judges.py"),
        300,
    ),
    "guard": Group(
        (f"{KIT}/driving/guard.py", f"{KIT}/driving/guarded.py", f"{KIT}/driving/planning.py"),
        ("tests/kit/test_guard.py", "tests/kit/test_real_service.py"),
        240,
    ),
    "masking": Group(
        ("common/kling_common/masking.py",), ("tests/core/test_masking.py", "tests/kit/test_history.py"), 120
    ),
    "drivers": Group((f"{KIT}/driving/drivers",), ("tests/kit/test_drivers.py",), 300),
    "client": Group((CLIENT,), ("tests/client",), 300),
}


def main() -> None:
    """Run as the command line says."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sample", type=int, default=200, help="faults planted in all")
    options.add_argument("--seed", type=int, default=1, help="which ones")
    options.add_argument("--group", action="append", choices=sorted(GROUPS), help="only these")
    options.add_argument("--report", type=Path, help="a JSON file with every fault and what became of it")
    given = options.parse_args()
    names = given.group or list(GROUPS)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder) / "copy"
        copy_checkout(copy)
        sessions = {name: session(copy, Path(folder), name) for name in names}
        chosen = sample(sessions, given.sample, given.seed)
        for name, file in sessions.items():
            skip_all_but(file, chosen[name])
            run(copy, "exec", str(file.with_suffix(".toml")), str(file))
            for line in table({name: list(outcomes(file))}).splitlines()[2:3]:
                print(line, flush=True)
        found = {name: list(outcomes(file)) for name, file in sessions.items()}
    print(f"\nsample {given.sample}, seed {given.seed}\n\n{table(found)}")
    for outcome in (each for each in itertools.chain(*found.values()) if each["noticed"] is False):
        print(f"\nnot noticed: {outcome['module']}:{outcome['line']} {outcome['operator']}\n{outcome['diff']}")
    if given.report:
        given.report.write_text(json.dumps(found, indent=1), encoding="utf-8")


def copy_checkout(copy: Path) -> None:
    """Copy what git knows of, as it is in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def session(copy: Path, folder: Path, name: str) -> Path:
    """Return the file of a session with every fault of a group."""
    group = GROUPS[name]
    modules = [str(path.relative_to(copy)) for module in group.modules for path in files(copy / module)]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += ["-m", "'not e2e'", *group.tests]
    config = folder / f"{name}.toml"
    config.write_text(
        "[cosmic-ray]\n"
        f"module-path = {json.dumps(modules)}\n"
        f"timeout = {group.seconds}\n"
        "excluded-modules = []\n"
        f"test-command = {json.dumps(' '.join(command))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    # Tests that fail by themselves would notice everything.
    run(copy, "baseline", str(config))
    run(copy, "init", str(config), str(folder / f"{name}.sqlite"))
    return folder / f"{name}.sqlite"


def files(module: Path) -> Iterator[Path]:
    """Yield the Python files at and below *module*."""
    yield from sorted(module.rglob("*.py")) if module.is_dir() else [module]


def run(copy: Path, *arguments: str) -> None:
    """Run cosmic-ray in the copy, whose modules come before those that are installed."""
    path = os.pathsep.join(str(copy / source) for source in SOURCES)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", "cosmic_ray.cli", *arguments], cwd=copy, env=environment, check=True)


def sample(sessions: dict[str, Path], size: int, seed: int) -> dict[str, set[str]]:
    """Choose faults: as many of a group as its share, the same ones for the same seed and code."""
    everything: list[tuple[str, str]] = []
    for name, file in sessions.items():
        with use_db(file, WorkDB.Mode.open) as db:
            everything += [(name, item.job_id) for item in sorted(db.work_items, key=place) if counts(item)]
    picked = random.Random(seed).sample(everything, min(size, len(everything)))
    return {name: {job for group, job in picked if group == name} for name in sessions}


def place(item: WorkItem) -> tuple[str, tuple[int, int], str, int]:
    """Return where a fault is, which is the same in every run."""
    (fault,) = item.mutations
    return (str(fault.module_path), fault.start_pos, fault.operator_name, fault.occurrence)


def counts(item: WorkItem) -> bool:
    """Return whether a fault changes what the program does rather than how its types are written."""
    (fault,) = item.mutations
    return not any(word in fault.operator_name for word in NO_FAULTS)


def skip_all_but(file: Path, jobs: set[str]) -> None:
    """Leave the chosen faults to be planted."""
    with use_db(file, WorkDB.Mode.open) as db:
        skipped = [item.job_id for item in db.work_items if item.job_id not in jobs]
        db.set_multiple_results(skipped, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def outcomes(file: Path) -> Iterator[dict[str, object]]:
    """Yield what became of each planted fault."""
    faults: dict[str, MutationSpec] = {}
    with use_db(file, WorkDB.Mode.open) as db:
        faults = {item.job_id: item.mutations[0] for item in db.work_items}
        for job, result in db.results:
            if result.worker_outcome is WorkerOutcome.SKIPPED:
                continue
            yield {
                "module": str(faults[job].module_path),
                "line": faults[job].start_pos[0],
                "operator": faults[job].operator_name.removeprefix("core/"),
                "noticed": result.test_outcome is not TestOutcome.SURVIVED,
                "diff": result.diff,
            }


def table(found: dict[str, list[dict[str, object]]]) -> str:
    """Return a Markdown table of the groups."""
    lines = ["| group | planted | noticed | share |", "|---|---|---|---|"]
    total: Counter[bool] = Counter()
    for name, group in found.items():
        counted = Counter(bool(each["noticed"]) for each in group)
        total += counted
        lines.append(row(name, counted))
    return "\n".join([*lines, row("all", total)])


def row(name: str, counted: Counter[bool]) -> str:
    """Return one row of the table."""
    planted = counted.total()
    share = f"{100 * counted[True] / planted:.0f} %" if planted else "-"
    return f"| {name} | {planted} | {counted[True]} | {share} |"


if __name__ == "__main__":
    main()
