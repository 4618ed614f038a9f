"""What the contract tests share: schemas of a contract file compiled once, its operations, and its examples."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest

import kling_openapi

METHODS = {"get", "put", "post", "delete", "patch"}


def validator(document: dict[str, Any], *steps: str) -> Any:
    """A validator of the schema that stands at *steps* of *document*, its references resolved in the document."""
    pointer = "/".join(quote(step.replace("~", "~0").replace("/", "~1"), safe="~") for step in steps)
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"urn:contract#/{pointer}"},
        registry=jsonschema_rs.Registry([("urn:contract", document)]),
        validate_formats=True,
    )


def resolved(document: dict[str, Any], node: Any) -> Any:
    """*node*, or what its reference points to."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def examples(document: dict[str, Any], node: Any, steps: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every example and default below *node*: the steps to its schema, and its value."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from examples(document, item, (*steps, str(index)))
    if not isinstance(node, dict) or steps[-1:] in [("example",), ("value",), ("const",), ("enum",)]:
        return
    names = steps[-1:] == ("properties",)
    given_here = {} if names else node
    if "schema" in given_here:
        shown = [resolved(document, it)["value"] for it in given_here.get("examples", {}).values()]
        yield from (((*steps, "schema"), it) for it in shown)
        yield from (((*steps, "schema"), given_here[key]) for key in ("example",) if key in given_here)
    elif isinstance(given_here.get("examples"), list):
        yield from ((steps, it) for it in given_here["examples"])
    if "default" in given_here and steps[-1:] != ("responses",):
        yield steps, given_here["default"]
    for key, value in node.items():
        if names or key not in ("examples", "default"):
            yield from examples(document, value, (*steps, key))


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of every call of *document*."""
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


@pytest.fixture(scope="session", name="validator")
def validator_fixture() -> Callable[..., Any]:
    """`validator(document, *steps)`: the schema at these steps, compiled."""
    return validator


@pytest.fixture(scope="session", name="resolved")
def resolved_fixture() -> Callable[..., Any]:
    """`resolved(document, node)`: the node, or what its reference points to."""
    return resolved


@pytest.fixture(scope="session", name="examples")
def examples_fixture() -> Callable[..., Any]:
    """`examples(document, node)`: every example and default, with the steps to its schema."""
    return examples


@pytest.fixture(scope="session", name="operations")
def operations_fixture() -> Callable[..., Any]:
    """`operations(document)`: path, method and operation of every call."""
    return operations


@pytest.fixture(scope="session")
def component() -> Callable[[Path, str], Any]:
    """`component(path, name)`: a schema component of the file at *path*, compiled once."""
    read = cache(kling_openapi.read)
    return cache(lambda path, name: validator(read(path), "components", "schemas", name))
