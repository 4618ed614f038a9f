"""Responses changed on their way out, as a profile observed them."""

from collections.abc import Sequence

import orjson

from kling_mock.core.observed import Observed, loaded
from kling_mock.core.scenarios import Wire
from kling_mock.web.http import Reply, Request


def as_observed(items: Sequence[Observed], operation: str, request: Request, reply: Reply) -> None:
    """Change *reply* as a profile observed it."""
    shown = loaded(reply.body)
    for item in [item for item in items if item.asked(operation, request.body) and item.shown(reply.status, shown)]:
        if item.replace is not None or item.set or item.drop:
            shown = item.changed(shown)
            reply.body = orjson.dumps(shown)
        reply.status = item.respond or reply.status
        names = {name.lower() for name in item.headers}
        reply.headers = [(name, value) for name, value in reply.headers if name.lower() not in names]
        reply.headers += [(name, value) for name, value in item.headers.items() if value is not None]
        if item.delay:
            reply.wire = Wire(drip=item.delay)
