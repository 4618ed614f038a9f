"""The contract as it is for one model: the common document with that model's create body, name, price and examples in it."""

from collections.abc import Mapping
from typing import Any

from kling_openapi.model import POLICIES, Model
from kling_openapi.money import plain
from kling_openapi.schemas import needed

_CREATE = ("paths", "/v1/videos/generations", "post", "requestBody", "content", "application/json")
_OF_THE_OWN_MODEL = ("Duration", "Quality")


def composed(raw: Mapping[str, Any], model: Model, callback: Mapping[str, Any]) -> dict[str, Any]:
    """Return *raw* with *model* in it, what it refers to included; nothing of *raw* is changed."""
    schemas = dict(raw["components"]["schemas"])
    if "CreateVideo" in schemas and schemas.get("Model", {}).get("const") == model.name:
        document = dict(raw)
        _priced(document, model)
        return document
    properties = dict(model.schema["properties"])
    if properties.get("callback_url") is not None:
        properties["callback_url"] = callback
    if "Model" in schemas:
        schemas["Model"] = properties["model"]
        properties["model"] = {"$ref": "#/components/schemas/Model"}
    create = {key: value for key, value in model.schema.items() if key not in POLICIES}
    schemas["CreateVideo"] = {**create, "properties": properties}
    used = needed(schemas["CreateVideo"], model.components)
    schemas = {name: it for name, it in schemas.items() if name not in ("CallbackUrl", *_OF_THE_OWN_MODEL)} | used
    document = {**raw, "components": {**raw["components"], "schemas": schemas}}
    _named(document, model)
    _shown(document, model)
    _priced(document, model)
    return document


def _named(document: dict[str, Any], model: Model) -> None:
    """Put the model's name and billing rule, and what its tasks give, into the task schemas."""
    schemas = document["components"]["schemas"]
    if "const" in _properties(schemas, "TaskCommon").get("model", {}):
        _replace(schemas, ("TaskCommon", "properties", "model", "const"), model.name)
    if "x-value" in _properties(schemas, "Usage").get("billing_rule", {}) and "x-price" in model.schema:
        _replace(schemas, ("Usage", "properties", "billing_rule", "x-value"), model.price.billing_rule)
    if "x-output" in model.schema and model.output.medium == "element" and "CompletedTask" in schemas:
        done = dict(schemas["CompletedTask"])
        id_only = {"type": "object", "required": ["element_id"], "properties": {"element_id": {"type": "string"}}}
        data = {**done["properties"]["result_data"], "minItems": 1, "items": id_only}
        properties = {**done["properties"], "results": {"not": {}}, "result_data": data}
        schemas["CompletedTask"] = {**done, "required": ["result_data"], "properties": properties}


def _properties(schemas: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schemas.get(name, {}).get("properties", {})
    return found


def _priced(document: dict[str, Any], model: Model) -> None:
    """Put the model's rates and minimum in as the defaults of the settings that replace them."""
    settings = document.get("x-assumptions", {})
    field = model.output.short_side.get("from") if "x-output" in model.schema else None
    if "x-price" not in model.schema or model.price.per != "second" or field is None:
        return

    def rate(tier: str) -> int | float:
        return plain(model.price.rate(lambda path: tier if path == field else model.default(path)))

    rates = {tier: rate(tier) for tier in model.sides}
    for name, default in (("credits_per_second", rates), ("minimum_credits", plain(model.price.minimum))):
        if name in settings and "default" not in settings[name]["schema"]:
            _replace(document, ("x-assumptions", name, "schema", "default"), default)


def _shown(document: dict[str, Any], model: Model) -> None:
    """Put the model's examples into the create operation."""
    node: Any = document
    for step in _CREATE:
        node = node.get(step) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or not model.examples:
        return
    _replace(document, (*_CREATE, "examples"), examples(model))


def examples(model: Model) -> dict[str, Any]:
    """Return the model's bodies as OpenAPI shows them: the shortest, and the fullest."""
    first, last = model.examples[0], model.examples[-1]
    return {
        "shortest": {"summary": "The required fields.", "value": first},
        "full": {"summary": "Most fields.", "value": last},
    }


def _replace(node: Any, steps: tuple[str, ...], value: Any) -> None:
    """Set what stands at *steps* below *node*, copying the mappings on the way below the first one."""
    for step in steps[:-1]:
        node[step] = dict(node.get(step, {}))
        node = node[step]
    node[steps[-1]] = value
