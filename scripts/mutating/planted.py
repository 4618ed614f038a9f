"""Plants faults in a running Python and has the tests judge them: `python planted.py JOB.json`, a fault for each line of input.

Importing and collecting costs more than most tests. So it is done once, and each fault gets a fork of its own. A fault in a
function is planted by giving the function its new code. Where a line ran while modules were imported, that would come too late:
the fork is then made from a process that has imported packages only, and imports the faulty file itself. No file is changed.
"""

import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TextIO

import pytest

Job = dict[str, Any]
NOT_PLANTED = 70
"""What a fork ends with where the fault cannot be given to functions that are there."""
MEMORY = 6 * 2**30
PAUSE = 0.02
HANGS = 10
"""How often the processor time that a fault may take it may take by the clock."""
IDLE = 60
"""After so many seconds in which a fork got no hundredth of a processor it hangs: what is ready to run gets more on a busy machine."""


def main(file: Path) -> None:
    """Serve faults until the input ends."""
    job = json.loads(file.read_text(encoding="utf-8"))
    faults = os.fdopen(os.dup(0), encoding="utf-8")
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in job["modules"]:
            with suppress(Exception):
                importlib.import_module(name)
    to_collected, from_collected = collected(job)
    for line in faults:
        fault = json.loads(line)
        if fault["on_import"]:
            answer = in_fork(fault, lambda say, fault=fault: from_import(job, fault, say))
        else:
            to_collected.write(line)
            to_collected.flush()
            answer = json.loads(from_collected.readline())
        results.write(json.dumps(answer) + "\n")
        results.flush()


def collected(job: Job) -> tuple[TextIO, TextIO]:
    """Fork a process that collects the tests and then serves faults; return its input and output."""
    (ask, to_fork), (from_fork, reply) = os.pipe(), os.pipe()
    if not os.fork():
        os.close(to_fork)
        os.close(from_fork)
        serving = Serving(os.fdopen(ask, encoding="utf-8"), os.fdopen(reply, "w", encoding="utf-8"))
        os._exit(int(pytest.main([*job["pytest"], *job["tests"]], plugins=[serving])))
    os.close(ask)
    os.close(reply)
    return os.fdopen(to_fork, "w", encoding="utf-8"), os.fdopen(from_fork, encoding="utf-8")


class Failing:
    """A pytest plugin that keeps the first test that fails."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.first = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep which one failed."""
        if report.failed and not self.first:
            self.first = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not even be imported."""
        if report.failed and not self.first:
            self.first = report.nodeid


class Serving:
    """A pytest plugin that, instead of running what was collected, serves faults, each in a fork that runs some of it."""

    def __init__(self, faults: TextIO, results: TextIO) -> None:
        """Read *faults* and write *results*, a line of JSON for each."""
        self.faults, self.results = faults, results

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Serve until the input ends; in a fork, let pytest run the tests that were chosen."""
        while line := self.faults.readline():
            fault = json.loads(line)
            answer = in_fork(fault, lambda say, fault=fault: patched(session, fault, say))
            self.results.write(json.dumps(answer) + "\n")
            self.results.flush()
        return True


def in_fork(fault: Job, run: Callable[[Callable[[str], None]], int]) -> Job:
    """Run tests in a fork for as long as the fault may take; return whether one failed, and which."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        # Processor time, so that a busy machine does not end what would have come to its end.
        resource.setrlimit(resource.RLIMIT_CPU, (fault["seconds"], fault["seconds"] + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = NOT_PLANTED
        try:
            code = run(lambda first: void(os.write(write, first.encode()[:4000])))
        except BaseException as error:
            os.write(write, repr(error).encode()[:4000])
        os._exit(code)
    os.close(write)
    code = waited(pid, fault["seconds"] * HANGS)
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    os.set_blocking(read, False)
    with os.fdopen(read, "rb") as pipe:
        first = (pipe.read() or b"").decode(errors="replace")
    by = first or ENDED.get(code, f"exit code {code}" if code else "")
    return {"noticed": code != 0, "planted": code != NOT_PLANTED, "by": by}


ENDED: dict[int | None, str] = {
    None: "hangs",
    -signal.SIGXCPU: "processor time",
    -signal.SIGKILL: "killed",
}
"""What is said of a fork that came to no end by itself."""


def void(_: object) -> None:
    """Return None."""


def waited(pid: int, seconds: float) -> int | None:
    """Return a process's exit code; None after having ended one that hangs."""
    before, every = 0.0, int(IDLE / PAUSE)
    for number in range(1, int(seconds / PAUSE)):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(PAUSE)  # noqa: TID251 - no test, and part of nothing that is installed
        if number % every == 0:
            used = processor_seconds(pid)
            if used is not None and used - before < IDLE / 100:
                break
            before = used or 0.0
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def processor_seconds(pid: int) -> float | None:
    """Return how much processor time a process and the children that it waited for have had; None where the system does not say."""
    try:
        shown = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return sum(map(int, shown.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


def patched(session: pytest.Session, fault: Job, say: Callable[[str], None]) -> int:
    """Plant the fault in the functions that are there, and run the chosen tests.

    Raises:
        ValueError: The fault changes what functions there are, or what they take from those around them; or no function has the code.
        SyntaxError: Python warns of it.
    """
    with warnings.catch_warnings():
        # What Python warns of (`is` with a literal) may fail where the module is imported, so that is what has to be tried.
        warnings.simplefilter("error", SyntaxWarning)
        before, after = (compile(fault[key], fault["path"], "exec", dont_inherit=True) for key in ("source", "mutated"))
    new = {old: other for old, other in zip(codes(before), codes(after), strict=True) if old != other}
    here = (it for it in gc.get_objects() if isinstance(it, FunctionType) and it.__code__.co_filename == fault["path"])
    functions = [function for function in here if function.__code__ in new]
    if new and not functions:
        raise ValueError("no function has the code that is to be replaced")
    for function in functions:
        function.__code__ = new[function.__code__]
    failing = Failing()
    session.config.pluginmanager.register(failing)
    items = chosen(session.items, fault)
    for number, item in enumerate(items):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=items[number + 1] if items[number + 1 :] else None)
        if failing.first:
            say(failing.first)
            return 1
    return 0


def chosen(items: list[pytest.Item], fault: Job) -> list[pytest.Item]:
    """Return the tests chosen for a fault, in their order.

    Raises:
        ValueError: One of them is not there.
    """
    there = {item.nodeid: item for item in items}
    if missing := [name for name in fault["tests"] if name not in there]:
        raise ValueError(f"not collected: {missing}")
    return [there[name] for name in fault["tests"]]


class Choosing:
    """A pytest plugin that runs the chosen tests only."""

    def __init__(self, fault: Job) -> None:
        """Choose those of *fault*."""
        self.fault = fault

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the chosen ones, in their order."""
        items[:] = chosen(items, self.fault)


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all those in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from codes(const)


def from_import(job: Job, fault: Job, say: Callable[[str], None]) -> int:
    """Have the faulty file imported in place of the right one, and run the chosen tests."""
    right = SourceFileLoader.get_code

    def faulty(self: SourceFileLoader, name: str) -> CodeType | None:
        if self.path != fault["path"]:
            return right(self, name)
        return compile(fault["mutated"], self.path, "exec", dont_inherit=True)

    SourceFileLoader.get_code = faulty  # type: ignore[method-assign]
    failing = Failing()
    places = list(dict.fromkeys(name.partition("::")[0] for name in fault["tests"]))
    code = pytest.main([*job["pytest"], "-x", *places], plugins=[failing, Choosing(fault)])
    say(failing.first or f"pytest ended with {int(code)}" if code else "")
    return int(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
