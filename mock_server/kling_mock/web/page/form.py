"""The form that makes a task: one field for each property that the contract's create takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form. *kind* is what the browser draws: url, text, number, or choice."""

    name: str
    kind: str
    description: str
    required: bool
    value: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    longest: int | None = None


def fields(document: dict[str, Any], name: str = "CreateVideo") -> list[Field]:
    """The fields of the contract's create schema; what it names only to refuse is left out."""
    schema = document["components"]["schemas"][name]
    required = schema.get("required", ())
    example = _example(document)
    shown = []
    for prop, given in schema["properties"].items():
        merged = _resolved(document, given)
        if "not" not in merged:
            value = example.get(prop, merged.get("default", "")) if prop in required else merged.get("default", "")
            shown.append(_field(prop, merged, prop in required, str(value)))
    return shown


def body(shown: list[Field], given: Mapping[str, str]) -> dict[str, Any]:
    """The create's body from what was typed: empty fields are left out, numbers are numbers where they can be."""
    values: dict[str, Any] = {}
    for field in shown:
        text = given.get(field.name, "").strip()
        if text:
            values[field.name] = int(text) if field.kind == "number" and text.lstrip("-").isdecimal() else text
    return values


def _field(name: str, schema: dict[str, Any], required: bool, value: str) -> Field:
    choices = tuple(str(one) for one in _choices(schema))
    kind = "text"
    if choices:
        kind = "choice"
    elif schema.get("type") in ("integer", "number"):
        kind = "number"
    elif schema.get("format") in ("uri", "url") or "url" in str(schema.get("$ref", "")).lower():
        kind = "url"
    return Field(
        name,
        kind,
        schema.get("description", ""),
        required,
        value or (choices[0] if choices and required else ""),
        choices,
        schema.get("minimum"),
        schema.get("maximum"),
        schema.get("maxLength"),
    )


def _choices(schema: dict[str, Any]) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    return list(schema.get("enum", ())) or [one["const"] for one in schema.get("oneOf", ()) if "const" in one]


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* with what it refers to; its own members win."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return {**_resolved(document, found), **schema}


def _example(document: dict[str, Any]) -> dict[str, Any]:
    """The shortest example of a create."""
    for item in document["paths"].values():
        for call in item.values():
            if isinstance(call, dict) and call.get("operationId") == "createVideo":
                examples = call["requestBody"]["content"]["application/json"].get("examples", {})
                values: list[dict[str, Any]] = [one["value"] for one in examples.values() if "value" in one]
                return min(values, key=lambda value: len(value), default={})
    return {}
