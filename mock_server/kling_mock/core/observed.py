"""Single responses as they were seen: what a profile says where no setting has a word for it.

Each item names the fake's own responses that it is about (`on`, `status`, `task`, `body`, `missing`, `text`) and what is different in them.
`kling-contract compare --profile FILE` writes such items.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from msgspec import Meta, field

from kling_mock.core.records import Data


class Observed(Data):
    """One item.

    on: operationIds, or method and path; none for every response. status: of the fake's own response. task: the states of the task in it.
    body: the members of the request, image_start aside where it is a text. missing: members that it lacks. text: the whole body of a
    request that is no JSON object. take: the create goes on with this body in place of its own. respond and replace: the status and the
    body given instead. set and drop: members by dotted names, `*` for each item of a list. retype: members that keep their value in another
    type, a number as a text or the other way round. headers: set, or taken away where null.
    delay: seconds in which the body is sent.
    """

    on: tuple[str, ...] = ()
    status: int | None = None
    task: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    missing: tuple[str, ...] = ()
    text: str | None = None
    take: dict[str, Any] | None = None
    respond: Annotated[int, Meta(ge=200, le=599)] | None = None
    replace: Any = None
    set: dict[str, Any] = field(default_factory=dict)
    retype: dict[str, Literal["string", "number"]] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    headers: dict[str, str | None] = field(default_factory=dict)
    delay: Annotated[float, Meta(ge=0, le=3600)] | None = None

    def asked(self, operation: str, body: bytes) -> bool:
        """Return whether it is about *operation* with that body of the request."""
        if self.on and operation not in self.on:
            return False
        if self.text is not None:
            return body.decode(errors="replace") == self.text
        return (self.body is None and not self.missing) or self._has(loaded(body))

    def _has(self, request: Any) -> bool:
        if not isinstance(request, dict) or any(name in request for name in self.missing):
            return False
        wanted = dict(self.body or {})
        if "image_start" not in (*wanted, *self.missing):
            if not isinstance(request.get("image_start"), str):
                return False
            wanted["image_start"] = request["image_start"]
        return _same(request, wanted)

    def shown(self, status: int, response: Any) -> bool:
        """Return whether it is about a response of *status* with the JSON body *response*."""
        if self.status is not None and status != self.status:
            return False
        return not self.task or (isinstance(response, dict) and response.get("status") in self.task)

    def changed(self, response: Any) -> Any:
        """Return the JSON body *response* as it was observed."""
        body = orjson.loads(orjson.dumps(self.replace if self.replace is not None else response))
        for name, value in self.set.items():
            whole = name.endswith(".*")
            for holder, last in _places(body, name.removesuffix(".*").split(".")):
                holder[last] = [value for _ in holder.get(last) or ()] if whole else value
        for name, kind in self.retype.items():
            for holder, last in _places(body, name.split(".")):
                if last in holder:
                    holder[last] = _retyped(holder[last], kind)
        for name in self.drop:
            for holder, last in _places(body, name.split(".")):
                holder.pop(last, None)
        return body


def taken(items: Sequence[Observed], operation: str, request: bytes) -> bytes:
    """Return the body with which a request goes on: its own, unless an item says otherwise."""
    if not any(item.take is not None for item in items):
        return request
    for item in items:
        if item.take is not None and item.asked(operation, request):
            return orjson.dumps(item.take)
    return request


def loaded(body: bytes) -> Any:
    """Return the JSON of *body*; None where it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _places(node: Any, path: Sequence[str]) -> list[tuple[dict[str, Any], str]]:
    """Return where in *node* a dotted name leads: holders and the name in them; none where it leads nowhere."""
    *inner, last = path
    nodes = [node]
    for part in inner:
        found: list[Any] = []
        for one in nodes:
            if part == "*" and isinstance(one, list):
                found += one
            elif isinstance(one, dict) and part in one:
                found.append(one[part])
        nodes = found
    return [(one, last) for one in nodes if isinstance(one, dict)]


def _retyped(value: Any, kind: str) -> Any:
    """Return a number as a text, or a text as the number that it spells; anything else as it is."""
    if kind == "string":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return orjson.dumps(value).decode() if is_number else value
    number = loaded(value.encode()) if isinstance(value, str) else value
    return number if isinstance(number, int | float) and not isinstance(number, bool) else value


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Return whether two JSON objects are equal; true is not 1, and 5.0 is not 5."""
    return orjson.dumps(left, option=orjson.OPT_SORT_KEYS) == orjson.dumps(right, option=orjson.OPT_SORT_KEYS)
