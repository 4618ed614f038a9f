"""YAML files of the contract: read, and searched for the line of a mistake."""

from pathlib import Path
from typing import Any

Steps = tuple[str | int, ...]


class ContractError(ValueError):
    """The contract file cannot be used; the message names the file and the place."""


def read_text(path: Path) -> str:
    """Return the text of *path*.

    Raises:
        ContractError: the file is missing or is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractError(f"{path}: not YAML: {one_line(error)}") from error


def parse(path: Path, text: str) -> Any:
    """Return the value that *text*, the content of *path*, stands for.

    Raises:
        ContractError: it is not YAML.
    """
    import yaml  # the shipped files are read from `parsed.json`

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - a safe loader, in C
    except (yaml.YAMLError, ValueError) as error:
        raise ContractError(f"{path}: not YAML: {one_line(error)}") from error


def at(path: Path, steps: Steps) -> str:
    """Return `FILE:LINE` of what stands at *steps* of *path*, or of the last step that is there."""
    import yaml

    try:
        line = _line(yaml.compose(read_text(path), Loader=_loader()), steps)
    except (ContractError, yaml.YAMLError):
        return str(path)
    return f"{path}:{line}"


def one_line(error: Exception) -> str:
    """Return what *error* says, on one line."""
    return " ".join(str(error).split())


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _line(node: Any, steps: Steps) -> int:
    """Return the line, counted from 1, of the node at *steps* below *node*; a key's line for a member of a mapping."""
    import yaml

    line: int = node.start_mark.line + 1 if node else 1
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            return line
    return line
