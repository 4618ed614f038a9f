"""A comparison on the terminal, as Markdown, HTML and JSON, and as one number."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console

from kling_contract.comparing.differences import Comparison, Difference, event_json
from kling_contract.reports.terminal import say
from kling_contract.rules.verdicts import SetupError

_SHOWN_STEPS = 3
_ENVIRONMENT = Environment(
    loader=PackageLoader("kling_contract.comparing", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def show(found: Comparison, console: Console) -> None:
    """Print *found*; the last line is the number."""
    say(console, f"A: {found.a}\nB: {found.b}\n{found.compared} steps compared")
    for difference in found.differences:
        _line(difference, console)
    for name in found.stale:
        say(console, f"STALE      {name}: allowed, and there is no such difference; take it out of the allow file")
    if found.single:
        say(console, f"not compared, since only one side has it: {_some(found.single)}", "dim")
    say(console, f"differences: {found.number}", "bold red" if found.exit else "bold green")


def _line(difference: Difference, console: Console) -> None:
    head = f"{difference.verdict.upper():<15}{difference.id}"
    say(console, head, "dim" if difference.verdict == "allowed" else "bold")
    rows = [
        ("A", difference.a),
        ("B", difference.b),
        ("breaks", ", ".join(difference.rules)),
        ("reason", difference.reason),
        ("seen in", _some(difference.steps)),
    ]
    for name, value in rows:
        if value:
            say(console, f"               {name:<8} {value}")


def _some(names: Sequence[str]) -> str:
    """The first of *names*, and how many more there are."""
    more = len(names) - _SHOWN_STEPS
    return "; ".join(names[:_SHOWN_STEPS]) + (f" and {more} more" if more > 0 else "")


def markdown(found: Comparison) -> str:
    """The comparison as Markdown."""
    lines = [
        f"# {found.number} differences",
        "",
        f"A: `{found.a}`  ",
        f"B: `{found.b}`  ",
        f"{found.compared} steps compared",
        "",
    ]
    if found.differences:
        lines += ["| difference | A | B | class | rules | seen in |", "|---|---|---|---|---|---|"]
    for one in found.differences:
        verdict = one.verdict + (f": {one.reason}" if one.reason else "")
        cells = (f"`{one.id}`", one.a, one.b, verdict, ", ".join(one.rules), "; ".join(one.steps))
        lines.append("| " + " | ".join(cell.replace("|", "\\\\|").replace("\\n", " ") for cell in cells) + " |")
    lines += [f"- stale allowance: `{name}`" for name in found.stale]
    return "\n".join(lines) + "\n"


def document(found: Comparison) -> dict[str, object]:
    """The comparison as JSON."""
    return {
        "a": found.a, "b": found.b, "number": found.number, "compared": found.compared, "exit": found.exit,
        "differences": [event_json(one) for one in found.differences], "stale": list(found.stale), "single": list(found.single),
    }  # fmt: skip


def write(found: Comparison, folder: Path) -> None:
    """Write compare.json, compare.md and compare.html into *folder*.

    Raises:
        SetupError: they cannot be written.
    """
    page = _ENVIRONMENT.get_template("compare.html.j2")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compare.json").write_bytes(orjson.dumps(document(found), option=orjson.OPT_INDENT_2))
        (folder / "compare.md").write_text(markdown(found), encoding="utf-8")
        (folder / "compare.html").write_text(page.render(c=found), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"--report {folder}: {error.strerror}") from error
