"""The allow file of `compare`: differences that may be, each with its reason."""

from pathlib import Path
from typing import Any

from kling_common.documents import BadYaml, load
from kling_contract.rules.verdicts import SetupError


def read_allowances(path: Path) -> dict[str, str]:
    """A YAML mapping of difference id to the reason why it may be.

    Raises:
        SetupError: it cannot be read, is no such mapping, or an entry has no reason.
    """
    try:
        document: Any = load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SetupError(f"--allow {path}: {error.strerror}") from error
    except (BadYaml, UnicodeDecodeError) as error:
        raise SetupError(f"--allow {path}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise SetupError(
            f"--allow {path}: write one line a difference, `member:/task_info/can_cancel:absent: why it may be`"
        )
    for name, reason in document.items():
        if not isinstance(name, str) or not isinstance(reason, str) or not reason.strip():
            raise SetupError(f"--allow {path}: {name} needs a reason")
    return {name: reason.strip() for name, reason in document.items()}
