"""How much of a request's body may be read: decided by route, method, caller and length, before a byte of it is kept."""

from typing import Any

from kling_mock.core.errors import ApiError
from kling_mock.web.application import Application
from kling_mock.web.http import Request
from kling_mock.web.parts import Fake

_CONTROL = "control."
_PAGE = "page."


class Reading:
    """Judges requests by their heads, by the routes of *application* where the contract and the control protocol do not name the path."""

    def __init__(self, fake: Fake, application: Application) -> None:
        self._fake = fake
        self._application = application
        self._limits = fake.api.incoming.limits
        operations = fake.world.contract.operations
        self._plain = {
            (one.method, one.path): self._limits[name] for name, one in operations.items() if "{" not in one.path
        }
        self._small: int = fake.world.service_settings.max_body_bytes

    def most(self, request: Request) -> int | None:
        """Return how many bytes of the body the route would look at; 0 where it refuses the request whatever the body is.

        None where `routed` says it, which may make the Flask application.
        """
        limit = self._plain.get((request.method, request.path))
        if limit is not None:
            return limit if self._has_key(request) else 0
        if self._fake.control.protocol.find(request.method, request.path) is not None:
            return self._small if self._fake.control.access.may_call(request) else 0
        return None

    def routed(self, request: Request) -> int:
        """Return what `most` does, of any path."""
        endpoint = self._endpoint(request)
        if endpoint in self._limits:
            return self._limits[endpoint] if self._has_key(request) else 0
        if endpoint.startswith((_CONTROL, _PAGE)):
            login = endpoint == f"{_PAGE}login"
            return self._small if login or self._fake.control.access.may_call(request) else 0
        return 0

    def _endpoint(self, request: Request) -> str:
        if request.path.startswith("//"):
            return ""
        from werkzeug.exceptions import HTTPException  # Flask is there by now

        routes = self._application().url_map.bind("")
        try:
            found: tuple[str, Any] = routes.match(request.path, request.method)
        except HTTPException:
            return ""
        return found[0]

    def _has_key(self, request: Request) -> bool:
        try:  # on the event loop: the store, which may be far or away, is not asked
            self._fake.world.key_in(request.headers.get("authorization"))
        except ApiError:
            return False
        return True
