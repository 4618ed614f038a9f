"""What a request brings, judged by the contract: its JSON body, its form, its query."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from kling_mock.config import ServiceSettings
from kling_mock.contract import CREATE, Contract, Shape
from kling_mock.core.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from kling_mock.web.http import Request

if TYPE_CHECKING:
    from kling_mock.web.forms import Form

JSON = "application/json"
_KEPT, _KEPT_BYTES = 512, 4096
"""Bodies of creates that were found right, and how long one of them may be; clients send the same one again and again."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


class Incoming:
    """Reads requests as the contract describes them."""

    def __init__(self, contract: Contract, service_settings: ServiceSettings) -> None:
        self._bodies = contract.bodies
        self._queries = {name: contract.query(name) for name in contract.operations}
        self._refuse_unknown = service_settings.unknown_fields == "refuse"
        self._models = contract.models
        names = {"type": "string", "enum": list(contract.models)}
        self._any = contract.shape({"type": "object", "required": ["model"], "properties": {"model": names}})
        self._small: int = service_settings.max_body_bytes
        file = contract.files.max_bytes
        # A file as it is, or as four characters for each three bytes, and the space that any other body has for what is around it.
        larger = {"uploadStream": file + self._small, "uploadBase64": -(-file // 3) * 4 + self._small}
        self._known, self._asked = lru_cache(_KEPT)(self._create), lru_cache(_KEPT)(self._query)
        self.limits = {name: larger.get(name, self._small) for name in contract.operations}

    def json(self, operation: str, request: Request) -> Any:
        """Return the decoded JSON body, in the shape that the operation takes.

        Raises:
            RequestTooLarge, UnsupportedMediaType: as for any other body.
            InvalidRequest: it is not JSON, or `param` is missing or wrong.
        """
        value = json_body(request, self.limits[operation])
        _check(self._bodies[operation].shape, value)
        return value

    def create(self, request: Request) -> dict[str, Any]:
        """Return the body of a create, in the shape that the model which it names takes. It is not to be changed: it is kept.

        Raises:
            RequestTooLarge, UnsupportedMediaType: as for any other body.
            InvalidRequest: it is not JSON, or `param` is missing, wrong, or unknown where the settings refuse unknown fields.
        """
        _check_kind(request, self.limits[CREATE])
        body = request.body
        return self._known(body) if len(body) <= _KEPT_BYTES else self._create(body)

    def _create(self, raw: bytes) -> dict[str, Any]:
        value = _decoded(raw)
        named = value.get("model") if isinstance(value, dict) else None
        model = self._models.get(named) if isinstance(named, str) else None
        if model is None:
            _check(self._any, value)
            raise InvalidRequest("model is not served here", param="model")
        if not model.fits(value):
            problem = model.problems(value)[0]
            raise InvalidRequest(problem.message, param=problem.param)
        if self._refuse_unknown:
            unknown = next((name for name in value if name not in model.fields), None)
            if unknown is not None:
                raise InvalidRequest(f"{unknown} is not a field of this request", param=unknown)
        body: dict[str, Any] = value
        return body

    @contextmanager
    def form(self, operation: str, request: Request) -> Iterator["Form"]:
        """Return the multipart body, in the shape that the operation takes; its files are closed afterwards.

        Raises:
            RequestTooLarge, UnsupportedMediaType: as for any other body.
            InvalidRequest: it cannot be read, or `param` is missing or wrong.
        """
        from kling_mock.web.forms import read  # and Werkzeug, which only forms need

        limit = self.limits[operation]
        if request.oversize or len(request.body) > limit:
            raise RequestTooLarge(f"the body is larger than {limit} bytes")
        with ExitStack() as opened:
            form = read(request, self._small, opened)
            _check(self._bodies[operation].shape, {**form.fields, **({"file": ""} if form.files else {})})
            yield form

    def query(self, operation: str, request: Request) -> dict[str, Any]:
        """Return the query's parameters with their defaults, typed; those that the contract does not name are ignored.

        It is not to be changed: it is kept.

        Raises:
            InvalidRequest: `param` breaks its schema.
        """
        query = request.query
        return self._asked(operation, query) if len(query) <= _KEPT_BYTES else self._query(operation, query)

    def _query(self, operation: str, query: str) -> dict[str, Any]:
        given = dict(parse_qsl(query, keep_blank_values=True))
        values: dict[str, Any] = {}
        for name, parameter in self._queries[operation].items():
            if name not in given:
                values[name] = parameter.schema.get("default")
                continue
            value = _typed(given[name], parameter.schema)
            _check(parameter.shape, value, name)
            values[name] = value
        return values


def json_body(request: Request, limit: int) -> Any:
    """Return the decoded body of a JSON request.

    Raises:
        RequestTooLarge: it is longer than *limit* bytes.
        UnsupportedMediaType: it says it is something else than JSON.
        InvalidRequest: it is not JSON.
    """
    _check_kind(request, limit)
    return _decoded(request.body)


def _check_kind(request: Request, limit: int) -> None:
    if request.oversize or len(request.body) > limit:
        raise RequestTooLarge(f"the body is larger than {limit} bytes")
    said = request.headers.get("content-type")
    if said is None or said == JSON:
        return
    media_type = (said or JSON).partition(";")[0].strip().lower()
    if media_type != JSON and not media_type.endswith("+json"):
        raise UnsupportedMediaType(f"send {JSON}, not {media_type}")


def _decoded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error


def _typed(text: str, schema: dict[str, Any]) -> Any:
    """Return a query's text as the type that its schema asks for; non-numeric text is left for the schema to reject."""
    return int(text) if schema.get("type") == "integer" and _INTEGER.fullmatch(text) else text


def _check(shape: Shape, value: Any, name: str = "") -> None:
    problem = None if shape.fits(value) else shape.problem(value, name)
    if problem is not None:
        raise InvalidRequest(problem.message, param=problem.param)
