"""The fields of a model's create, as its file in openapi/models describes them: pictures find their place, texts their type."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from kling_client.errors import RequestInvalid
from kling_openapi.model import Model
from kling_openapi.schemas import resolved

_STEP = "[]"


def picture_path(model: Model) -> tuple[str, ...] | None:
    """Return where the model takes its first picture: a field, or the items of one; None where it takes none."""
    for name, schema in model.fields.items():
        if "x-image" in schema and name in model.taken:
            return (name,)
        if "x-image" in resolved(schema.get("items", {}), model.components):
            return (name, _STEP)
    return None


def with_picture(model: Model, body: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Return *body* with the picture *url* in it, before those that it names already.

    Raises:
        RequestInvalid: the model takes no picture.
    """
    path = picture_path(model)
    if path is None:
        raise RequestInvalid(f"{model.name} takes no picture; leave IMAGE out", param="image")
    if _STEP not in path:
        return {**body, path[0]: url}
    given = body.get(path[0], [])
    return {**body, path[0]: [url, *(given if isinstance(given, list) else [given])]}


def assigned(model: Model, pairs: Iterable[str]) -> dict[str, Any]:
    """Return the fields that `key=value` pairs set, each value of the type that the model's file wants.

    A dot leads into an object (`model_params.shot_type=intelligence`). A value is a text where the file says so, else JSON where
    it reads as such. A list may be given as JSON, or item by item with the same key.

    Raises:
        RequestInvalid: a pair is no pair, or names no field of the model.
    """
    body: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        schema = model.at(key) if equals and _STEP not in key else {}
        if not schema or schema.get("not") == {}:
            known = ", ".join(sorted(model.taken - {"model"}))
            raise RequestInvalid(f"{key or pair}: {model.name} has no such field; it has {known}", param=key or pair)
        *outer, last = key.split(".")
        holder = body
        for step in outer:
            holder = holder.setdefault(step, {})
            if not isinstance(holder, dict):
                raise RequestInvalid(f"{key}: {step} is set as a whole already", param=key)
        holder[last] = _value(schema, text, holder.get(last))
    return body


def _value(schema: Mapping[str, Any], text: str, before: Any) -> Any:
    """Return *text* as a value of the field; *before* is what an earlier pair gave it."""
    kind = schema.get("type")
    if kind == "string":
        return text
    value = json_value(text)
    if kind != "array" or isinstance(value, list):
        return value
    return [*(before if isinstance(before, list) else []), value]


def json_value(text: str) -> Any:
    """Return the JSON value in *text*, else the text as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value
