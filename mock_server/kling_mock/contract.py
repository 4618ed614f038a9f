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
from kling_mock.core.policies import FileRules, IdRules, LinkRules
from kling_openapi import ContractError, checking, one_line
from kling_openapi.family import PARTS, is_known
from kling_openapi.model import Model
from kling_openapi.schemas import Judge

_KEYWORDS = checking.KEYWORDS | {"discriminator"}
CREATE = "createVideo"
"""The operation whose body is a model's."""

_NUMBER = {"type": "number", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}


_GRADED: dict[str, Any] = {
    "x-grade": {"enum": ["D", "S", "C", "O", "A"]},
    "x-source": checking.EXTENSIONS["x-source"],
}


def _members(**members: Any) -> dict[str, Any]:
    """An extension that is an object with just these members, all required."""
    return {
        "type": "object",
        "properties": {**_GRADED, **members},
        "required": list(members),
        "additionalProperties": False,
    }


_EXTENSIONS: dict[str, dict[str, Any]] = {
    **checking.EXTENSIONS,
    **_GRADED,
    "x-delivery": _members(
        timeout_seconds={"type": "number", "exclusiveMinimum": 0},
        retry_delays_seconds={"type": "array", "items": _NUMBER},
        follow_redirects={"const": False},
        verify_certificates={"type": "boolean"},
    ),
    "x-callback-address": _members(schemes=_TEXTS, internal={"type": "array", "items": _TEXT}),
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
                **_GRADED,
            },
            "required": ["summary", "schema"],
            "additionalProperties": False,
        },
    },
}


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


class Shape(Judge):
    """A compiled schema that can say what is wrong in words of the API."""

    def __init__(self, schema: dict[str, Any], components: dict[str, Any]) -> None:
        super().__init__(schema, components["schemas"])
        _ = self._validator  # compiled now, so that a broken schema stops the start


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

    def __init__(self, path: Path = kling_openapi.SERVICE, only: tuple[str, ...] | None = None) -> None:
        """*path*: a contract, a model file, or a folder of them. *only*: the models that are served, by default all."""
        self.path = path
        self.family = kling_openapi.family() if path == kling_openapi.SERVICE else kling_openapi.read_family(path)
        self.document = self.family.document()
        self.models = _served(self.family, only)
        if not _is_shipped(path, self.family):
            for problem in unknown(self.document):
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
        self.address = _address_rules(self.family.callback)
        common = self.schemas["TaskCommon"]["properties"]
        self.model = self.family.default
        self.object: str = common["object"]["const"]
        self.type: str = common["type"]["const"]
        self.id = IdRules(**_values(common["id"]["x-id"]))
        self.user_group: str = self.schemas["Usage"]["properties"]["user_group"]["default"]
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
        if not set(self.family.own.schema) >= {"x-price", "x-output"}:
            raise ContractError(
                f"{self.path}: {self.model}: neither a model file nor the shipped contract prices this model"
            )
        if CREATE in self.operations:
            self.shape({"$ref": "#/components/schemas/CreateVideo"})

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
        """Request body of each operation that has one, save the create."""
        found = {}
        for operation in self.operations.values():
            if operation.id == CREATE:
                continue  # each model has its own
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


def _is_shipped(path: Path, family: kling_openapi.Family) -> bool:
    """Return whether the contract is the shipped one, unchanged: a test holds that all in it is known, so that no start looks again."""
    return path == kling_openapi.SERVICE and all(map(is_known, (kling_openapi.SERVICE, PARTS, family.own.path)))


def _values(extension: dict[str, Any]) -> dict[str, Any]:
    """Return the members of an extension without its grade and sources."""
    return {name: value for name, value in extension.items() if not name.startswith("x-")}


def _served(family: kling_openapi.Family, only: tuple[str, ...] | None) -> dict[str, Model]:
    """Return the models that are served, by name.

    Raises:
        ContractError: one of those asked for is not there.
    """
    for name in only or ():
        if name not in family.models:
            raise ContractError(f"--models: there is no model {name!r}; there are {', '.join(family.models)}")
    return {name: model for name, model in family.models.items() if only is None or name in only}


def _address_rules(field: dict[str, Any]) -> AddressRules:
    policy = field["x-callback-address"]
    internal = tuple(ip_network(text) for text in policy["internal"])
    return AddressRules(tuple(policy["schemes"]), field["maxLength"], False, internal)


def _operations(paths: dict[str, Any]) -> Iterator[Operation]:
    for path, item in paths.items():
        for method, description in item.items():
            yield Operation(description["operationId"], method.upper(), path, description)


def unknown(node: Any, pointer: str = "#") -> Iterator[str]:
    """Everything in the document that the fake would silently not obey."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from unknown(item, f"{pointer}/{index}")
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
            yield from unknown(value, place)


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
