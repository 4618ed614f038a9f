"""The form of a model file: what must be in it, and nothing that no code would follow."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from kling_openapi.files import ContractError, Steps, at
from kling_openapi.model import Model
from kling_openapi.schemas import parts

_TEXT = {"type": "string", "minLength": 1}
_NUMBER = {"type": "number", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_RATIO = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?:[0-9]*[1-9][0-9]*(\.[0-9]+)?$"}
_GRADED: dict[str, Any] = {
    "x-grade": {"enum": ["D", "S", "C", "A"]},
    "x-source": {
        "type": "array",
        "items": {"type": "string", "pattern": "^(doc|wire|page|prices|client):"},
        "minItems": 1,
    },
}


def _object(required: tuple[str, ...], **members: Any) -> dict[str, Any]:
    """Return the schema of an object with just these members."""
    return {
        "type": "object",
        "properties": {**_GRADED, **members},
        "required": list(required),
        "additionalProperties": False,
    }


_FORMATS = {"type": "array", "items": _TEXT, "minItems": 1}
_FILE = {"formats": _FORMATS, "suffixes": _FORMATS, "max_bytes": _COUNT}
_SIDES = {
    **dict.fromkeys(("min_side_px", "max_side_px", "min_width_px", "max_width_px"), _COUNT),
    **dict.fromkeys(("ratio_min", "ratio_max"), _RATIO),
}
_LENGTH = {"min_seconds": _NUMBER, "max_seconds": _NUMBER}
_SCALAR = {"type": ["string", "number", "boolean"]}
_SIZE = {"type": "array", "prefixItems": [_COUNT, _COUNT], "minItems": 2, "maxItems": 2}
_TABLE = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _SIZE}}

EXTENSIONS: dict[str, dict[str, Any]] = {
    **_GRADED,
    "x-image": _object((), **_FILE, **_SIDES),
    "x-video": _object((), **_FILE, **_SIDES, **_LENGTH, fps_min=_NUMBER, fps_max=_NUMBER),
    "x-audio": _object((), **_FILE, **_LENGTH),
    "x-short-side": {"type": "integer", "minimum": 2, "multipleOf": 2},
    "x-callback-address": {"type": "object"},
    "x-sums": {"type": "array", "items": _object(("of", "equals"), of=_TEXT, equals=_TEXT)},
    "x-totals": {
        "type": "array",
        "items": _object(
            ("of", "max"), of={"type": "array", "items": _TEXT, "minItems": 1}, max=_COUNT, when={}, param=_TEXT
        ),
    },
    "x-price": _object(
        ("billing_rule", "per", "credits", "settlement"),
        billing_rule={"enum": ["per_call", "per_token", "per_second"]},
        per={"enum": ["second", "call"]},
        of={"enum": ["output", "input"]},
        credits=_NUMBER,
        minimum=_NUMBER,
        round={"enum": ["ceil", "half_up", "no"]},
        settlement={"enum": ["request", "actual"]},
        billed_seconds={"type": "array", "prefixItems": [_NUMBER, _NUMBER], "minItems": 2, "maxItems": 2},
        factors={
            "type": "array",
            "items": _object(
                ("when", "times"), when={"type": "object", "additionalProperties": _SCALAR}, times=_NUMBER
            ),
        },
    ),
    "x-output": _object(
        ("medium",),
        medium={"enum": ["video", "element"]},
        count=_COUNT,
        seconds=_object((), **{"from": _TEXT, "default": _NUMBER}),
        ratio=_object((), **{"from": {"type": "array", "items": _TEXT}, "default": _RATIO}),
        short_side=_object((), **{"from": _TEXT, "default": {"type": "integer", "minimum": 2, "multipleOf": 2}}),
        sizes=_TABLE,
    ),
    "x-expected-seconds": {"type": "integer", "minimum": 0},
}
"""What each extension of a model file must be."""

KEYWORDS = frozenset(
    {
        *("$ref", "type", "const", "enum", "default", "description", "title", "examples", "format", "contentMediaType"),
        *(
            "pattern",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
        ),
        *("items", "minItems", "maxItems", "uniqueItems", "properties", "required", "additionalProperties"),
        *(
            "minProperties",
            "maxProperties",
            "dependentRequired",
            "oneOf",
            "anyOf",
            "allOf",
            "not",
            "if",
            "then",
            "else",
        ),
    }
)
"""The schema keywords that are obeyed."""

Mistake = tuple[Steps, str]


def check(path: Path, model: Model) -> None:
    """Refuse a model file that cannot be used.

    Raises:
        ContractError: the first mistake, with file and line.
    """
    for steps, complaint in _mistakes(model):
        place = "".join(f"/{step}" for step in steps)
        raise ContractError(f"{at(path, steps)}: {f'#{place}: ' if place else ''}{complaint}")


def _mistakes(model: Model) -> Iterator[Mistake]:
    yield from unknown(model.schema)
    for name in ("x-price", "x-output"):
        if name not in model.schema:
            yield (), f"{name} is missing"
    yield from references(model.schema, model.components)
    try:
        jsonschema_rs.meta.validate(dict(model.schema))
        model.fits({})
    except jsonschema_rs.ValidationError as error:
        yield tuple(error.instance_path), error.message
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        yield (), " ".join(str(error).split())
    yield from _paths(model)
    yield from _examples(model)


def unknown(node: Any, steps: Steps = ()) -> Iterator[Mistake]:
    """Return the keywords and extensions at and below a schema that are not known, or have the wrong form."""
    if isinstance(node, bool):
        return
    if not isinstance(node, Mapping):
        yield steps, "a schema is a mapping here"
        return
    for key, value in node.items():
        here = (*steps, key)
        if str(key).startswith("x-"):
            yield from _extension(str(key), value, here)
        elif key not in KEYWORDS:
            yield here, "unknown schema keyword"
        for step, inner in _inner(key, value):
            yield from unknown(inner, (*here, *step))


def _inner(key: str, value: Any) -> Iterator[tuple[Steps, Any]]:
    """Return the schemas inside the keyword *key*."""
    if key == "properties" and isinstance(value, Mapping):
        yield from (((name,), inner) for name, inner in value.items())
    elif key in ("oneOf", "anyOf", "allOf") and isinstance(value, list):
        yield from (((index,), inner) for index, inner in enumerate(value))
    elif key in ("items", "not", "if", "then", "else", "properties"):
        yield (), value


def _extension(key: str, value: Any, steps: Steps) -> Iterator[Mistake]:
    form = EXTENSIONS.get(key)
    if form is None:
        yield steps, f"unknown extension; known are {', '.join(sorted(EXTENSIONS))}"
        return
    errors = jsonschema_rs.Draft202012Validator(form).iter_errors(value)
    # A member with a slip in its name is missing too; the name is the mistake.
    for error in sorted(errors, key=lambda error: error.kind.name != "additionalProperties"):
        yield (*steps, *error.instance_path), error.message


def references(node: Any, schemas: Mapping[str, Any], steps: Steps = ()) -> Iterator[Mistake]:
    """Return the references at and below *node* that lead to none of *schemas*."""
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.rpartition("/")[2] not in schemas:
            yield (*steps, "$ref"), f"{reference} leads nowhere; there are {', '.join(sorted(schemas))}"
        for key, value in node.items():
            yield from references(value, schemas, (*steps, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from references(value, schemas, (*steps, index))


def _paths(model: Model) -> Iterator[Mistake]:
    """Return the paths of the policies that name no field of the model."""
    policies = model.schema
    named: list[tuple[Steps, str]] = []
    for index, rule in enumerate(policies.get("x-sums", ())):
        named += [(("x-sums", index, key), rule[key]) for key in ("of", "equals")]
    for index, rule in enumerate(policies.get("x-totals", ())):
        named += [(("x-totals", index, "of", number), it) for number, it in enumerate(rule["of"])]
    for index, factor in enumerate(policies.get("x-price", {}).get("factors", ())):
        named += [(("x-price", "factors", index, "when", it), it) for it in factor["when"]]
    output = policies.get("x-output", {})
    named += [
        (("x-output", key, "from"), output[key]["from"])
        for key in ("seconds", "short_side")
        if "from" in output.get(key, {})
    ]
    named += [
        (("x-output", "ratio", "from", number), it) for number, it in enumerate(output.get("ratio", {}).get("from", ()))
    ]
    for steps, path in named:
        if not model.at(path) or not parts(path):
            yield steps, f"the model has no field {path}"


def _examples(model: Model) -> Iterator[Mistake]:
    if not model.examples:
        yield (), "examples are missing; give at least one body, the shortest first"
    for index, body in enumerate(model.examples):
        for problem in model.problems(body):
            yield ("examples", index), problem.message
        try:
            model.quote(body)
        except (TypeError, ValueError, ArithmeticError) as error:
            yield ("x-price",), f"example {index} cannot be priced: {error}"
