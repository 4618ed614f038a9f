"""The control protocol as openapi/control.yaml declares it: its paths, what a call may bring, and its errors."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson

import kling_openapi
from kling_mock.contract import Shape
from kling_mock.core.notation import typed
from kling_mock.web.http import ApiResponse, Request, json_reply
from kling_openapi.schemas import Problem

_MOST_FIELDS = 100


class ControlError(Exception):
    """A control call that cannot be done; `code` is one of the protocol's own, `param` the member or parameter at fault."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def _filled(template: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    """Return the parameters that make *template* into *parts*; None where none do."""
    given: dict[str, str] = {}
    for wanted, part in zip(template, parts, strict=True):
        if wanted.startswith("{") and part:
            given[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return given


def bad_request(message: str, param: str | None = None) -> ControlError:
    """Return the error for a call that breaks the protocol."""
    return ControlError("bad_control_request", message, param)


class Protocol:
    """The document: `paths` maps each path to its operationIds by method."""

    def __init__(self) -> None:
        document = kling_openapi.read(kling_openapi.CONTROL)
        self.paths: dict[str, dict[str, str]] = {
            path: {method.upper(): call["operationId"] for method, call in item.items() if method != "parameters"}
            for path, item in document["paths"].items()
        }
        calls = {(method, path): name for path, methods in self.paths.items() for method, name in methods.items()}
        self._literal = {key: name for key, name in calls.items() if "{" not in key[1]}
        self._templates = {(it, tuple(path.split("/"))): name for (it, path), name in calls.items() if "{" in path}
        self._calls = {
            call["operationId"]: call
            for item in document["paths"].values()
            for method, call in item.items()
            if method != "parameters"
        }
        self._components = document["components"]
        self._errors = {entry["x-error"]["code"]: entry["x-error"] for entry in self._components["responses"].values()}
        self._shapes: dict[str, Shape] = {}

    def find(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """Return the operationId at *path*, and what stands in its place for each parameter; None where there is no such call.

        A literal path goes before a template, as in OpenAPI.
        """
        operation = self._literal.get((method, path))
        if operation is not None:
            return operation, {}
        parts = path.split("/")
        for (taken, template), name in self._templates.items():
            if taken == method and len(template) == len(parts):
                given = _filled(template, parts)
                if given is not None:
                    return name, given
        return None

    def arguments(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the query's parameters by name, and the body as `body` where the operation takes one.

        Raises:
            ControlError: a parameter or the body breaks its schema.
        """
        return {**self._query(operation, request), **self._body(operation, request)}

    def refusal(self, error: ControlError) -> ApiResponse:
        """Return a control error in the service's envelope."""
        entry = self._errors[error.code]
        body = {"code": error.code, "message": str(error), "type": entry["type"]}
        return json_reply({"error": body | ({"param": error.param} if error.param else {})}, entry["status"])

    def _shape(self, name: str, schema: dict[str, Any]) -> Shape:
        if name not in self._shapes:
            self._shapes[name] = Shape(schema, self._components)
        return self._shapes[name]

    def _body(self, operation: str, request: Request) -> dict[str, Any]:
        content = self._calls[operation].get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return {}
        if request.oversize:
            raise bad_request("the body is too large for a control call")
        try:
            value = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise bad_request(f"the body is not JSON: {error}") from error
        problem = self._shape(operation, content["schema"]).problem(value)
        if problem is not None:
            raise bad_request(problem.message, problem.param)
        return {"body": value}

    def _query(self, operation: str, request: Request) -> dict[str, Any]:
        declared = {
            entry["name"]: entry for entry in self._calls[operation].get("parameters", ()) if entry.get("in") == "query"
        }
        try:
            given = parse_qs(
                request.query, keep_blank_values=True, strict_parsing=bool(request.query), max_num_fields=_MOST_FIELDS
            )
        except ValueError as error:
            raise bad_request(f"the query string cannot be read: {error}") from error
        unknown = next((name for name in given if name not in declared), None)
        if unknown is not None:
            raise bad_request(f"there is no parameter {unknown!r}; there are {', '.join(declared) or 'none'}", unknown)
        values: dict[str, Any] = {}
        for name, entry in declared.items():
            if name in given:
                values[name] = self._parameter(operation, name, entry["schema"], given[name][-1])
            elif entry.get("required"):
                raise bad_request(f"the parameter {name} is required", name)
        return values

    def _parameter(self, operation: str, name: str, schema: dict[str, Any], text: str) -> Any:
        value: Any = text
        if schema.get("type") in ("integer", "number"):
            value = typed(text, 0.0)  # whole numbers stay whole
        problem: Problem | None = self._shape(f"{operation} {name}", schema).problem(value)
        if problem is not None:
            raise bad_request(f"{name}: {problem.message.removeprefix('the body: ')}", name)
        return value
