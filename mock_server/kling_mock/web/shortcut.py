"""WSGI without Flask for the service's own calls and control calls: it takes several times what their handlers do."""

from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.datastructures import EnvironHeaders
from werkzeug.http import HTTP_STATUS_CODES

from kling_common.heads import BODILESS
from kling_mock.core.errors import InvalidRequest
from kling_mock.web.http import REPLY, REQUEST, ApiResponse, Request
from kling_mock.web.parts import Fake
from kling_mock.web.routes import Routes


class Shortcut:
    """WSGI in front of the Flask application *app* of *fake*, which gets whatever is not as plain."""

    def __init__(self, app: Callable[..., Iterable[bytes]], fake: Fake) -> None:
        self._app, self._fake = app, fake
        self._routes = Routes(fake)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Respond to one request."""
        call = None if REQUEST in environ else self._call(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        length = environ.get("CONTENT_LENGTH") or "0"
        if call is None or not length.isdecimal() or "HTTP_TRANSFER_ENCODING" in environ:
            return self._app(environ, start_response)
        request = _request(environ, int(length))
        response = self._response(call, request)
        environ[REPLY] = response
        headers = [(name, str(value)) for name, value in response.headers]
        body = b"" if response.status in BODILESS else response.body
        if response.status not in BODILESS:
            headers.append(("Content-Length", str(len(body))))
        phrase = HTTP_STATUS_CODES.get(response.status, "Unknown").upper()
        start_response(f"{response.status} {phrase}", headers)
        return [body]

    def _call(self, method: str, path: str) -> Callable[[Request], ApiResponse] | None:
        """Return what handles a call; None for one that Flask routes, as it does whatever is not written in ASCII."""
        if not path.isascii():
            return None
        api, control = self._fake.api, self._fake.control
        found = self._routes.find(method, path)
        if found is not None:
            operation, given = found
            return lambda request: api.call(operation, request, **given)
        found = control.protocol.find(method, path)
        if found is not None:
            name, named = found
            return lambda request: control.call(name, request, **named)
        return None

    def _response(self, call: Callable[[Request], ApiResponse], request: Request) -> ApiResponse:
        if request.cut:
            return self._fake.api.refuse(InvalidRequest("the body ended before its Content-Length"), request)
        try:
            response = call(request)
        except Exception as error:
            return self._fake.api.failed(error, request)
        for future in response.after:
            future.result()
        return response


def _request(environ: dict[str, Any], length: int) -> Request:
    body = environ["wsgi.input"].read(length) if length else b""
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"],
        query=environ.get("QUERY_STRING", ""),
        headers=EnvironHeaders(environ),
        body=body,
        client=environ.get("REMOTE_ADDR") or "",
        scheme=environ["wsgi.url_scheme"],
        cut=len(body) < length,
    )
