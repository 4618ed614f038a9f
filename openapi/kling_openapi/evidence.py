"""Evidence: what runs against the service itself showed of rules and settings that the document does not promise.

A folder `evidence/<date>-<name>/` holds `evidence.json` and what it rests on: the plan, the masked history, the verdicts.
`kling-contract server --evidence NAME` writes one.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

FILE = "evidence.json"
CONFIRMS, CONTRADICTS = "confirms", "contradicts"


class BadEvidence(Exception):
    """A folder is no evidence, or was changed since it was written; one line."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run. rules and settings: by name, `confirms` or `contradicts`; seen: the values of settings that it showed."""

    name: str
    day: date
    target: str
    mode: str
    contract: str
    kit: str
    rules: dict[str, str]
    settings: dict[str, str]
    seen: dict[str, Any]

    def age(self, today: date) -> str:
        """Return how old it is, in words."""
        days = (today - self.day).days
        return "today" if days <= 0 else f"{days} day{'' if days == 1 else 's'} ago"


def read_all(folder: Path) -> list[Evidence]:
    """Return every evidence below *folder*, the newest first; nothing where there is no such folder.

    Raises:
        BadEvidence: one of them cannot be read, or one of its files was changed.
    """
    if not folder.is_dir():
        return []
    found = [_read(one) for one in sorted(folder.iterdir()) if (one / FILE).is_file()]
    return sorted(found, key=lambda one: (one.day, one.name), reverse=True)


def _read(folder: Path) -> Evidence:
    try:
        given = json.loads((folder / FILE).read_text(encoding="utf-8"))
        changed = [name for name, digest in given["files"].items() if digest_of(folder / name) != digest]
        if changed:
            raise BadEvidence(f"{folder / changed[0]} was changed since the evidence was written")
        return Evidence(
            folder.name, date.fromisoformat(given["date"]), given["target"], given["mode"], given["contract"], given["kit"],
            dict(given["rules"]), {name: it["says"] for name, it in given["settings"].items()},
            {name: it["seen"] for name, it in given["settings"].items()},
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadEvidence(f"{folder}: no evidence that can be read: {error!r}") from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def about(every: list[Evidence], kind: str, name: str) -> Iterator[tuple[Evidence, str]]:
    """Give the evidence for one rule or setting, the newest first, each with what it says; *kind* is `rules` or `settings`."""
    for one in every:
        says = getattr(one, kind).get(name)
        if says is not None:
            yield one, str(says)


def pointer(every: list[Evidence], kind: str, name: str) -> str:
    """Return what a page says of the evidence for one rule or setting."""
    found = [f"{says} {one.day.isoformat()} (`evidence/{one.name}`)" for one, says in about(every, kind, name)]
    return "<br>".join(found) or "none yet"
