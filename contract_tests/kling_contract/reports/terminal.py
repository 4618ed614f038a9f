"""The report on the terminal: what is broken, what was expected and seen, and how to see just that again."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from kling_contract.history.events import AnyEvent, Note
from kling_contract.reports.summary import headline
from kling_contract.reports.words import answered, sent, short
from kling_contract.rules.verdicts import ORDER, Result, Run, Verdict

COLOURS = {
    Result.PASS: "green", Result.FAIL: "bold red", Result.WARN: "yellow", Result.INFO: "cyan",
    Result.KNOWN: "magenta", Result.STALE: "bold magenta", Result.NOT_RUN: "dim", Result.UNTESTABLE: "bold yellow",
    Result.KIT_ERROR: "bold red",
}  # fmt: skip
_LOUD = (Result.FAIL, Result.STALE, Result.KIT_ERROR, Result.UNTESTABLE, Result.WARN)
_QUIET = (Result.INFO, Result.KNOWN)
_EVENTS = 4
"""Events that are shown for a breach; the rest stands in the report."""
_WIDEST = 60


def say(console: Console, text: str, style: str = "") -> None:
    """Print *text* as it stands, in lines as long as they are."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def show(run: Run, console: Console, *, everything: bool = False) -> None:
    """Print *run*: the loud verdicts in full, the quiet ones in a line; *everything* also lists what was not run."""
    by_seq = {event.seq: event for event in run.events}
    for verdict in run.having(*_LOUD):
        story = run.story(verdict.findings[0]) if verdict.findings else ""
        _in_full(verdict, story, by_seq, console)
    for verdict in run.having(*_QUIET, *((Result.NOT_RUN,) if everything else ())):
        console.print(_line(verdict), Text(f"  {verdict.seen}", style="dim"), sep="", soft_wrap=True)
    if not everything:
        _why_not(run, console)
    if run.having(*_LOUD, *_QUIET, Result.NOT_RUN):
        console.print()
    console.print(_totals(run))
    style = "bold red" if run.exit else "bold green"
    console.print(Text.assemble((headline(run), style), f" (exit {run.exit})"))


def _why_not(run: Run, console: Console) -> None:
    """What was not run, by reason."""
    reasons: dict[str, list[str]] = {}
    for verdict in run.having(Result.NOT_RUN):
        reasons.setdefault(verdict.reason, []).append(verdict.rule.id)
    for reason, rule_ids in reasons.items():
        count = f"{len(rule_ids)} {'rule' if len(rule_ids) == 1 else 'rules'}"
        shown = rule_ids if len(rule_ids) <= _EVENTS else [*rule_ids[: _EVENTS - 1], "…", rule_ids[-1]]
        said = Text.assemble((f"{Result.NOT_RUN.upper():<10} {count}: {reason}", "dim"), f"  {' '.join(shown)}")
        console.print(said, soft_wrap=True)


def _line(verdict: Verdict) -> Text:
    result = verdict.result
    return Text.assemble(
        (f"{result.upper():<10}", COLOURS[result]), (f" {verdict.rule.id}  ", "bold"), verdict.rule.sentence
    )


def _in_full(verdict: Verdict, story: str, by_seq: Mapping[int, AnyEvent], console: Console) -> None:
    console.print(_line(verdict), soft_wrap=True)
    rows = [("expected", verdict.expected), ("seen", verdict.seen), ("story", story)]
    rows += zip(("shown by", *[""] * _EVENTS), _evidence(verdict, by_seq), strict=False)
    if verdict.findings and verdict.reason:
        rows.append(("note", verdict.reason))
    for name, value in (*rows, ("again", verdict.rerun)):
        if value:
            console.print(Text.assemble((f"             {name:<9}", "dim"), value), soft_wrap=True)


def _evidence(verdict: Verdict, by_seq: Mapping[int, AnyEvent]) -> list[str]:
    """The calls that show the first breach, a line each: number, what was sent, what came back, and when."""
    seqs = verdict.findings[0].events if verdict.findings else ()
    events = [by_seq[seq] for seq in seqs if seq in by_seq and not isinstance(by_seq[seq], Note)][:_EVENTS]
    lines = []
    for event in events:
        later = f"  {event.at - events[0].at:+.2f} s" if event is not events[0] and event.at and events[0].at else ""
        back = answered(event)
        lines.append(f"#{event.seq:<5} {short(sent(event), _WIDEST)}{f' -> {back}' if back else ''}{later}")
    return lines


def _totals(run: Run) -> Text:
    found = Text()
    for result in ORDER:
        count = run.totals.get(str(result))
        if count:
            found.append(f"{count} {result}", style=COLOURS[result])
            found.append("   ")
    return found
