"""Rows as aligned columns of text, for terminals and for what reads them in pipes."""

from collections.abc import Collection, Sequence


def columns(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Return *rows* as aligned columns, never folded or cut, so that they can be searched; control characters are taken out.

    right: the numbers of the columns that are aligned to the right.
    """
    if not rows:
        return ""
    from rich.console import Console  # slow to import, and most commands print no columns
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for number, _ in enumerate(rows[0]):
        table.add_column(no_wrap=True, justify="right" if number in right else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=sum(max(map(len, column)) * 2 + 2 for column in zip(*rows, strict=True)), color_system=None)
    with console.capture() as shown:
        console.print(table)
    return "\n".join(line.rstrip() for line in shown.get().splitlines())
