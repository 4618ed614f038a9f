"""The two contract files: valid, and true to themselves."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import openapi_spec_validator
import pytest

import kling_openapi

FILES = pytest.mark.parametrize("path", [kling_openapi.SERVICE, kling_openapi.CONTROL], ids=["service", "control"])
SERVICE = kling_openapi.read(kling_openapi.SERVICE)


@FILES
def test_is_openapi(path: Path) -> None:
    """
    Each file is a valid OpenAPI 3.1 document.
    """
    openapi_spec_validator.validate(kling_openapi.read(path))


@FILES
def test_schemas_compile(path: Path, validator: Callable[..., Any]) -> None:
    """
    Every schema component is a valid schema of JSON Schema 2020-12, formats included.
    """
    document = kling_openapi.read(path)
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": document["jsonSchemaDialect"], **schema})
        assert validator(document, "components", "schemas", name)


@FILES
def test_examples_are_valid(path: Path, validator: Callable[..., Any], examples: Callable[..., Any]) -> None:
    """
    Every example and every default is what its own schema allows.
    """
    document = kling_openapi.read(path)
    found = list(examples(document, document))
    wrong = [
        (".".join(steps), error.message)
        for steps, value in found
        for error in validator(document, *steps).iter_errors(value)
    ]
    assert wrong == []
    assert len(found) > 30


def test_example_check_can_fail(validator: Callable[..., Any], examples: Callable[..., Any]) -> None:
    """
    The walk over examples finds one that is wrong, inside a media type, a parameter, a schema and an assumption alike.
    """
    document = copy.deepcopy(SERVICE)
    document["components"]["examples"]["CompletedTask"]["value"]["progress"] = 99
    document["components"]["parameters"]["TaskId"]["example"] = "video-1"
    document["components"]["schemas"]["Duration"]["default"] = 16
    document["x-assumptions"]["bad_image"]["schema"]["default"] = "shrug"
    wrong = {
        steps[-2:] for steps, value in examples(document, document) if not validator(document, *steps).is_valid(value)
    }
    assert {
        ("application/json", "schema"),
        ("TaskId", "schema"),
        ("schemas", "Duration"),
        ("bad_image", "schema"),
    } <= wrong


@FILES
def test_components_are_used(path: Path, resolved: Callable[..., Any]) -> None:
    """
    No example, parameter or header component is left over; every reference leads somewhere.
    """
    document = kling_openapi.read(path)

    def references(node: Any) -> Any:
        """Every reference at and below *node*."""
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in children:
            yield from references(child)

    used = set(references(document))
    for reference in used:
        assert resolved(document, {"$ref": reference}) is not None
    for kind in ("examples", "parameters", "headers", "schemas"):
        assert {f"#/components/{kind}/{name}" for name in document["components"].get(kind, {})} <= used


@FILES
def test_errors_stand_under_their_status(
    path: Path, resolved: Callable[..., Any], operations: Callable[..., Any]
) -> None:
    """
    An error answer is listed under the status that its `x-error` names.
    """
    document = kling_openapi.read(path)
    for where, method, operation in operations(document):
        for status, response in operation["responses"].items():
            error = resolved(document, response).get("x-error")
            assert (error is None) == status.startswith("2"), (where, method, status)
            assert error is None or str(error["status"]) == status, (where, method, status)


@FILES
def test_errors_have_true_examples(path: Path) -> None:
    """
    Every error answer has an example, and its code, type and suggestion are those of its `x-error`.
    """
    for name, response in kling_openapi.read(path)["components"]["responses"].items():
        error = response["x-error"]
        values = [it["value"] for it in response["content"]["application/json"]["examples"].values()]
        assert values, name
        if "envelope" in error:
            assert all(str(value["code"]).startswith(str(error["status"])) for value in values), name
            continue
        for body in (value["error"] for value in values):
            assert (body["code"], body["type"]) == (error["code"], error["type"]), name
            assert body.get("fallback_suggestion") == error.get("fallback_suggestion"), name


@FILES
def test_operation_ids_are_unique(path: Path, operations: Callable[..., Any]) -> None:
    """
    Every operation has an id, and no two share one.
    """
    ids = [operation["operationId"] for _, _, operation in operations(kling_openapi.read(path))]
    assert len(ids) == len(set(ids))
