"""Takes out the guards of docs/security.md one at a time, in a copy of the checkout: the tests named with each must fail.

`scripts/guards [NAME...]` runs all of them, or those whose names contain a word. It takes minutes and is no part of CI;
`tests/test_guards.py` holds there that every guard is still where the list says.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from mutating.checkout import copy_checkout, environment


@dataclass(frozen=True)
class Guard:
    """A line that protects something: with *old* replaced by *new* in *file*, *tests* fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


GUARDS = [Guard(**one) for one in yaml.safe_load(Path(__file__).with_name("guards.yaml").read_text(encoding="utf-8"))]


def noticed(copy: Path, guard: Guard) -> bool:
    """Whether the guard's tests fail without it."""
    path = copy / guard.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(guard.old, guard.new, 1), encoding="utf-8")
    own = {"PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_PROFILE": "ci"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *guard.tests.split(),
    ]
    try:
        env = {**environment(copy), **own}
        ran = subprocess.run(command, cwd=copy, env=env, capture_output=True, timeout=600, check=False)
        return ran.returncode == 1
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(text, encoding="utf-8")


def main(words: list[str]) -> int:
    """Take out each guard whose name contains one of *words*; 1 where one is missed by no test."""
    chosen = [guard for guard in GUARDS if not words or any(word in guard.name for word in words)]
    missed = []
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        copy = Path(folder) / "copy"
        copy_checkout(copy)
        for guard in chosen:
            if not noticed(copy, guard):
                missed.append(guard.name)
            state = "NOT NOTICED" if missed[-1:] == [guard.name] else "noticed"
            print(f"{state:12} {guard.name}", flush=True)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} guards are noticed when they are taken out", *missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
