"""Results as a table on the terminal, as Markdown and as JSON."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from load import Sample
from rich.console import Console
from rich.table import Table

CLEAN = 0.10  # of one core: a load during which others took more is not counted, as in peers.md
MB = 1e6
PAPER = 150  # columns of a table that goes to a file or a pipe
COLUMNS = (
    "target",
    "samples",
    "cold start s, min / median",
    "RSS MB, start → after",
    "POST /s [range]",
    "POST p50 / p99 ms",
    "GET /s [range]",
    "GET p50 / p99 ms",
)


@dataclass(slots=True)
class Row:
    """Everything measured of one target; memory in bytes, times in seconds."""

    name: str
    about: str
    cold_starts: list[float] = field(default_factory=list)
    rss_start: list[int] = field(default_factory=list)
    rss_after: list[int] = field(default_factory=list)
    loads: dict[str, list[Sample]] = field(default_factory=lambda: {"POST": [], "GET": []})
    trouble: str = ""

    def counted(self, method: str) -> list[Sample]:
        """The clean samples; where every one was disturbed, the least disturbed one, which :meth:`remark` tells."""
        samples = self.loads[method]
        clean = [sample for sample in samples if sample.disturbed <= CLEAN]
        return clean or sorted(samples, key=lambda sample: sample.disturbed)[:1]

    def speed(self, method: str) -> float:
        """Median requests a second; 0 when nothing was measured."""
        samples = self.counted(method)
        return median(sample.per_second for sample in samples) if samples else 0.0

    def failed(self) -> int:
        """Requests that got no good answer, over all loads."""
        return sum(sample.failed for samples in self.loads.values() for sample in samples)

    def remark(self) -> str:
        """What the reader must know before trusting the row; empty when there is nothing."""
        remarks = [self.trouble] if self.trouble else []
        worst = [max((s.disturbed for s in self.counted(method)), default=0.0) for method in self.loads]
        if max(worst) > CLEAN:
            remarks.append(f"no clean sample: others took up to {max(worst):.0%} of a core")
        if self.failed():
            remarks.append(f"{self.failed()} requests failed")
        return "; ".join(remarks)


def machine() -> dict[str, Any]:
    """The machine, as far as a reader needs it to compare."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def cells(row: Row) -> list[str]:
    """One row of the table, a text for each of COLUMNS."""
    counts = "/".join(str(len(row.counted(method))) for method in row.loads)
    starts = f"{min(row.cold_starts):.2f} / {median(row.cold_starts):.2f}" if row.cold_starts else "-"
    memory = f"{median(row.rss_start) / MB:.0f} → {median(row.rss_after) / MB:.0f}" if row.rss_after else "-"
    return [row.name, counts, starts, memory, *load_cells(row, "POST"), *load_cells(row, "GET")]


def load_cells(row: Row, method: str) -> list[str]:
    """Speed and latency of one method."""
    samples = row.counted(method)
    if not samples:
        return ["-", "-"]
    speeds = [sample.per_second for sample in samples]
    p50, p99 = median(sample.p50_ms for sample in samples), median(sample.p99_ms for sample in samples)
    return [f"{row.speed(method):,.0f} [{min(speeds):,.0f}..{max(speeds):,.0f}]", f"{p50:.1f} / {p99:.1f}"]


def show(rows: list[Row], title: str) -> None:
    """Print the table and the remarks below it."""
    table = Table(*COLUMNS, title=title)
    for row in rows:
        table.add_row(*cells(row))
    console = Console()
    if not console.is_terminal:
        console.width = PAPER
    console.print(table)
    for row in rows:
        if row.remark():
            console.print(f"{row.name}: {row.remark()}", style="yellow", markup=False)


def markdown(rows: list[Row], title: str, verdicts: list[str]) -> str:
    """The table as a Markdown page with the machine, the remarks and the verdicts."""
    about = machine()
    lines = ["# Results", "", f"{title}. {about['cpu']}, {about['cores']} cores, Python {about['python']}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", *(f"- {row.name}: {row.about}. {row.remark()}".rstrip() for row in rows), ""]
    return "\n".join([*lines, *(f"- {verdict}" for verdict in verdicts), ""])


def as_json(rows: list[Row], settings: dict[str, Any], verdicts: list[str]) -> str:
    """Everything, every sample included."""
    data = {"machine": machine(), "settings": settings, "rows": [asdict(row) for row in rows], "verdicts": verdicts}
    return json.dumps(data, indent=2) + "\n"
