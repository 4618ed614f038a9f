"""The report folder: every form of one run, written so that a reader never sees half a file."""

from collections.abc import Sequence
from pathlib import Path

import orjson

from kling_contract.history.events import jsonl
from kling_contract.reports.documents import badge, junit, report
from kling_contract.reports.page import page, rule_pages
from kling_contract.reports.summary import markdown
from kling_contract.rules.verdicts import Run, SetupError


def write(run: Run, folder: Path) -> None:
    """Write the report files of *run* into *folder*, which is made when it is not there.

    Raises:
        SetupError: the folder or a file cannot be written.
    """
    files = {
        "history.jsonl": jsonl(run.events),
        "report.json": orjson.dumps(report(run), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        "junit.xml": junit(run),
        "report.html": page([run]).encode(),
        "rules.html": rule_pages([run]).encode(),
        "summary.md": markdown(run).encode(),
        "badge.json": orjson.dumps(badge(run), option=orjson.OPT_APPEND_NEWLINE),
    }
    _place(folder, files)


def write_page(runs: Sequence[Run], folder: Path) -> None:
    """Write one page for several runs side by side: the matrix of rules and targets.

    Raises:
        SetupError: it cannot be written.
    """
    _place(folder, {"report.html": page(runs).encode(), "rules.html": rule_pages(runs).encode()})


def _place(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            part = folder / f".{name}.part"
            part.write_bytes(data)
            part.replace(folder / name)
    except OSError as error:
        raise SetupError(f"--report {folder}: {error.strerror}") from error
