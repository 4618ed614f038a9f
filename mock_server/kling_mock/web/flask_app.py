"""The Flask application: it finds the route, reads the body, and turns an `ApiResponse` into a response.

Plain calls of the service and of the control protocol do not get this far, see `Shortcut`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
)
from werkzeug.routing import Rule

from kling_mock.core.errors import ServiceUnavailable
from kling_mock.store.interface import StoreDown
from kling_mock.web.api import fits, no_control_call, no_method, no_route
from kling_mock.web.control_protocol import ControlError
from kling_mock.web.faults import Faults
from kling_mock.web.http import REPLY, REQUEST, ApiResponse, Request
from kling_mock.web.page.routes import blueprint, is_browser, lost
from kling_mock.web.parts import Fake
from kling_mock.web.shortcut import Shortcut

_PIECE = 64 * 1024


class _Rule(Rule):
    """A route that compiles what builds its URL when one is first built: for most that is never, and half of what they cost."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_it, compiled = super()._compile_builder, list[Callable[..., tuple[str, str]]]()

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            if not compiled:
                compiled.append(compile_it(append_unknown))
            return compiled[0](rule, **values)

        return build


class _Flask(Flask):
    url_rule_class = _Rule


def flask_app(fake: Fake) -> Flask:
    """Return a Flask application over *fake*; its parts are in `app.extensions["kling-mock"]`."""
    app = _Flask("kling_mock", static_folder=None)
    app.extensions["kling-mock"] = fake
    app.wsgi_app = Faults(Shortcut(app.wsgi_app, fake))  # type: ignore[method-assign]
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    for name, path, method, view in _routes(fake):
        app.add_url_rule(path, name, view, methods=[method], provide_automatic_options=False)
    app.register_blueprint(blueprint(fake))
    app.before_request(_refuse_empty_segment)
    app.log_exception = _logged_elsewhere  # type: ignore[method-assign]
    app.register_error_handler(StoreDown, lambda error: _response(fake.api.refuse(_down(error), _request())))
    app.register_error_handler(HTTPException, lambda error: _no_such(fake, error))
    return app


def _routes(fake: Fake) -> Iterator[tuple[str, str, str, Any]]:
    """Yield endpoint, path, method and view of every route."""
    for name in fake.api.handlers:
        operation = fake.world.contract.operations[name]
        yield name, _rule(operation.path), operation.method, _api_view(fake, name)
    yield from _shadowed(fake)
    for path, methods in fake.control.protocol.paths.items():
        for method, name in methods.items():
            yield f"control.{name}", _rule(path), method, _control_view(fake, name)
    yield "media.video", "/files/<account>/<task_id>.mp4", "GET", _media_view(fake)
    yield "metrics", "/metrics", "GET", lambda: _response(fake.metrics.get(_request()))
    yield "media.upload", "/uploads/<account>/<file_id>/<name>", "GET", _upload_view(fake)


def _down(error: StoreDown) -> ServiceUnavailable:
    return ServiceUnavailable(str(error))


def _shadowed(fake: Fake) -> Iterator[tuple[str, str, str, Any]]:
    """Yield refusals of what a literal path does not take and a template that it fits would: OpenAPI matches the literal first."""
    operations = [fake.world.contract.operations[name] for name in fake.api.handlers]
    for literal in (it for it in operations if "{" not in it.path):
        taken = [it.method for it in operations if it.path == literal.path]
        for other in operations:
            if other.method not in taken and fits(other.path, literal.path):
                yield f"{literal.id} no {other.method}", literal.path, other.method, _no_method_view(fake, taken)


def _no_method_view(fake: Fake, allowed: list[str]) -> Any:
    def view() -> Response:
        asked = _request()
        return _response(fake.api.refuse(no_method(asked, allowed), asked))

    return view


def _rule(path: str) -> str:
    return path.replace("{", "<").replace("}", ">")


def _api_view(fake: Fake, operation: str) -> Any:
    def view(**parameters: str) -> Response:
        return _response(fake.api.call(operation, _request(), **parameters))

    return view


def _control_view(fake: Fake, operation: str) -> Any:
    def view(**parameters: str) -> Response:
        return _response(fake.control.call(operation, _request(), **parameters))

    return view


def _media_view(fake: Fake) -> Any:
    def view(account: str, task_id: str) -> Response:
        query = request.args
        api_response = fake.media.download(
            _request(), account, task_id, query.get("expires", ""), query.get("signature", "")
        )
        return _ranged(api_response, api_response.status == 200 and bool(api_response.more.get("video")))

    return view


def _upload_view(fake: Fake) -> Any:
    def view(account: str, file_id: str, name: str) -> Response:
        del name  # for people: the id alone finds the file
        api_response = fake.files.download(_request(), account, file_id)
        return _ranged(api_response, api_response.status == 200)

    return view


def _ranged(api_response: ApiResponse, is_file: bool) -> Response:
    """Return the response; of a file, the requested range. The journal has what really goes out."""
    response = _response(api_response)
    if is_file:
        response.add_etag()
        try:
            length = len(api_response.body) if api_response.file is None else response.content_length
            response.make_conditional(_one_range(), accept_ranges=True, complete_length=length)
        except RequestedRangeNotSatisfiable as error:
            response = Response(status=416, headers=error.get_headers())
    if api_response.note is not None:
        headers = [(name.lower(), value) for name, value in response.headers.items()]
        sent = 0 if response.status_code in (304, 416) else response.content_length or 0
        rendered = {name: value for name, value in api_response.more.items() if name == "rendered_seconds"}
        api_response.note(status=response.status_code, headers=headers, more={"body_bytes": sent, **rendered})
    return response


def _one_range() -> dict[str, Any]:
    """Return the environ with a Range of a single part, or without one: any other is ignored, as RFC 9110 14.2 allows."""
    asked = request.range
    single = asked is not None and asked.units == "bytes" and len(asked.ranges) == 1
    return {name: value for name, value in request.environ.items() if single or name != "HTTP_RANGE"}


def _no_such(fake: Fake, error: HTTPException) -> Response:
    """Return the response for an unknown path or method: the control protocol's error under `/__mock`, else the service's.

    An error inside the fake arrives here too; Flask has logged it.
    """
    asked = _request()
    if isinstance(error, InternalServerError):
        return _response(fake.api.failed(error.original_exception or error, asked))
    if asked.path.startswith("//"):
        return _response(fake.api.refuse(no_route(asked), asked))
    if is_browser(asked):
        return _for_people(fake, asked, error.code or 404)
    if asked.path == "/__mock" or asked.path.startswith("/__mock/"):
        return _response(
            fake.control.protocol.refusal(
                ControlError("bad_control_request", no_control_call(asked, _control_calls(fake)))
            )
        )
    allowed = _allowed(fake, asked.path, error) if isinstance(error, MethodNotAllowed) else []
    problem = no_method(asked, allowed) if allowed else no_route(asked, _known(fake))
    return _response(fake.api.refuse(problem, asked))


def _allowed(fake: Fake, path: str, error: MethodNotAllowed) -> list[str]:
    """Return the methods of the path that is closest to *path*: those of a template are not those of a literal one."""
    own = [it.method for it in fake.world.contract.operations.values() if it.path == path]
    return own or [method for method in error.valid_methods or () if method != "HEAD"]


def _control_calls(fake: Fake) -> list[tuple[str, str]]:
    """Return method and path of every control call."""
    return [(method.upper(), path) for path, methods in fake.control.protocol.paths.items() for method in methods]


def _known(fake: Fake) -> list[tuple[str, str]]:
    """Return method and path of every operation of the contract that is served."""
    found = [fake.world.contract.operations[name] for name in fake.api.handlers]
    return [(operation.method, operation.path) for operation in found]


def _for_people(fake: Fake, asked: Request, status: int) -> Response:
    """What a browser sees at a path or a method that is not there; the bare host and `/__mock` lead to the page."""
    if asked.path in ("/", "/__mock"):
        return Response(status=302, headers={"Location": "/__mock/"})
    return lost(fake, status, asked.path, f"Invalid URL ({asked.method} {asked.path})")


def _logged_elsewhere(exc_info: Any) -> None:
    """Write nothing: the error handler logs what failed, with the request's id."""


def _refuse_empty_segment() -> None:
    """Refuse `//v1/...`: Werkzeug routes it as `/v1/...`, which no service does."""
    if _path().startswith("//"):
        raise NotFound


def _path() -> str:
    """Return the path as it came, without what Werkzeug does to it."""
    raw: str = request.environ.get("PATH_INFO", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace") if raw.startswith("//") else request.path


def _request() -> Request:
    known: Request | None = request.environ.get(REQUEST)
    return known or Request(
        method=request.method,
        path=_path(),
        query=request.query_string.decode("latin-1"),
        headers=request.headers,
        body=request.get_data(cache=False),
        client=request.remote_addr or "",
        scheme=request.scheme,
    )


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes; it is opened when the first are asked for, which HEAD and the edge never do."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _response(api_response: ApiResponse) -> Response:
    for future in api_response.after:
        future.result()
    request.environ[REPLY] = api_response
    if api_response.file is None:
        response = Response(api_response.body, api_response.status)
    else:
        response = Response(_pieces(api_response.file), api_response.status, direct_passthrough=True)
        response.content_length = api_response.file.stat().st_size
    del response.headers["content-type"]
    for name, value in api_response.headers:
        response.headers.add(name, value)
    return response
