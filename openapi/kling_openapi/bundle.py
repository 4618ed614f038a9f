"""The whole contract with all its models as one OpenAPI 3.1 document, for other people's tools: no reference leaves it."""

from collections.abc import Iterable, Mapping
from typing import Any

from kling_openapi.composing import examples
from kling_openapi.family import Family
from kling_openapi.model import Model
from kling_openapi.schemas import PREFIX, needed
from kling_openapi.served import served


def bundle(family: Family, *, server: str | None = None, models: Iterable[str] | None = None) -> dict[str, Any]:
    """Return one document with the create schemas of *models*, by default all of them.

    *server*: the origin that serves all of it; by default the service's own hosts.
    """
    names = list(family.models) if models is None else list(models)
    chosen = [family.models[name] for name in names]
    # Without a dialect of its own: that of OpenAPI 3.1 is the same for these keywords, and viewers warn of another.
    document = {key: value for key, value in family.raw.items() if key != "jsonSchemaDialect"}
    schemas = dict(family.raw["components"]["schemas"])
    schemas.pop("Model", None)
    schemas["CreateVideo"] = _union(chosen)
    schemas |= {model.name: _create(model) for model in chosen}
    schemas["TaskCommon"] = _with(schemas["TaskCommon"], "model", {"enum": names}, drop="const")
    schemas["Usage"] = _with(schemas["Usage"], "billing_rule", {}, drop="x-value")
    schemas["CompletedTask"] = _completed(schemas["CompletedTask"], chosen)
    paths = _paths(family.raw["paths"], chosen, alone=server is not None)
    everything = {**family.components, **schemas}
    responses = family.raw["components"]
    parts = {key: value for key, value in responses.items() if key != "schemas"}
    parts["responses"] = _answered(paths, parts["responses"])
    used = needed([paths, parts], everything)
    document["components"] = {**parts, "schemas": {name: used[name] for name in everything if name in used}}
    document["paths"] = paths
    if server is not None:
        document["servers"] = [{"url": server, "description": "A fake of the service."}]
        return served(document, chosen)
    return document


def _answered(paths: Mapping[str, Any], responses: Mapping[str, Any]) -> dict[str, Any]:
    """Return the responses that some operation has; those of unknown paths and methods belong to none."""
    used = {
        one["$ref"].rpartition("/")[2]
        for item in paths.values()
        for operation in item.values()
        for one in operation["responses"].values()
        if "$ref" in one
    }
    return {name: it for name, it in responses.items() if name in used}


def _create(model: Model) -> dict[str, Any]:
    return {key: value for key, value in model.schema.items() if key not in ("x-sums", "x-totals")}


def _union(models: list[Model]) -> dict[str, Any]:
    """Return the schema of a create of any model, distinguished by its name."""
    names = [model.name for model in models]
    return {
        "description": "A create of one of the models; which one is told by its name.",
        "oneOf": [{"$ref": f"{PREFIX}{name}"} for name in names],
        "discriminator": {"propertyName": "model", "mapping": {name: f"{PREFIX}{name}" for name in names}},
    }


def _with(schema: Mapping[str, Any], name: str, more: Mapping[str, Any], *, drop: str) -> dict[str, Any]:
    """Return *schema* with the property *name* changed."""
    about = {key: value for key, value in schema["properties"][name].items() if key != drop}
    return {**schema, "properties": {**schema["properties"], name: {**about, **more}}}


def _completed(schema: Mapping[str, Any], models: list[Model]) -> dict[str, Any]:
    """Return the shape of a completed task: links, or the id of what a model makes in place of a video."""
    elements = [model.name for model in models if model.output.medium == "element"]
    if not elements:
        return dict(schema)
    data = schema["properties"]["result_data"]
    made = {"type": "object", "required": ["element_id"], "properties": {"element_id": {"type": "string"}}}
    is_element = {"properties": {"model": {"enum": elements}}, "required": ["model"]}
    links = {"required": schema["required"], "properties": {"result_data": data}}
    ids = {"required": ["result_data"], "properties": {"results": {"not": {}}, "result_data": {**data, "items": made}}}
    properties = {**schema["properties"], "result_data": {"type": "array"}}
    rest = {key: value for key, value in schema.items() if key != "required"}
    return {**rest, "properties": properties, "if": is_element, "then": ids, "else": links}


def _paths(paths: Mapping[str, Any], models: list[Model], *, alone: bool) -> dict[str, Any]:
    """Return the paths with an example of each model; *alone*: one server has all of them."""
    found: dict[str, Any] = {}
    for path, item in paths.items():
        found[path] = {verb: _operation(one, alone) for verb, one in item.items()}
        create = found[path].get("post", {})
        if create.get("operationId") == "createVideo":
            shown = {f"{model.name}-{kind}": it for model in models for kind, it in examples(model).items()}
            content = create["requestBody"]["content"]["application/json"]
            body = {**create["requestBody"], "content": {"application/json": {**content, "examples": shown}}}
            found[path]["post"] = {**create, "requestBody": body}
    return found


def _operation(operation: Mapping[str, Any], alone: bool) -> dict[str, Any]:
    return {key: value for key, value in operation.items() if not (alone and key == "servers")}
