"""The stopwatch of docs/five-minutes.md: each block of the page in a fresh folder, with the time that it took."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "five-minutes.md"
REPOSITORY = "https://github.com/klingkit/klingkit"
_SECTION = re.compile(r"^## (?P<title>.+?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MOST = 1800


def ways() -> dict[str, str]:
    """The page's blocks of commands by their titles."""
    found = {}
    for section in _SECTION.finditer(PAGE.read_text(encoding="utf-8")):
        block = _BLOCK.search(section["text"])
        if block:
            found[section["title"]] = block[1]
    return found


def wheel(folder: Path) -> str:
    """A wheel of this checkout."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "-q",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([*pip, str(ROOT)], check=True)
    return str(next(folder.glob("*.whl")))


def run(commands: str, klingkit: str) -> tuple[int, float, float]:
    """Run *commands* in a fresh folder; return exit code, seconds, and seconds of processor. What they leave running is ended."""
    commands = commands.replace(f"git clone {REPOSITORY}", f"git clone -q {ROOT}")
    if ROOT.name != "klingkit":
        commands = commands.replace(f"git clone -q {ROOT}", f"git clone -q {ROOT} klingkit")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("KLING", "VIRTUAL_ENV", "PYTHON"))
    }
    with tempfile.TemporaryDirectory(prefix="five-minutes-") as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()  # noqa: TID251 - a stopwatch
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", commands + "\nkill $(jobs -p) 2>/dev/null || true; wait"],
            cwd=folder,
            env={**environment, "KLINGKIT": klingkit},
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=_MOST)
        finally:
            seconds = time.monotonic() - began  # noqa: TID251
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return code, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Run the ways that were named, or all."""
    every = ways()
    wanted = sys.argv[1:] or list(every)
    unknown = [title for title in wanted if title not in every]
    if unknown:
        print(f"stopwatch: no such title: {', '.join(unknown)}; there are {', '.join(every)}", file=sys.stderr)
        return 2
    results = []
    with tempfile.TemporaryDirectory(prefix="five-minutes-wheel-") as folder:
        klingkit = os.environ.get("KLINGKIT") or wheel(Path(folder))
        for title in wanted:
            print(f"--- {title}", flush=True)
            results.append((title, *run(every[title], klingkit)))
    print("\n| way | exit | seconds | of processor |\n|---|---|---|---|")
    for title, code, seconds, processor in results:
        print(f"| {title} | {code} | {seconds:.0f} | {processor:.0f} |")
    return max((code for _, code, _, _ in results), default=0)


if __name__ == "__main__":
    sys.exit(main())
