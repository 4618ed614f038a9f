"""One document for other people's tools: complete, right by the specification, and closed in itself."""

from typing import Any

import orjson
import pytest
from openapi_spec_validator import validate

import kling_openapi
from kling_openapi.bundle import bundle
from kling_openapi.near_misses import near_misses

FAMILY = kling_openapi.family()
WHOLE = orjson.loads(orjson.dumps(bundle(FAMILY, server="http://127.0.0.1:4010")))
"""As a tool reads it: no object is shared."""


def test_it_is_openapi() -> None:
    """A validator of the specification takes it, with all models and with one."""
    validate(WHOLE)
    validate(orjson.loads(orjson.dumps(bundle(FAMILY, models=["kling-o3-video-edit"]))))


def test_no_reference_leaves_it_and_nothing_is_left_over() -> None:
    """Each reference leads to a component, each schema is referred to."""

    def references(node: Any) -> Any:
        """Every reference at and below *node*."""
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in children:
            yield from references(child)

    used = set(references(WHOLE))
    there = {f"#/components/{kind}/{name}" for kind, them in WHOLE["components"].items() for name in them}
    assert used <= there
    assert {it for it in there if it.startswith("#/components/schemas/")} <= used


@pytest.mark.parametrize("name", FAMILY.models)
def test_each_model_has_its_branch(name: str, validator: Any) -> None:
    """A body of the model fits the union; with the name of no model it does not."""
    judge = validator(WHOLE, "components", "schemas", "CreateVideo")
    for body in FAMILY.models[name].examples:
        assert judge.is_valid(body)
        assert not judge.is_valid({**body, "model": f"{name}-2"})


def test_what_completed_tasks_carry(validator: Any) -> None:
    """Links for a video, an id for an element, and not the other's."""
    judge = validator(WHOLE, "components", "schemas", "CompletedTask")
    task = WHOLE["components"]["examples"]["CompletedTask"]["value"]
    element = {key: value for key, value in task.items() if key != "results"} | {"model": "kling-custom-element"}

    assert judge.is_valid(task)
    assert not judge.is_valid({key: value for key, value in task.items() if key != "results"})
    assert judge.is_valid({**element, "result_data": [{"element_id": "1"}]})
    assert not judge.is_valid({**element, "result_data": [{"id": "1"}]})
    assert not judge.is_valid({**task, "model": "kling-custom-element"})


def test_the_shipped_files_are_not_changed() -> None:
    """Making the document changes nothing of the contract that the others read."""
    before = orjson.dumps(kling_openapi.read(kling_openapi.SERVICE))
    bundle(FAMILY)

    assert orjson.dumps(kling_openapi.service()) == before


@pytest.mark.parametrize(
    "name", [name for name, model in FAMILY.models.items() if model.rules.sums or model.rules.totals]
)
def test_what_the_served_document_allows_adds_up(name: str, validator: Any) -> None:
    """A tool that makes bodies by it is never refused for a sum or a total; one part that is the whole is still allowed."""
    judge, model = validator(WHOLE, "components", "schemas", name), FAMILY.models[name]
    missed = [it for body in model.examples for it in near_misses(model, body) if it.keyword in ("x-sums", "x-totals")]

    assert missed
    assert not [it.param for it in missed if judge.is_valid(it.body)]
    assert judge.is_valid(model.examples[0])


def test_an_estimate_takes_what_its_price_follows(validator: Any) -> None:
    """By the model that is named."""
    judge = validator(WHOLE, "components", "schemas", "EstimateRequest")

    assert judge.is_valid({"model_id": "kling-v3-turbo-image-to-video", "parameters": {"duration": 3}})
    assert not judge.is_valid({"model_id": "seedance-1.5-pro", "parameters": {"duration": 3}})
