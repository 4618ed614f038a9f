"""`kling-contract rules [ID]`: the rulebook, or one rule of it."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kling_contract.history.events import wall
from kling_contract.reading.contract import shipped
from kling_contract.reports.terminal import say
from kling_contract.rules.legend import GRADES, WHERE
from kling_contract.rules.pages import example, sources, why
from kling_contract.rules.rulebook import Rule
from kling_contract.rules.rulebook import rules as rulebook
from kling_contract.rules.verdicts import SetupError
from kling_openapi.evidence import BadEvidence, about, read_all


@click.command()
@click.argument("rule_id", required=False, metavar="[ID]")
def command(rule_id: str | None) -> None:
    """Show the rulebook, one group (SV) or one rule (SV-08)."""
    book = rulebook(shipped())
    console = Console()
    if rule_id is None or any(rule.id.startswith(rule_id.upper() + "-") for rule in book.values()):
        prefix = (rule_id or "").upper()
        _list([rule for rule in book.values() if rule.id.startswith(prefix)], console)
    elif rule_id.upper() in book:
        _show(book[rule_id.upper()], console)
    else:
        raise SetupError(f"no such rule: {rule_id}; `kling-contract rules` lists them")


def _evidence(rule: Rule) -> str:
    """What runs against the service said of a rule that no document promises, and how long ago."""
    try:
        every = read_all(Path("evidence"))
    except BadEvidence as error:
        raise SetupError(str(error)) from error
    today = datetime.fromtimestamp(wall().at, UTC).date()
    found = [f"{says}, {one.age(today)} ({one.name})" for one, says in about(every, "rules", rule.id)]
    return (
        "; ".join(found)
        or "none yet in ./evidence; `kling-contract server --evidence NAME` against the service makes some"
    )


def _list(found: list[Rule], console: Console) -> None:
    for group in dict.fromkeys(rule.group for rule in found):
        members = [rule for rule in found if rule.group == group]
        console.print(f"\n[bold]{group}[/bold]  [dim]{len(members)} rules[/dim]")
        table = Table.grid(padding=(0, 2))
        for rule in members:
            table.add_row(rule.id, rule.level, rule.grade, ",".join(rule.where), rule.sentence)
        console.print(table)


def _show(rule: Rule, console: Console) -> None:
    console.print(f"[bold]{rule.id}[/bold]  {rule.group}", highlight=False)
    console.print(f"{rule.sentence}\n", highlight=False, markup=False)
    table = Table.grid(padding=(0, 2))
    table.add_row("level", rule.level)
    table.add_row("grade", f"{rule.grade}: {GRADES[rule.grade]}")
    table.add_row("where", "; ".join(f"{name}: {WHERE[name]}" for name in rule.where))
    for name, value in rule.params.items():
        table.add_row(name, str(value))
    table.add_row("source", "; ".join(sources(rule)))
    if rule.grade in ("S", "C"):
        table.add_row("evidence", _evidence(rule))
    table.add_row("why", why(rule.id))
    console.print(table, highlight=False)
    shown = example(rule.id)
    for title, text in (("A bad exchange", shown.bad), ("A good exchange", shown.good)):
        console.print(f"\n[bold]{title}[/bold]")
        say(console, text)
        if text is shown.bad:
            say(console, f"expected {shown.expected}, seen {shown.seen}", "dim")
