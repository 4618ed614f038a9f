"""How much of a request's body may be read: decided by route, method, caller and length, before a byte of it is kept."""

from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from kling_mock.core.errors import ApiError
from kling_mock.web.http import Request
from kling_mock.web.parts import Fake

_CONTROL = "control."
_PAGE = "page."


class Reading:
    """Judges requests by their heads. *routes* are those of the Flask application."""

    def __init__(self, fake: Fake, routes: Map) -> None:
        self._fake = fake
        self._routes = routes.bind("")
        self._limits = fake.api.incoming.limits
        operations = fake.world.contract.operations
        self._plain = {
            (one.method, one.path): self._limits[name] for name, one in operations.items() if "{" not in one.path
        }
        self._small: int = fake.world.service_settings.max_body_bytes

    def most(self, request: Request) -> int:
        """Return how many bytes of the body the route would look at; 0 where it refuses the request whatever the body is."""
        limit = self._plain.get((request.method, request.path))
        if limit is not None:
            return limit if self._has_key(request) else 0
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
        try:
            found: tuple[str, Any] = self._routes.match(request.path, request.method)
        except HTTPException:
            return ""
        return found[0]

    def _has_key(self, request: Request) -> bool:
        try:  # on the event loop: the store, which may be far or away, is not asked
            self._fake.world.key_in(request.headers.get("authorization"))
        except ApiError:
            return False
        return True
