"""The bundled document as one fake serves it: what it takes without a network, in the words of a schema.

A contract says what the service takes: any picture behind any URL. A fake that is asked to take what a tool makes up can look at nothing,
so its own document says what is sure to be taken: uploads that begin as pictures do, files that it draws itself, callback URLs of a
plain public name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kling_openapi.model import Model
from kling_openapi.schemas import needed

_PNG, _JPEG, _GIF = "iVBORw0KGgoA", "/9j/", "R0lGOD(dh|lh)"
_WEBP = "UklGR[g-v][A-Za-z0-9+/]{4}[BFJNRVZdhlptx159]XRUJQ"
_BASE64 = f"^(data:image/[a-z]+;base64,)?({_PNG}|{_JPEG}|{_GIF}|{_WEBP})([A-Za-z0-9+/]{{4}})*$"
_DRAWN = "^https://image\\.test/[1-9][0-9]{2}x[1-9][0-9]{2}\\.(png|jpg)$"
_NAMED = "^https://([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\\.){1,4}[a-z]{2,12}(/[A-Za-z0-9._~/-]*)?$"
_PREFIX, _GIVEN = "#/components/schemas/", "GivenUrl"
_OWN_FOLDERS = ("uploads", "files")
"""Where a fake serves what was uploaded, and its videos."""
_GIF_BYTES = "^GIF8[79]a"


def served(document: Mapping[str, Any], models: Sequence[Model]) -> dict[str, Any]:
    """Return *document* with what a fake is sure to take; nothing of *document* is changed."""
    schemas = dict(document["components"]["schemas"])
    for name, pattern in (("CallbackUrl", _NAMED),):
        if name in schemas:
            schemas[name] = {**_without(schemas[name], "format"), "pattern": pattern}
    if "HttpUrl" in schemas:
        given = {name: _led(it) for name, it in needed(schemas["CreateVideo"], schemas).items() if name != "HttpUrl"}
        schemas |= {**given, _GIVEN: _elsewhere(_without(schemas["HttpUrl"], "format"))}
        schemas["HttpUrl"] = _without(schemas["HttpUrl"], "format")
    if "EstimateRequest" in schemas:
        schemas["EstimateRequest"] = _estimate(schemas["EstimateRequest"], models)
    paths = dict(document["paths"])
    for name, field, change in (
        ("base64", "base64_data", {"pattern": _BASE64}),
        ("url", "file_url", {"type": "string", "pattern": _DRAWN, "$ref": None}),
        ("stream", "file", {"pattern": _GIF_BYTES}),
    ):
        path = f"/api/v1/files/upload/{name}"
        if path in paths:
            paths[path] = _tightened(paths[path], field, change)
    return {**document, "paths": paths, "components": {**document["components"], "schemas": schemas}}


def _led(node: Any) -> Any:
    """Return a schema of requests in which a URL is one that a caller gives; links in answers stay as they are."""
    if isinstance(node, Mapping):
        found = {name: _led(value) for name, value in node.items()}
        return {**found, "$ref": _PREFIX + _GIVEN} if found.get("$ref") == f"{_PREFIX}HttpUrl" else found
    return [_led(value) for value in node] if isinstance(node, list) else node


def _elsewhere(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a URL that cannot be one of the fake's own files: it knows those, and judges them."""
    scheme, _, rest = schema["pattern"].partition("://")
    return {**schema, "pattern": f"{scheme}://(?![^/]+/({'|'.join(_OWN_FOLDERS)})/){rest}"}


def _estimate(schema: Mapping[str, Any], models: Sequence[Model]) -> dict[str, Any]:
    """Return the request of an estimate, for each model with the members that its price follows: any of those is right beside any other."""
    branches = [
        {
            "type": "object",
            "required": schema["required"],
            "properties": {
                **schema["properties"],
                "model_id": {"const": model.name},
                "parameters": {"type": "object", "properties": _priced(model), "additionalProperties": False},
            },
        }
        for model in models
    ]
    return {"oneOf": branches, "description": "What a create would cost."}


def _priced(model: Model) -> dict[str, Any]:
    output = model.output
    named = [it for factor in model.price.factors for it in factor.when]
    named += [it for it in (output.seconds.get("from"), output.short_side.get("from")) if it is not None]
    return {
        name: model.schema["properties"][name]
        for name in dict.fromkeys(named)
        if name in model.taken and "[" not in name
    }


def _tightened(item: Mapping[str, Any], field: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the path's item, its body's *field* changed."""
    post = item["post"]
    content = {
        media: {**it, "schema": _with(it["schema"], field, change)}
        for media, it in post["requestBody"]["content"].items()
    }
    return {**item, "post": {**post, "requestBody": {**post["requestBody"], "content": content}}}


def _with(schema: Mapping[str, Any], field: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* with a property changed; None takes a keyword out."""
    about = {key: value for key, value in {**schema["properties"][field], **change}.items() if value is not None}
    return {**schema, "properties": {**schema["properties"], field: about}}


def _without(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != keyword}
