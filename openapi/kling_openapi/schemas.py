"""JSON Schema as the contract's files use it: references followed, bodies judged, and mistakes named as callers know them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema_rs

Schema = Mapping[str, Any]
Steps = tuple[str | int, ...]

PREFIX = "#/components/schemas/"
_CONDITIONS = ("allOf", "anyOf", "if", "then", "else", "dependentRequired")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a value breaks its schema: the field at fault, where there is one, and a sentence.

    *keyword*: the schema keyword that was broken. *conditional*: whether it holds only because of other fields.
    """

    param: str | None
    message: str
    keyword: str = ""
    conditional: bool = False


def spelled(steps: Steps) -> str:
    """Return *steps* as callers write a field: `model_params.multi_prompt[2].duration`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def resolved(schema: Any, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* with its own reference followed: the keywords next to the reference win.

    `properties` on both sides are joined.
    """
    if not isinstance(schema, Mapping):
        return {}
    if "$ref" not in schema:
        return dict(schema)
    target = resolved(schemas.get(str(schema["$ref"]).removeprefix(PREFIX)), schemas)
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    if "properties" in beside and "properties" in target:
        beside["properties"] = {**target["properties"], **_joined(target["properties"], beside["properties"], schemas)}
    return {**target, **beside}


def _joined(base: Schema, over: Schema, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of *over*, each with what *base* says of it too."""
    return {
        name: {**resolved(base[name], schemas), **resolved(it, schemas)}
        if name in base and isinstance(it, Mapping)
        else it
        for name, it in over.items()
    }


def needed(schema: Any, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that *schema* refers to, directly or through others."""
    found: dict[str, Any] = {}
    waiting = [schema]
    while waiting:
        for reference in _references(waiting.pop()):
            name = reference.removeprefix(PREFIX).partition("/")[0]
            if reference.startswith(PREFIX) and name in schemas and name not in found:
                found[name] = schemas[name]
                waiting.append(schemas[name])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _references(value)


def standalone(schema: Any, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* with the components that it needs, ready to be compiled."""
    return {**schema, "components": {"schemas": needed(schema, schemas)}}


class Judge:
    """A schema, compiled when it is first used, that names what is wrong in words of the API."""

    def __init__(self, schema: Any, schemas: Mapping[str, Any]) -> None:
        self._schema, self._schemas = schema, schemas

    @cached_property
    def _root(self) -> dict[str, Any]:
        return standalone(self._schema, self._schemas)

    @cached_property
    def _validator(self) -> jsonschema_rs.Draft202012Validator:
        return jsonschema_rs.Draft202012Validator(self._root)

    def fits(self, value: Any) -> bool:
        """Return whether *value* keeps to the schema; one nested deeper than the validator goes does not."""
        try:
            return bool(self._validator.is_valid(value))
        except ValueError:
            return False

    def problems(self, value: Any, name: str = "") -> list[Problem]:
        """Return everything wrong with *value*, the plainest first.

        What is wrong whatever the other fields say comes first, an outer field before an inner one; then what only other fields
        ask for, those inside before those around them.
        *name* is what the value is called where it is not a body: a parameter.
        """
        try:
            errors = list(self._validator.iter_errors(value))
        except ValueError:
            return [Problem(name or None, f"{name or 'the body'}: nested too deeply")]
        errors.sort(key=_place)
        start = (name,) if name else ()
        return [self._problem(error, (*start, *error.instance_path)) for error in errors]

    def problem(self, value: Any, name: str = "") -> Problem | None:
        """Return the first thing wrong with *value*; None when nothing is."""
        return next(iter(self.problems(value, name)), None)

    def _problem(self, error: jsonschema_rs.ValidationError, steps: Steps) -> Problem:
        kind: Any = error.kind
        param, message = _told(error, steps)
        if kind.name == "oneOf":
            choices: Any = self._root
            for part in error.schema_path:
                choices = choices[part]
            allowed = ", ".join(str(choice.get("const")) for choice in choices)
            message = f"{param or 'the body'}: {_clipped(repr(error.instance))} is not one of {allowed}"
        return Problem(param, message, kind.name, _conditional(error))


def _place(error: jsonschema_rs.ValidationError) -> tuple[bool, int, str]:
    conditional, depth = _conditional(error), len(error.instance_path)
    return conditional, -depth if conditional else depth, str(error.schema_path)


def _conditional(error: jsonschema_rs.ValidationError) -> bool:
    return any(part in _CONDITIONS for part in error.schema_path)


def _told(error: jsonschema_rs.ValidationError, steps: Steps) -> tuple[str | None, str]:
    """Return the field at fault and the sentence for one error."""
    kind: Any = error.kind
    path = spelled(steps)
    if kind.name == "required":
        field = spelled((*steps, kind.property))
        return field, f"{field} is required"
    if kind.name == "additionalProperties":
        field = spelled((*steps, kind.unexpected[0]))
        return field, f"{field} is not a field of this request"
    if kind.name == "maxLength":
        return path, f"{path}: {len(str(error.instance))} characters, more than the maximum of {kind.limit}"
    if kind.name in ("const", "enum"):
        choices = [kind.expected_value] if kind.name == "const" else kind.options
        allowed = ", ".join(map(str, choices))
        return path or None, f"{path or 'the body'}: {_clipped(repr(error.instance))} is not one of {allowed}"
    if kind.name in ("not", "falseSchema"):
        return path, f"{path} is not accepted" + (" together with the other fields" if _conditional(error) else "")
    return path or None, f"{path or 'the body'}: {_clipped(error.message)}"


def _clipped(message: str, most: int = 300) -> str:
    return message if len(message) <= most else f"{message[: most // 2]} ... {message[-most // 2 :]}"


_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def steps_of(param: str) -> Steps:
    """Return the steps of a field as callers write it, the other way round from `spelled`."""
    return tuple(int(index) if index else name for name, index in _STEP.findall(param))


_PART = re.compile(r"([^.\[\]]+)(\[\])?")


def parts(path: str) -> tuple[str, ...]:
    """Return the steps of a path of a model file, `[]` for the items of an array: `a.b[].c` is a, b, [], c."""
    found: list[str] = []
    for name, items in _PART.findall(path):
        found += [name, "[]"] if items else [name]
    return tuple(found)


def values(body: Any, path: tuple[str, ...], steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Return every value that stands at *path* of *body*, each with its own steps."""
    if not path:
        yield steps, body
    elif path[0] == "[]":
        if isinstance(body, list):
            for index, item in enumerate(body):
                yield from values(item, path[1:], (*steps, index))
    elif isinstance(body, Mapping) and path[0] in body:
        yield from values(body[path[0]], path[1:], (*steps, path[0]))
