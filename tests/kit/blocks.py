"""A file of named blocks of lines that is made anew by a script and held by a test: `findings.txt`, `driven.txt`."""

from pathlib import Path


def kept(file: Path) -> dict[str, str]:
    """The blocks of *file* by their names; none where it is missing."""
    found = file.read_text(encoding="utf-8").split("\n\n") if file.exists() else []
    return {text.partition("\n")[0].removeprefix("== "): text.rstrip() for text in found}


def write(file: Path, text: str, arguments: list[str]) -> int:
    """Write *file*, or with `--check` say whether it is as it would be written; return the exit code."""
    if "--check" in arguments:
        same = file.exists() and file.read_text(encoding="utf-8") == text
        print(
            "as it is written" if same else f"{file.name} is out of date: run scripts/findings, and read what changed"
        )
        return 0 if same else 1
    file.write_text(text, encoding="utf-8")
    return 0
