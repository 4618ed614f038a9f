"""Runs faults, two at a time, each against the tests that reach its line: the likeliest and quickest first."""

import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from .checkout import ROOT, environment
from .faults import Fault, change

HERE = Path(__file__).resolve().parent
KEPT = ROOT / ".mutation"
PYTEST = [
    "-q",
    "--timeout=0",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "--capture=sys",
    "--hypothesis-seed=0",
    "-m",
    "not e2e",
]
# pytest rewrites the assertions in the modules of its plugins: a function with one would not have the code that a fault replaces, and a
# faulty file would be read by a loader of pytest's own.
PYTEST += ["--assert=plain"]
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Reached:
    """What a run of a group's tests without any fault showed."""

    root: Path
    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]
    modules: list[str]

    def at(self, fault: Fault) -> tuple[bool, list[str]]:
        """Return whether a fault's line ran on import, and the tests that may notice it, in the order to try them."""
        lines = self.lines.get(fault.file, {})
        span = statement((self.root / fault.file).read_text(encoding="utf-8"), fault.line)
        here = {test for line in span for test in lines.get(str(line), ())}
        on_import = "" in here
        # What is made on import, every test of the module uses; of one that only declares, it is not known which ones do.
        tests = {test for reached in lines.values() for test in reached} if on_import else here
        tests &= self.seconds.keys()
        if on_import and not tests:
            tests = {*self.seconds}
        return on_import, self.ordered(tests, Path(fault.file).stem)

    def ordered(self, tests: Iterable[str], module: str) -> list[str]:
        """Put the files named after the module first, then the quick ones; tests of a file stay together, for their fixtures."""
        files: dict[str, list[str]] = {}
        for test in sorted(tests, key=lambda test: (self.seconds[test], test)):
            files.setdefault(test.partition("::")[0], []).append(test)

        def rank(file: str) -> tuple[bool, float]:
            return module not in file, sum(self.seconds[test] for test in files[file])

        return [test for file in sorted(files, key=rank) for test in files[file]]


def statement(source: str, line: int) -> range:
    """Return the lines of the innermost statement at *line*; of one with a body, the lines before the body."""
    best = range(line, line + 1)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt | ast.ExceptHandler) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None) or getattr(node, "cases", None)
            end = (
                body[0].lineno
                if isinstance(body, list) and body and hasattr(body[0], "lineno")
                else (node.end_lineno or 0) + 1
            )
            if line < end:
                best = range(node.lineno, max(end, line + 1))
    return best


def started(copy: Path, script: str, job: dict[str, Any], **pipes: Any) -> subprocess.Popen[str]:
    """Start a script of this folder in the copy, whose modules come before those that are installed."""
    scratch = copy.parent / "tmp"
    scratch.mkdir(exist_ok=True)
    (copy.parent / "job.json").write_text(json.dumps(job), encoding="utf-8")
    own = {"HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"), "TMPDIR": str(scratch)}
    command = [sys.executable, str(HERE / script), str(copy.parent / "job.json")]
    return subprocess.Popen(command, cwd=copy, env={**environment(copy), **own}, text=True, **pipes)


def reached(copy: Path, name: str, files: Iterable[str], tests: Iterable[str]) -> Reached:
    """Run a group's tests without any fault: tests that fail by themselves would notice everything.

    What they reach is kept for the next run; test files that changed since are run again, and all of them where the modules changed.

    Raises:
        SystemExit: They fail.
    """
    files = list(files)
    kept = kept_of(name, {file: digest(copy / file) for file in files})
    wanted = {file: digest(copy / file) for file in test_files(copy, tests)}
    stale = [file for file in wanted if kept["tests"].get(file) != wanted[file]]
    if stale:
        job = {"pytest": PYTEST, "tests": stale, "files": [str(copy / file) for file in files], "root": str(copy)}
        ran = started(copy, "reached.py", job, stdout=subprocess.PIPE)
        said, _ = ran.communicate()
        if ran.returncode:
            raise SystemExit(f"{said}\nThe tests fail without any fault: mend them first.")
        merge(kept, json.loads((copy.parent / "job.reached.json").read_text(encoding="utf-8")), stale)
        kept["tests"].update({file: wanted[file] for file in stale})
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{name}.json").write_text(json.dumps(kept), encoding="utf-8")
    seconds = {test: taken for test, taken in kept["seconds"].items() if of_file(test) in wanted}
    return Reached(copy, kept["lines"], seconds, kept["modules"])


def kept_of(name: str, modules: dict[str, str]) -> dict[str, Any]:
    """Return what is kept of a group; nothing where its modules have changed."""
    file = KEPT / f"{name}.json"
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return (
        kept if kept.get("of") == modules else {"of": modules, "tests": {}, "lines": {}, "seconds": {}, "modules": []}
    )


def merge(kept: dict[str, Any], found: dict[str, Any], stale: list[str]) -> None:
    """Put what a run of *stale* test files has found in the place of what was kept of them."""
    kept["seconds"] = {test: taken for test, taken in kept["seconds"].items() if of_file(test) not in stale} | found[
        "seconds"
    ]
    for file in {*kept["lines"], *found["lines"]}:
        old, new = kept["lines"].get(file, {}), found["lines"].get(file, {})
        kept["lines"][file] = {
            line: sorted({test for test in old.get(line, ()) if of_file(test) not in stale} | set(new.get(line, ())))
            for line in {*old, *new}
        }
    kept["modules"] = sorted({*kept["modules"], *found["modules"]})


def of_file(test: str) -> str:
    """Return the file that a test stands in."""
    return test.partition("::")[0]


def test_files(copy: Path, tests: Iterable[str]) -> Iterator[str]:
    """Yield the test files at and below *tests*."""
    for test in tests:
        found = sorted((copy / test).rglob("test_*.py")) if (copy / test).is_dir() else [copy / test]
        yield from (str(path.relative_to(copy)) for path in found)


def digest(path: Path) -> str:
    """Return what a file is recognised by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def judged(
    copy: Path, known: Reached, tests: Iterable[str], drawn: list[tuple[Fault, str]], workers: int
) -> Iterator[Outcome]:
    """Yield what became of each fault, in the order in which they were drawn; *workers* at a time.

    Raises:
        SystemExit: A test notices a fault where none was planted.
    """
    job = {"pytest": PYTEST, "tests": list(tests), "modules": known.modules}
    servers: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
    every = [started(copy, "planted.py", job, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(workers)]
    for server in every:
        servers.put(server)

    def ask(question: dict[str, Any]) -> Outcome:
        server = servers.get()
        try:
            assert server.stdin
            assert server.stdout
            server.stdin.write(json.dumps(question) + "\n")
            server.stdin.flush()
            found: Outcome = json.loads(server.stdout.readline())
            return found
        finally:
            servers.put(server)

    try:
        with ThreadPoolExecutor(workers) as pool:
            control(ask, known, drawn[0][0])
            yield from pool.map(lambda one: outcome(ask, known, *one), drawn)
    finally:
        for server in every:
            assert server.stdin
            server.stdin.close()
            server.wait()


def control(ask: Callable[[dict[str, Any]], Outcome], known: Reached, fault: Fault) -> None:
    """Plant nothing, in both ways: the quickest tests have to pass.

    Raises:
        SystemExit: A test fails all the same.
    """
    source = (known.root / fault.file).read_text(encoding="utf-8")
    tests = sorted(known.seconds, key=lambda test: known.seconds[test])[:30]
    for on_import in (True, False):
        found = ask(question(known, fault, source, source, on_import, tests))
        if found["noticed"]:
            raise SystemExit(f"Noticed by {found['by']} although no fault was planted: mend the test first.")


def outcome(ask: Callable[[dict[str, Any]], Outcome], known: Reached, fault: Fault, mutated: str) -> Outcome:
    """Return what became of one fault."""
    source = (known.root / fault.file).read_text(encoding="utf-8")
    was, now = change(source, mutated)
    place = {"file": fault.file, "line": fault.line, "operator": fault.operator, "occurrence": fault.occurrence}
    on_import, tests = known.at(fault)
    found: Outcome = {"noticed": False, "by": ""}
    if tests:
        found = ask(question(known, fault, source, mutated, on_import, tests))
        if not found["planted"]:
            found = ask(question(known, fault, source, mutated, True, tests))
    return {**place, "was": was, "now": now, "reached_by": len(tests), "noticed": found["noticed"], "by": found["by"]}


def question(
    known: Reached, fault: Fault, source: str, mutated: str, on_import: bool, tests: list[str]
) -> dict[str, Any]:
    """Return what planted.py is asked."""
    return {
        "path": str(known.root / fault.file),
        "source": source,
        "mutated": mutated,
        "on_import": on_import,
        "tests": tests,
        "seconds": int(20 + 2 * sum(known.seconds[test] for test in tests)),
    }
