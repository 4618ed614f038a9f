"""A response as two servers can be compared by it: what free values a body has is masked, what is fixed is kept.

Free are ids, times, texts for people, balances and counts. A URL is kept as the number of its first appearance, so that the same link
in two places is seen to be the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kling_common.masking import Headers, header
from kling_contract.reading.records import media_type

FREE = frozenset({
    "id", "task_id", "created", "created_at", "message", "msg", "estimated_time", "remaining_credits", "used_credits", "total",
    "file_id", "upload_time", "expires_at",
})  # fmt: skip
"""Members whose values say nothing about how a server behaves."""
MONEY = ("credits_reserved", "credits_used", "credits", "usd", "cny")
REQUEST_IDS = ("x-request-id", "x-oneapi-request-id")
_COMPARED_HEADERS = ("idempotency-replayed", "accept-ranges", "retry-after")
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a body: its JSON type, and the value where that is fixed; `raw` as it came."""

    type: str
    value: Any = None
    raw: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Response:
    """One response, masked. leaves: by pointer, objects and arrays among them. seconds: from the request to its end."""

    status: int
    leaves: Mapping[str, Leaf]
    headers: Mapping[str, str]
    seconds: float = 0.0
    events: tuple[int, ...] = ()
    body: Any = None


def leaves(body: Any, *, progress: bool = True) -> dict[str, Leaf]:
    """Every value of a body by its pointer; of an array only the first item stands for all. progress: whether it is fixed."""
    links: dict[str, int] = {}
    return dict(_walk("", body, links, FREE if progress else FREE | {"progress"}))


def _walk(pointer: str, value: Any, links: dict[str, int], free: frozenset[str]) -> Iterator[tuple[str, Leaf]]:
    kind = type_of(value)
    if isinstance(value, Mapping):
        yield pointer, Leaf(kind, raw=value)
        for name, child in value.items():
            yield from _walk(f"{pointer}/{name}", child, links, free)
    elif isinstance(value, list):
        yield pointer, Leaf(kind, raw=value)
        for child in value[:1]:
            yield from _walk(f"{pointer}/0", child, links, free)
    else:
        name = next((part for part in reversed(pointer.split("/")) if not part.isdigit()), "")
        yield pointer, Leaf(kind, _fixed(name, value, links, free), value)


def _fixed(name: str, value: Any, links: dict[str, int], free: frozenset[str]) -> Any:
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return f"link {links.setdefault(value, len(links) + 1)}"
    return None if name in free else value


def type_of(value: Any) -> str:
    """The JSON type; a number without a fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if float(value).is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def compared_headers(headers: Headers, status: int) -> dict[str, str]:
    """The headers that servers are compared by, their free values masked."""
    kind = media_type(headers)
    found = {"content-type": kind} if kind else {}
    for name in _COMPARED_HEADERS:
        if header(headers, name) is not None:
            found[name] = "..."
    if any(header(headers, name) is not None for name in REQUEST_IDS):
        found["x-request-id"] = "..."
    allowed = header(headers, "allow")
    if status == 405 and allowed is not None:
        found["allow"] = ", ".join(sorted(_methods(allowed.split(","))))
    return found


def _methods(names: Iterable[str]) -> Iterator[str]:
    return (name.strip().upper() for name in names if name.strip().upper() not in ("HEAD", "OPTIONS"))
