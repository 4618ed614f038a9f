"""Files that are made from others: written, or with --check held against what they should be."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import click


def write(files: Mapping[Path, bytes], script: str, *, check: bool, complaints: Iterable[str] = ()) -> NoReturn:
    """Write *files*, or with *check* only complain of those that are stale, and end the program: 1 where anything is to complain of.

    script: the command that writes them.
    """
    found = list(complaints)
    for file, content in files.items():
        if not check:
            file.write_bytes(content)
        elif not file.is_file() or file.read_bytes() != content:
            found.append(f"{file}: stale; run {script}")
    for complaint in found:
        click.echo(complaint, err=True)
    raise SystemExit(1 if found else 0)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines
    )
