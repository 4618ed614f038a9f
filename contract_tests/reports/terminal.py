"""The report on the terminal: what is broken, what was expected and seen, and how to see just that again."""

from rich.console import Console
from rich.text import Text

from contract_tests.reports.summary import headline
from contract_tests.verdicts import ORDER, Outcome, Run, Verdict

COLOURS = {
    Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.WARN: "yellow", Verdict.INFO: "cyan",
    Verdict.KNOWN: "magenta", Verdict.STALE: "bold magenta", Verdict.NOT_RUN: "dim", Verdict.UNTESTABLE: "bold yellow",
    Verdict.KIT_ERROR: "bold red",
}  # fmt: skip
_LOUD = (Verdict.FAIL, Verdict.STALE, Verdict.KIT_ERROR, Verdict.UNTESTABLE, Verdict.WARN)
_QUIET = (Verdict.INFO, Verdict.KNOWN)


def show(run: Run, console: Console, *, everything: bool = False) -> None:
    """Print *run*: the loud verdicts in full, the quiet ones in a line; *everything* also lists what was not run."""
    for outcome in run.having(*_LOUD):
        _in_full(outcome, console)
    for outcome in run.having(*_QUIET, *((Verdict.NOT_RUN,) if everything else ())):
        console.print(_line(outcome), Text(f"  {outcome.seen}", style="dim"), sep="", soft_wrap=True)
    if run.having(*_LOUD, *_QUIET):
        console.print()
    console.print(_totals(run))
    style = "bold red" if run.exit else "bold green"
    console.print(Text.assemble((headline(run), style), f" (exit {run.exit})"))


def _line(outcome: Outcome) -> Text:
    verdict = outcome.verdict
    return Text.assemble(
        (f"{verdict.upper():<10}", COLOURS[verdict]), (f" {outcome.rule.id}  ", "bold"), outcome.rule.sentence
    )


def _in_full(outcome: Outcome, console: Console) -> None:
    console.print(_line(outcome), soft_wrap=True)
    rows = [("expected", outcome.expected), ("seen", outcome.seen)]
    if outcome.findings and outcome.findings[0].events:
        rows.append(("events", ", ".join(f"#{seq}" for seq in outcome.findings[0].events)))
    if outcome.findings and outcome.reason:
        rows.append(("note", outcome.reason))
    for name, value in (*rows, ("again", outcome.rerun)):
        if value:
            console.print(Text.assemble((f"             {name:<9}", "dim"), value), soft_wrap=True)


def _totals(run: Run) -> Text:
    found = Text()
    for verdict in ORDER:
        count = run.totals.get(str(verdict))
        if count:
            found.append(f"{count} {verdict}", style=COLOURS[verdict])
            found.append("   ")
    return found
