"""The report on the terminal: what is broken, what was expected and seen, and how to see just that again."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from kling_contract.history.events import AnyEvent, Note
from kling_contract.reports.summary import headline
from kling_contract.reports.words import answered, sent, short
from kling_contract.rules.verdicts import ORDER, Outcome, Run, Verdict

COLOURS = {
    Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.WARN: "yellow", Verdict.INFO: "cyan",
    Verdict.KNOWN: "magenta", Verdict.STALE: "bold magenta", Verdict.NOT_RUN: "dim", Verdict.UNTESTABLE: "bold yellow",
    Verdict.KIT_ERROR: "bold red",
}  # fmt: skip
_LOUD = (Verdict.FAIL, Verdict.STALE, Verdict.KIT_ERROR, Verdict.UNTESTABLE, Verdict.WARN)
_QUIET = (Verdict.INFO, Verdict.KNOWN)
_EVENTS = 4
"""Events that are shown for a breach; the rest stands in the report."""
_WIDEST = 60


def show(run: Run, console: Console, *, everything: bool = False) -> None:
    """Print *run*: the loud verdicts in full, the quiet ones in a line; *everything* also lists what was not run."""
    by_seq = {event.seq: event for event in run.events}
    for outcome in run.having(*_LOUD):
        story = run.story(outcome.findings[0]) if outcome.findings else ""
        _in_full(outcome, story, by_seq, console)
    for outcome in run.having(*_QUIET, *((Verdict.NOT_RUN,) if everything else ())):
        console.print(_line(outcome), Text(f"  {outcome.seen}", style="dim"), sep="", soft_wrap=True)
    if not everything:
        _why_not(run, console)
    if run.having(*_LOUD, *_QUIET, Verdict.NOT_RUN):
        console.print()
    console.print(_totals(run))
    style = "bold red" if run.exit else "bold green"
    console.print(Text.assemble((headline(run), style), f" (exit {run.exit})"))


def _why_not(run: Run, console: Console) -> None:
    """What was not run, by reason."""
    reasons: dict[str, list[str]] = {}
    for outcome in run.having(Verdict.NOT_RUN):
        reasons.setdefault(outcome.reason, []).append(outcome.rule.id)
    for reason, rule_ids in reasons.items():
        count = f"{len(rule_ids)} {'rule' if len(rule_ids) == 1 else 'rules'}"
        shown = rule_ids if len(rule_ids) <= _EVENTS else [*rule_ids[: _EVENTS - 1], "…", rule_ids[-1]]
        said = Text.assemble((f"{Verdict.NOT_RUN.upper():<10} {count}: {reason}", "dim"), f"  {' '.join(shown)}")
        console.print(said, soft_wrap=True)


def _line(outcome: Outcome) -> Text:
    verdict = outcome.verdict
    return Text.assemble(
        (f"{verdict.upper():<10}", COLOURS[verdict]), (f" {outcome.rule.id}  ", "bold"), outcome.rule.sentence
    )


def _in_full(outcome: Outcome, story: str, by_seq: Mapping[int, AnyEvent], console: Console) -> None:
    console.print(_line(outcome), soft_wrap=True)
    rows = [("expected", outcome.expected), ("seen", outcome.seen), ("story", story)]
    rows += zip(("shown by", *[""] * _EVENTS), _evidence(outcome, by_seq), strict=False)
    if outcome.findings and outcome.reason:
        rows.append(("note", outcome.reason))
    for name, value in (*rows, ("again", outcome.rerun)):
        if value:
            console.print(Text.assemble((f"             {name:<9}", "dim"), value), soft_wrap=True)


def _evidence(outcome: Outcome, by_seq: Mapping[int, AnyEvent]) -> list[str]:
    """The calls that show the first breach, a line each: number, what was sent, what came back, and when."""
    seqs = outcome.findings[0].events if outcome.findings else ()
    events = [by_seq[seq] for seq in seqs if seq in by_seq and not isinstance(by_seq[seq], Note)][:_EVENTS]
    lines = []
    for event in events:
        later = f"  {event.at - events[0].at:+.2f} s" if event is not events[0] and event.at and events[0].at else ""
        back = answered(event)
        lines.append(f"#{event.seq:<5} {short(sent(event), _WIDEST)}{f' -> {back}' if back else ''}{later}")
    return lines


def _totals(run: Run) -> Text:
    found = Text()
    for verdict in ORDER:
        count = run.totals.get(str(verdict))
        if count:
            found.append(f"{count} {verdict}", style=COLOURS[verdict])
            found.append("   ")
    return found
