"""The contract, loaded once: validators compiled, policies typed, anything not understood refused at start."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jsonschema_rs

import kling_openapi
from kling_mock.core.callbacks import AddressRules
from kling_mock.core.deliveries import RetryPolicy
from kling_mock.core.policies import FileRules, IdRules, ImageRules, LinkRules, ratio
from kling_openapi import ContractError, one_line

_KEYWORDS = frozenset(
    {
        *("$ref", "type", "const", "enum", "default", "description", "title", "examples", "format", "contentMediaType"),
        *(
            *("pattern", "minLength"),
            *("maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        ),
        *("items", "minItems", "maxItems", "uniqueItems", "properties", "required", "additionalProperties"),
        *("oneOf", "anyOf", "allOf", "not", "discriminator"),
    }
)
_NUMBER = {"type": "number", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}


def _members(**members: Any) -> dict[str, Any]:
    """An extension that is an object with just these members, all required."""
    grades = {"x-grade": _EXTENSIONS["x-grade"], "x-source": _EXTENSIONS["x-source"]}
    return {
        "type": "object",
        "properties": {**grades, **members},
        "required": list(members),
        "additionalProperties": False,
    }


_EXTENSIONS: dict[str, dict[str, Any]] = {
    "x-grade": {"enum": ["D", "S", "C", "O", "A"]},
    "x-source": {"type": "array", "items": {"type": "string", "pattern": "^(doc|wire):"}, "minItems": 1},
}
_EXTENSIONS |= {
    "x-delivery": _members(
        timeout_seconds={"type": "number", "exclusiveMinimum": 0},
        retry_delays_seconds={"type": "array", "items": _NUMBER},
        follow_redirects={"const": False},
        verify_certificates={"type": "boolean"},
    ),
    "x-callback-address": _members(schemes=_TEXTS, internal={"type": "array", "items": _TEXT}),
    "x-image": _members(
        formats=_TEXTS,
        suffixes=_TEXTS,
        max_bytes=_COUNT,
        min_side_px=_COUNT,
        ratio_min={"type": "string", "pattern": r"^[0-9.]+:[0-9.]+$"},
        ratio_max={"type": "string", "pattern": r"^[0-9.]+:[0-9.]+$"},
    ),
    "x-polling": _members(min_poll_seconds=_NUMBER, give_up_seconds=_NUMBER),
    "x-link": _members(lifetime_seconds=_NUMBER, content_type=_TEXT),
    "x-id": _members(prefix=_TEXT, suffix_length=_COUNT, suffix_alphabet=_TEXT),
    "x-idempotency": _members(lifetime_seconds=_NUMBER),
    "x-files": _members(max_bytes=_COUNT, max_files=_COUNT, lifetime_seconds=_NUMBER, types=_TEXTS),
    "x-codes": {"type": "object", "additionalProperties": _COUNT},
    "x-token": _members(prefix=_TEXT, lifetime_seconds=_NUMBER),
    "x-short-side": _COUNT,
    "x-value": _TEXT,
    "x-fixed-by": {"enum": ["caller", "service"]},
    "x-retryable": {"type": "boolean"},
    "x-integer-codes": {"const": True},
    "x-error": {
        "type": "object",
        "properties": {
            "status": _COUNT,
            "code": {"type": ["string", "integer"]},
            "type": _TEXT,
            "legacy_type": _TEXT,
            "fallback_suggestion": _TEXT,
            "envelope": {"const": "file"},
        },
        "required": ["status", "code"],
        "anyOf": [{"required": ["type", "legacy_type"]}, {"required": ["envelope"]}],
        "additionalProperties": False,
    },
    "x-assumptions": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "summary": _TEXT,
                "schema": {"type": "object", "required": ["default"]},
                "x-grade": _EXTENSIONS["x-grade"],
                "x-source": _EXTENSIONS["x-source"],
            },
            "required": ["summary", "schema"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a value breaks its schema: the field at fault, where there is one, and a sentence."""

    param: str | None
    message: str


@dataclass(frozen=True, slots=True)
class DocumentedError:
    """One entry of components.responses: what an error answer says in both dialects."""

    status: int
    code: str | int
    type: str = ""
    legacy_type: str = ""
    fallback_suggestion: str | None = None
    envelope: str | None = None
    """`file` for an error of the file host, whose body has another form."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the contract."""

    id: str
    method: str
    path: str
    description: dict[str, Any]


class Shape:
    """A compiled schema that can say what is wrong in words of the API."""

    def __init__(self, schema: dict[str, Any], components: dict[str, Any]) -> None:
        self._root = {**schema, "components": {"schemas": components["schemas"]}}
        self._validator = jsonschema_rs.Draft202012Validator(self._root)

    def fits(self, value: Any) -> bool:
        """Whether *value* keeps to the schema; one nested deeper than the validator goes does not."""
        try:
            return bool(self._validator.is_valid(value))
        except ValueError:
            return False

    def problem(self, value: Any, name: str = "") -> Problem | None:
        """The first thing wrong with *value*; a wrong type or a missing field before anything finer.

        *name* is what the value is called where it is no body: a parameter.
        """
        try:
            found = list(self._validator.iter_errors(value))
        except ValueError:
            return Problem(name or None, f"{name or 'the body'}: nested too deeply")
        errors = sorted(found, key=lambda error: (len(error.instance_path), str(error.schema_path)))
        return self._problem(errors[0], name) if errors else None

    def _problem(self, error: jsonschema_rs.ValidationError, name: str) -> Problem:
        path = ".".join(str(part) for part in ([name] if name else []) + list(error.instance_path))
        if error.kind.name != "oneOf":
            return _problem(error, path)
        choices: Any = self._root
        for part in error.schema_path:
            choices = choices[part]
        allowed = ", ".join(str(choice.get("const")) for choice in choices)
        return Problem(path or None, f"{path or 'the body'}: {_clipped(repr(error.instance))} is not one of {allowed}")


def _problem(error: jsonschema_rs.ValidationError, path: str) -> Problem:
    kind: Any = error.kind
    if kind.name == "required":
        field = f"{path}.{kind.property}" if path else kind.property
        return Problem(field, f"{field} is required")
    if kind.name == "additionalProperties":
        field = kind.unexpected[0]
        return Problem(field, f"{field} is not a field of this request")
    if kind.name == "maxLength":
        return Problem(path, f"{path}: {len(str(error.instance))} characters, more than the maximum of {kind.limit}")
    if kind.name == "const":
        return Problem(
            path or None, f"{path or 'the body'}: {_clipped(repr(error.instance))} is not one of {kind.expected_value}"
        )
    if kind.name == "not":
        return Problem(path, f"{path} is not accepted")
    return Problem(path or None, f"{path or 'the body'}: {_clipped(error.message)}")


def _clipped(message: str, most: int = 300) -> str:
    return message if len(message) <= most else f"{message[: most // 2]} ... {message[-most // 2 :]}"


@dataclass(frozen=True, slots=True)
class Body:
    """What an operation takes: the media type, and the schema of what is sent in it."""

    media_type: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as it is described and as it is judged."""

    schema: dict[str, Any]
    shape: Shape


class Contract:
    """The service's contract as the fake uses it.

    Raises:
        ContractError: the file is missing or broken, or has a keyword or extension that the code does not know.
    """

    def __init__(self, path: Path = kling_openapi.SERVICE) -> None:
        self.path = path
        self.document = kling_openapi.read(path)
        for problem in _unknown(self.document):
            raise ContractError(f"{path}: {problem}")
        try:
            self._read()
        except ContractError:
            raise
        except (KeyError, TypeError, StopIteration, ValueError, ZeroDivisionError, AttributeError) as error:
            raise ContractError(
                f"{path}: {type(error).__name__}: {error}; the fake needs that part of the contract"
            ) from error

    def _read(self) -> None:
        self.version: str = self.document["info"]["version"]
        self.components: dict[str, Any] = self.document["components"]
        self.schemas: dict[str, Any] = self.components["schemas"]
        self.operations = {operation.id: operation for operation in _operations(self.document["paths"])}
        fields = self.schemas["CreateVideo"]["properties"]
        self.fields = frozenset(fields)
        self.image = _image_rules(fields["image_start"]["x-image"])
        self.address = _address_rules(fields["callback_url"])
        self.default_seconds: int = self.schemas["Duration"]["default"]
        self.default_quality: str = self.schemas["Quality"]["default"]
        self.short_sides = {choice["const"]: choice["x-short-side"] for choice in self.schemas["Quality"]["oneOf"]}
        common = self.schemas["TaskCommon"]["properties"]
        self.model: str = common["model"]["const"]
        self.object: str = common["object"]["const"]
        self.type: str = common["type"]["const"]
        self.id = IdRules(**_values(common["id"]["x-id"]))
        usage = self.schemas["Usage"]["properties"]
        self.billing_rule: str = usage["billing_rule"]["x-value"]
        self.user_group: str = usage["user_group"]["default"]
        link = _values(self.schemas["CompletedTask"]["properties"]["results"]["x-link"])
        self.link = LinkRules(link["lifetime_seconds"], link["content_type"])
        self.task_errors = {code["const"]: code["description"] for code in self.schemas["TaskErrorCode"]["oneOf"]}
        self.task_error_type: str = self.schemas["TaskError"]["properties"]["type"]["const"]
        self.errors = {
            name: DocumentedError(**entry["x-error"]) for name, entry in self.components["responses"].items()
        }
        self.integer_codes = frozenset(
            name for name, operation in self.operations.items() if "x-integer-codes" in operation.description
        )
        self.idempotency_seconds: float = self.components["parameters"]["IdempotencyKey"]["x-idempotency"][
            "lifetime_seconds"
        ]
        self._read_files()
        self.assumptions: dict[str, Any] = self.document["x-assumptions"]
        self.delivery = self._delivery()
        self._check()

    def _read_files(self) -> None:
        files = self.schemas["UploadedFile"]["x-files"]
        self.files = FileRules(files["max_bytes"], files["max_files"], files["lifetime_seconds"], tuple(files["types"]))
        self.file_codes: dict[str, int] = self.schemas["FileError"]["properties"]["code"]["x-codes"]
        self.file_operations = frozenset(
            name for name, it in self.operations.items() if "files" in it.description["tags"]
        )
        self.upload_token: dict[str, Any] = self.schemas["UploadToken"]["properties"]["upload_token"]["x-token"]

    def _check(self) -> None:
        """What would else be missed only by the first request that needs it."""
        shipped = self.document if self.path == kling_openapi.SERVICE else kling_openapi.service()
        missing = sorted({operation.id for operation in _operations(shipped["paths"])} - set(self.operations))
        if missing:
            raise ContractError(f"{self.path}: no operation {', '.join(missing)}; the fake answers these")
        _ = self.bodies

    def _delivery(self) -> RetryPolicy:
        (expression,) = self.operations["createVideo"].description["callbacks"]["taskFinished"].values()
        policy = expression["post"]["x-delivery"]
        self.verify_certificates: bool = policy["verify_certificates"]
        return RetryPolicy(timeout=policy["timeout_seconds"], delays=tuple(policy["retry_delays_seconds"]))

    def shape(self, schema: dict[str, Any]) -> Shape:
        """*schema*, which may refer to components, compiled."""
        try:
            return Shape(schema, self.components)
        except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
            raise ContractError(f"{self.path}: {getattr(error, 'message', None) or one_line(error)}") from error

    @cached_property
    def bodies(self) -> dict[str, Body]:
        """Request body of each operation that has one."""
        found = {}
        for operation in self.operations.values():
            for media_type, content in operation.description.get("requestBody", {}).get("content", {}).items():
                found[operation.id] = Body(media_type, self.shape(content["schema"]))
        return found

    def query(self, operation_id: str) -> dict[str, Parameter]:
        """The query parameters of an operation by name, compiled."""
        described = self.operations[operation_id].description.get("parameters", ())
        return {
            entry["name"]: Parameter(entry["schema"], self.shape(entry["schema"]))
            for entry in described
            if entry.get("in") == "query"
        }

    def parameter(self, operation_id: str, name: str) -> dict[str, Any]:
        """Schema of one parameter of an operation."""
        for entry in self.operations[operation_id].description["parameters"]:
            parameter = self.components["parameters"][entry["$ref"].rsplit("/", 1)[1]] if "$ref" in entry else entry
            if parameter["name"] == name:
                schema: dict[str, Any] = parameter["schema"]
                return schema
        raise KeyError(f"{operation_id} has no parameter {name}")


def _values(extension: dict[str, Any]) -> dict[str, Any]:
    """Return the members of an extension without its grade and sources."""
    return {name: value for name, value in extension.items() if not name.startswith("x-")}


def _image_rules(image: dict[str, Any]) -> ImageRules:
    low, high = ratio(image["ratio_min"]), ratio(image["ratio_max"])
    return ImageRules(tuple(image["formats"]), image["max_bytes"], image["min_side_px"], low, high)


def _address_rules(field: dict[str, Any]) -> AddressRules:
    policy = field["x-callback-address"]
    internal = tuple(ip_network(text) for text in policy["internal"])
    return AddressRules(tuple(policy["schemes"]), field["maxLength"], False, internal)


def _operations(paths: dict[str, Any]) -> Iterator[Operation]:
    for path, item in paths.items():
        for method, description in item.items():
            yield Operation(description["operationId"], method.upper(), path, description)


def _unknown(node: Any, pointer: str = "#") -> Iterator[str]:
    """Everything in the document that the fake would silently not obey."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _unknown(item, f"{pointer}/{index}")
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        place = f"{pointer}/{key}"
        if isinstance(key, str) and key.startswith("x-") and not pointer.endswith("/headers"):
            yield from _bad_extension(key, value, place)
        if key == "schema" and isinstance(value, dict):
            yield from _bad_schema(value, place)
        elif key == "schemas" and pointer == "#/components":
            for name, schema in value.items():
                yield from _bad_schema(schema, f"{place}/{name}")
        if key not in ("examples", "example", "x-assumptions"):
            yield from _unknown(value, place)


def _bad_extension(key: str, value: Any, place: str) -> Iterator[str]:
    schema = _EXTENSIONS.get(key)
    if schema is None:
        yield f"{place}: unknown extension; known are {', '.join(sorted(_EXTENSIONS))}"
        return
    for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(value):
        yield f"{place}{''.join(f'/{part}' for part in error.instance_path)}: {error.message}"


def _bad_schema(schema: Any, place: str) -> Iterator[str]:
    """Keywords that the validators would ignore, in *schema* and the schemas inside it."""
    if not isinstance(schema, dict):
        yield f"{place}: a schema is a mapping here"
        return
    for key, value in schema.items():
        if key not in _KEYWORDS and not str(key).startswith("x-"):
            yield f"{place}/{key}: unknown schema keyword"
        inner: list[tuple[str, Any]] = []
        if key == "properties":
            inner = [(f"/{name}", item) for name, item in value.items()]
        elif key in ("oneOf", "anyOf", "allOf"):
            inner = [(f"/{index}", item) for index, item in enumerate(value)]
        elif key in ("items", "not") or (key == "additionalProperties" and isinstance(value, dict)):
            inner = [("", value)]
        for suffix, item in inner:
            yield from _bad_schema(item, f"{place}/{key}{suffix}")
