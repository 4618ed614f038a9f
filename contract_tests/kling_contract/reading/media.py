"""What is known of the media that a create names, as a model's file asks for it."""

from collections.abc import Iterable, Mapping
from typing import Any

from kling_contract.history.labels import MediumFacts
from kling_openapi.media import Facts
from kling_openapi.model import Model, Quote
from kling_openapi.schemas import spelled

Path = tuple[str, ...]


def facts_of(known: MediumFacts) -> Facts:
    """Return a label as the contract's own facts."""
    return Facts(
        known.format or None,
        known.size or None,
        known.width or None,
        known.height or None,
        known.seconds or None,
        known.fps or None,
    )


def facts_in(model: Model, body: Mapping[str, Any], known: Iterable[MediumFacts]) -> dict[Path, Facts]:
    """Return the facts of the first medium at each path of *body*, as far as *known* has them."""
    labels = {it.param: it for it in known}
    found: dict[Path, Facts] = {}
    first: set[Path] = set()
    for medium in model.media(body):
        label = labels.get(spelled(medium.steps))
        if medium.path not in first and label is not None:
            found[medium.path] = facts_of(label)
        first.add(medium.path)
    return found


def quote(model: Model, body: dict[str, Any], known: Iterable[MediumFacts]) -> Quote:
    """Return what *body* comes to, as far as the media that it names are *known*."""
    return model.quote(body, facts_in(model, body, known))
