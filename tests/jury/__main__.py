"""`scripts/jury`: every right and every broken client and server, judged by the kit; exit code 1 when the kit errs."""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.jury.bench import quick, quick_servers
from tests.jury.playing import NAMED, Member, Played, members, play

SHARE = 0.95
"""Of the runs under load in which a timing defect must be named."""


def main() -> int:
    """Play the jury; return the exit code."""
    options = _options()
    jury = [*(members("client") if not options.servers else []), *(members("server") if not options.clients else [])]
    jury = [member for member in jury if not options.only or member.name in options.only]
    jury = [member for member in jury if member.timing or not options.timing]
    with loaded(options.load):
        runs = _side_by_side(jury, options) if options.timing or options.quick else {}
        runs |= _whole([member for member in jury if member.name not in runs], options)
    lines = _timing(jury, runs) if options.timing else _everything(jury, runs)
    print("\n".join(lines))
    if options.write:
        Path(options.write).write_text("\n".join(lines) + "\n", encoding="utf-8")
    bad = [problem for member in jury for problem in problems(member, runs[member.name], timing=options.timing)]
    for problem in bad:
        print(f"jury: {problem}", file=sys.stderr)
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/jury", description=__doc__)
    parser.add_argument(
        "--timing", action="store_true", help="only the stories about timing, of the clients that have some"
    )
    parser.add_argument("--times", type=int, default=1, help="runs of each member")
    parser.add_argument("--load", type=int, default=0, help="busy processes beside it")
    parser.add_argument("--quick", action="store_true", help="only the stories that are about each client, as CI does")
    parser.add_argument("--clients", action="store_true", help="only clients")
    parser.add_argument("--servers", action="store_true", help="only servers")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this member; repeatable")
    parser.add_argument("--workers", type=int, default=6, help="members at once")
    parser.add_argument("--write", metavar="FILE", help="write the table there")
    return parser.parse_args()


def _side_by_side(jury: list[Member], options: argparse.Namespace) -> dict[str, list[Played]]:
    """Clients in few stories, at once on one fake, and servers in few scripts; so often."""
    few = [replace(one, stories=one.timing) if options.timing else one for one in jury]
    clients, servers = ([one for one in few if one.kind == kind] for kind in ("client", "server"))
    runs: dict[str, list[Played]] = {one.name: [] for one in few}
    for number in range(options.times if few else 0):
        for played in [*(quick(clients) if clients else ()), *quick_servers(servers)]:
            runs[played.member.name].append(played)
        wrong = [f"{name}: {found[-1].wrong}" for name, found in runs.items() if found[-1].wrong]
        print(f"round {number + 1}: {'; '.join(wrong) or 'as it should be'}", file=sys.stderr, flush=True)
    return runs


def _whole(jury: list[Member], options: argparse.Namespace) -> dict[str, list[Played]]:
    """Members against everything, some at once: a run mostly waits, and whoever hangs is waited for two minutes."""
    runs: dict[str, list[Played]] = {member.name: [] for member in jury}
    with ThreadPoolExecutor(options.workers) as pool:
        for played in pool.map(play, [member for member in jury for _ in range(options.times)]):
            runs[played.member.name].append(played)
            print(f"{played.member.name}: {played.wrong or 'as it should be'}", file=sys.stderr, flush=True)
    return runs


@contextmanager
def loaded(processes: int) -> Iterator[None]:
    """Keep so many processes busy while the block runs."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def flips(runs: list[Played]) -> list[str]:
    """MUST rules that fail in some runs and pass in others."""
    must = {rule for run in runs for rule, level in run.levels.items() if level == "MUST"}
    kinds = {rule: {run.verdicts.get(rule) for run in runs} for rule in must}
    return sorted(rule for rule, found in kinds.items() if {"fail", "pass"} <= found)


def problems(member: Member, runs: list[Played], *, timing: bool) -> Iterator[str]:
    """What the kit got wrong about *member*."""
    for rule in flips(runs):
        yield f"{member.name}: {rule} flips"
    for run in runs:
        if run.problem or (member.right and run.wrong):
            yield f"{member.name}: {run.wrong}"
    least = SHARE if timing else 1.0
    for rule in member.names:
        share = sum(run.verdicts.get(rule) in NAMED for run in runs) / len(runs)
        if share < least:
            yield f"{member.name}: {rule} named in {share:.0%} of {len(runs)}"


def _everything(jury: list[Member], runs: dict[str, list[Played]]) -> list[str]:
    lines = ["| member | is | fail | warn | info | s |", "|---|---|---|---|---|---|"]
    for member in jury:
        run = runs[member.name][0]
        cells = (" ".join(run.named(kind)) or "-" for kind in NAMED)
        about = "right" if member.right else f"broken: {' '.join(member.names)}"
        lines.append(f"| {member.name} | {about} | {' | '.join(cells)} | {run.seconds:.0f} |")
    return lines


def _timing(jury: list[Member], runs: dict[str, list[Played]]) -> list[str]:
    lines = ["| member | is | runs | named (runs) | MUST flips |", "|---|---|---|---|---|"]
    for member in jury:
        found = runs[member.name]
        named = Counter(rule for run in found for rule in run.named())
        shown = ", ".join(f"{rule} {count}" for rule, count in sorted(named.items())) or "-"
        about = "right" if member.right else f"broken: {' '.join(member.names)}"
        lines.append(f"| {member.name} | {about} | {len(found)} | {shown} | {' '.join(flips(found)) or '-'} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
