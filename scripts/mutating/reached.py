"""Runs the tests of a group once, unharmed, and writes which of them reach which line: `python reached.py JOB.json`.

Own code rather than pytest-cov, which starts after the pytest plugins of the project are imported: what runs on import has to be known.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import coverage
import pytest


class Watch:
    """A pytest plugin that says to coverage which test runs, and notes how much processor time each takes."""

    def __init__(self, watched: coverage.Coverage) -> None:
        """Watch through *watched*."""
        self.watched = watched
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Name the test for as long as it runs."""
        began = time.process_time()
        self.watched.switch_context(item.nodeid)
        ran = yield
        self.watched.switch_context("between tests")
        self.seconds[item.nodeid] = time.process_time() - began
        return ran


def main(file: Path) -> int:
    """Write `imports`, `lines` and `seconds` next to the job."""
    job = json.loads(file.read_text(encoding="utf-8"))
    watched = coverage.Coverage(data_file=None, include=job["files"], config_file=False)
    watch = Watch(watched)
    watched.start()
    code = pytest.main([*job["pytest"], *job["tests"]], plugins=[watch])
    watched.stop()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(code)
    data = watched.get_data()
    lines: dict[str, dict[int, list[str]]] = {
        str(Path(path).relative_to(job["root"])): {
            line: sorted(tests) for line, tests in data.contexts_by_lineno(path).items()
        }
        for path in data.measured_files()
    }
    modules = sorted(name for name, module in sys.modules.items() if foreign(module, job["root"]))
    found = {"lines": lines, "seconds": watch.seconds, "modules": modules}
    file.with_suffix(".reached.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


def foreign(module: Any, root: str) -> bool:
    """Return whether a module comes from a package, and can be imported before any test is collected."""
    origin = getattr(module, "__file__", None) or ""
    # What Hypothesis prepares before pytest has loaded its plugin it warns of, and a warning is an error.
    own = any(word in module.__name__ for word in ("pytest", "hypothesis"))
    return "site-packages" in origin and not origin.startswith(root) and not own


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
