"""The bundled document as one fake serves it: what it takes without a network, in the words of a schema.

A contract says what the service takes: any picture behind any URL. A fake that is asked to take what a tool makes up can look at nothing,
so its own document says what is sure to be taken: uploads that begin as pictures do, files that it draws itself, callback URLs of a
plain public name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kling_openapi.model import Model
from kling_openapi.schemas import PREFIX, needed, parts, values

_PNG, _JPEG, _GIF = "iVBORw0KGgoA", "/9j/", "R0lGOD(dh|lh)"
_WEBP = "UklGR[g-v][A-Za-z0-9+/]{4}[BFJNRVZdhlptx159]XRUJQ"
_BASE64 = f"^(data:image/[a-z]+;base64,)?({_PNG}|{_JPEG}|{_GIF}|{_WEBP})([A-Za-z0-9+/]{{4}})*$"
_DRAWN = "^https://image\\.test/[1-9][0-9]{2}x[1-9][0-9]{2}\\.(png|jpg)$"
_NAMED = "^https://([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\\.){1,4}[a-z]{2,12}(/[A-Za-z0-9._~/-]*)?$"
_GIVEN = "GivenUrl"
_OWN_FOLDERS = ("uploads", "files")
"""Where a fake serves what was uploaded, and its videos."""
_GIF_BYTES = "^GIF8[79]a"


def served(document: Mapping[str, Any], models: Sequence[Model]) -> dict[str, Any]:
    """Return *document* with what a fake is sure to take; nothing of *document* is changed."""
    schemas = dict(document["components"]["schemas"])
    if "CallbackUrl" in schemas:
        schemas["CallbackUrl"] = {**_without(schemas["CallbackUrl"], "format"), "pattern": _NAMED}
    if "HttpUrl" in schemas:
        given = {name: _led(it) for name, it in needed(schemas["CreateVideo"], schemas).items() if name != "HttpUrl"}
        schemas |= {**given, _GIVEN: _elsewhere(_without(schemas["HttpUrl"], "format"))}
        schemas["HttpUrl"] = _without(schemas["HttpUrl"], "format")
    for model in models:
        if sure := list(_added_up(model)):
            create = schemas[model.name]
            schemas[model.name] = {**create, "allOf": [*create.get("allOf", ()), *sure]}
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


def _added_up(model: Model) -> Iterator[dict[str, Any]]:
    """Return schemas that keep to the sums and totals of a model, which JSON Schema cannot say: fewer bodies than it takes, each sure.

    Parts that add up are those of an example, or one part is the whole; lists that share a limit have each its share of it.
    """
    for rule in model.rules.sums:
        path = parts(rule.of)
        held = path[: path.index("[]")]
        whole = model.default(rule.equals)
        ways = [(whole, [str(whole)])]
        for body in model.examples:
            found = [value for _, value in values(body, path)]
            ways += [(model.value(body, rule.equals), found)] if found else []
        branches = [
            {
                "required": [rule.equals] if total != whole else [],
                "properties": {rule.equals: {"const": total}, **_below(path, found)["properties"]},
            }
            for total, found in ways
        ]
        yield {"if": _there(held), "then": {"anyOf": branches}}
    for total in model.rules.totals:
        lists = [path.removesuffix("[]") for path in total.of if path.endswith("[]")]
        share = max(1, (total.most - len(total.of) + len(lists)) // max(1, len(lists)))
        yield from (_at(parts(path), {"maxItems": share}) for path in lists)


def _at(path: Sequence[str], leaf: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that holds *leaf* at *path*, which has no list on the way."""
    return {"properties": {path[0]: _at(path[1:], leaf)}} if path else leaf


def _below(path: Sequence[str], given: Sequence[Any]) -> dict[str, Any]:
    """Return a schema of bodies in which just the values *given* stand at *path*, one in each item of its list."""
    cut = path.index("[]")
    items = [_at(path[cut + 1 :], {"const": value}) for value in given]
    return _at(path[:cut], {"minItems": len(items), "maxItems": len(items), "prefixItems": items})


def _there(path: Sequence[str]) -> dict[str, Any]:
    """Return a schema of bodies in which something stands at *path*."""
    inner = {"properties": {path[0]: _there(path[1:])}} if len(path) > 1 else {}
    return {"required": [path[0]], **inner}


def _led(node: Any) -> Any:
    """Return a schema of requests in which a URL is one that a caller gives; links in answers stay as they are."""
    if isinstance(node, Mapping):
        found = {name: _led(value) for name, value in node.items()}
        return {**found, "$ref": PREFIX + _GIVEN} if found.get("$ref") == f"{PREFIX}HttpUrl" else found
    return [_led(value) for value in node] if isinstance(node, list) else node


def _elsewhere(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a URL that cannot be one of the fake's own files: it knows those, and judges them."""
    scheme, _, rest = schema["pattern"].partition("://")
    return {**schema, "pattern": f"{scheme}://(?![^/]+/({'|'.join(_OWN_FOLDERS)})/){rest}"}


def _estimate(schema: Mapping[str, Any], models: Sequence[Model]) -> dict[str, Any]:
    """Return the request of an estimate, for each model with the members that its price follows: any of those is right with any other."""
    branches = [
        {
            "type": "object",
            "required": schema["required"],
            "properties": {
                **schema["properties"],
                "model_id": {"const": model.name},
                "parameters": {"type": "object", "properties": _priced(model)},
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
