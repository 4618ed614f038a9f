"""The right create that a run stands on: of the document's own model, or of the one that the run asks for."""

from typing import Any

from kling_contract.reading.contract import Contract
from kling_openapi.edges import shortest
from kling_openapi.model import Model
from kling_openapi.spots import changed


def right_body(contract: Contract, image: str, media: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the cheapest right create that is known.

    *image*: the first frame of the document's own model. *media*: URLs by kind that take the place of those in a model's examples.
    """
    if contract.asks_another and contract.asked is not None:
        return with_media(contract.asked, cheapest_example(contract.asked), media or {})
    return {
        "model": contract.model,
        "image_start": image,
        "duration": contract.duration_min,
        "quality": contract.quality_default,
    }


def cheapest_example(model: Model) -> dict[str, Any]:
    """Return the first example of the model's file, made as cheap as one field can make it."""
    return shortest(model, {**model.examples[0]})


def with_media(model: Model, body: dict[str, Any], urls: dict[str, str]) -> dict[str, Any]:
    """Return *body* with every picture, video and sound replaced by the URL of its kind, where there is one that is not empty."""
    found = body
    for medium in model.media(body):
        if urls.get(medium.limits.kind):
            found = changed(found, medium.steps, urls[medium.limits.kind])
    return found


def with_members(contract: Contract, body: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Return *body* with *members* set; one of None is left out, and one that another model does not take so is left as it is."""
    found = dict(body)
    for name, value in members.items():
        other = {key: it for key, it in {**found, name: value}.items() if it is not None}
        if not contract.asks_another or (contract.asked is not None and _is_taken(contract.asked, other, name)):
            found = other
    return found


def _is_taken(model: Model, body: dict[str, Any], name: str) -> bool:
    return (name in model.taken or name not in body) and model.fits(body)
