"""Responses changed on their way out, as a profile observed them."""

from collections.abc import Sequence

import orjson

from kling_mock.core.observed import Observed, loaded
from kling_mock.core.scenarios import Wire
from kling_mock.web.http import ApiResponse, Request


def as_observed(items: Sequence[Observed], operation: str, request: Request, response: ApiResponse) -> None:
    """Change *response* as a profile observed it."""
    shown = loaded(response.body)
    for item in [item for item in items if item.asked(operation, request.body) and item.shown(response.status, shown)]:
        if item.replace is not None or item.set or item.retype or item.drop:
            shown = item.changed(shown)
            response.body = orjson.dumps(shown)
        response.status = item.respond or response.status
        names = {name.lower() for name in item.headers}
        response.headers = [(name, value) for name, value in response.headers if name.lower() not in names]
        response.headers += [(name, value) for name, value in item.headers.items() if value is not None]
        if item.delay:
            response.wire = Wire(drip=item.delay)
