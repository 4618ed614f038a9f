"""Server-sent events for the page: `clock` when the shown second changes, `change` when anything else does."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kling_mock.web.control_protocol import ControlError
from kling_mock.web.http import ApiResponse, Request
from kling_mock.web.page.words import moment
from kling_mock.web.parts import Fake

if TYPE_CHECKING:
    from kling_mock.web.page.facts import Facts

TOKEN_COOKIE = "kling_mock_token"  # noqa: S105 - its name
"""Where a browser on another machine keeps the admin token that was typed into the page."""

PATH = "/__mock/page/events"
EVERY = 0.5
"""Real seconds between two looks."""

_KEEP_ALIVE = 30


class Watch:
    """What one open page has been sent so far."""

    def __init__(self, facts: "Facts") -> None:
        self._facts = facts
        self._stamp = self._shown = ""
        self._quiet = 0

    def news(self) -> str:
        """The events since the last look, ready to be sent; a comment now and then keeps the connection open."""
        text = "".join(self._events())
        self._quiet = 0 if text else self._quiet + 1
        if self._quiet >= _KEEP_ALIVE:
            self._quiet = 0
            return ": still here\n\n"
        return text

    def _events(self) -> Iterator[str]:
        shown = moment(self._facts.fake.world.store.clock.now())
        if shown != self._shown:
            self._shown = shown
            yield f"event: clock\ndata: {shown}\n\n"
        stamp = self._facts.stamp()
        if stamp != self._stamp:
            self._stamp = stamp  # the first look says so too: something may have changed since the page was rendered
            yield "event: change\ndata:\n\n"


def admitted(fake: Fake, asked: Request, *, page: bool = False) -> ApiResponse | None:
    """What a browser is refused with that may not steer *fake*; None for one that may.

    The admin token may come in a cookie: a browser sends no headers of the user's own. *page*: a link on another site may open it.
    """
    from werkzeug.datastructures import Headers
    from werkzeug.http import parse_cookie

    headers = Headers(list(asked.headers.items()))
    headers.remove("authorization")
    token = parse_cookie(asked.headers.get("cookie")).get(TOKEN_COOKIE)
    if token and "x-mock-token" not in headers:
        headers["x-mock-token"] = token
    made = Request(asked.method, asked.path, "", headers, b"", asked.client)
    refusal = fake.control.access.refusal(made, page=page)
    return None if refusal is None else fake.control.protocol.refusal(ControlError("forbidden", refusal))
