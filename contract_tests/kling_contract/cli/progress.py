"""The bar that shows how far a run is: on a terminal, nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from kling_contract.driving.parts import Parts, Progress


@contextmanager
def shown_progress(console: Console) -> Iterator[Parts]:
    """Parts that *console* shows while the block runs; the bar is gone at its end."""
    if not console.is_terminal:
        yield Parts()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking at the target", total=None)

        def tell(now: Progress) -> None:
            bar.update(task, completed=now.done, total=now.planned or None, description=now.name)

        yield Parts(tell)
