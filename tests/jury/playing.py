"""One member of the jury, played: the kit's command line in a process of its own, and the verdicts of its report."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

HERE = Path(__file__).parent
NAMED = ("fail", "warn", "info")
_PATIENCE = 600.0


@dataclass(frozen=True)
class Member:
    """One client or server. right: it must break no MUST; names: what must be named for its defect.

    stories: those about it; of a server, scripts of the run.
    """

    name: str
    run: tuple[str, ...]
    kind: str
    right: bool
    names: tuple[str, ...] = ()
    stories: tuple[str, ...] = ()
    timing: tuple[str, ...] = ()
    slow: bool = False

    @property
    def command(self) -> list[str]:
        """Its command, with the interpreter that runs this."""
        program, script, *rest = self.run
        found = sys.executable if program == "python" else program
        return [found, str(HERE / f"{self.kind}s" / script), *rest]


@dataclass
class Played:
    """What came of one run. verdicts: of each rule, with its level."""

    member: Member
    verdicts: dict[str, str] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""

    def named(self, *kinds: str) -> list[str]:
        """The rules with one of these verdicts."""
        return [rule for rule, verdict in self.verdicts.items() if verdict in (kinds or NAMED)]

    @property
    def wrong(self) -> str:
        """What the kit got wrong; empty when nothing."""
        if self.problem:
            return self.problem
        if self.member.right and self.named("fail", "kit-error"):
            return "; ".join(f"{rule}: {self.seen[rule]}" for rule in self.named("fail", "kit-error"))
        missed = [rule for rule in self.member.names if self.verdicts.get(rule) not in NAMED]
        return f"not named: {', '.join(missed)}" if missed else ""


def members(kind: str) -> list[Member]:
    """The jury of one kind, `client` or `server`; none where there is no list."""
    path = HERE / f"{kind}s.yaml"
    if not path.is_file():
        return []
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Member(kind=kind, right=part == "right", **{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})
        for part in ("right", "broken")
        for row in listed.get(part, ())
    ]  # fmt: skip


def play(member: Member, stories: Iterable[str] = ()) -> Played:
    """Play *member*, a client in *stories* only, where any are named."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="jury-") as folder:
        report = Path(folder) / "report"
        if member.kind == "client":
            chosen = [word for story in stories for word in ("--story", story)]
            problem = _run(
                [*_KIT, "client", "--name", member.name, "--report", str(report), *chosen, "--", *member.command]
            )
        else:
            problem = _serve(member, report)
        played = Played(member, problem=problem)
        path = report / "report.json"
        if path.is_file():
            rules = json.loads(path.read_bytes())["rules"]
            played.verdicts = {rule["id"]: rule["verdict"] for rule in rules}
            played.levels = {rule["id"]: rule["level"] for rule in rules}
            played.seen = {rule["id"]: str(rule.get("seen", "")) for rule in rules}
            played.problem = ""
    played.seconds = time.perf_counter() - began
    return played


_KIT = [sys.executable, "-c", "from kling_contract.cli.main import main; main()"]


def _run(command: Sequence[str]) -> str:
    """Run the kit; return what it said where it wrote no report."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"the kit did not end in {_PATIENCE:g} s"
    return f"exit code {done.returncode}: {(done.stderr or done.stdout)[-300:]}"


KEYS = ("sk-jury-one", "sk-jury-two")


@contextmanager
def serving(member: Member) -> Iterator[str]:
    """A server of the jury, whose first line is `{"url": ...}`, until the block ends."""
    with subprocess.Popen(member.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


def _serve(member: Member, report: Path) -> str:
    """Judge a server of the jury; return what the kit said where it wrote no report."""
    try:
        with serving(member) as url:
            return _run([*_KIT, "server", url, "--api-key", KEYS[0], "--second-key", KEYS[1], "--report", str(report)])
    except (ValueError, KeyError) as error:
        return f"{member.name} did not say where it listens: {error!r}"
