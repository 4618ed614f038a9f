"""Single responses as they were seen: what a profile says where no setting has a word for it.

Each item names the fake's own responses that it is about (`on`, `status`, `task`, `body`, `no_object`) and what is different in them.
`kling-contract compare --profile FILE` writes such items.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field


class Observed(BaseModel):
    """One item.

    on: operationIds, or method and path; none for every response. status: of the fake's own response. task: the states of the task in
    it. body: members that the request has with those values, all others left out but image_start. no_object: the request's body
    is no JSON object. take: the create goes on with this body in place of its own. respond and replace: the status and the body given
    instead. set and drop: members by dotted names, `*` for each item of a list. headers: set, or taken away where null. delay: seconds
    in which the body is sent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: tuple[str, ...] = ()
    status: int | None = None
    task: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    no_object: bool = False
    take: dict[str, Any] | None = None
    respond: int | None = Field(None, ge=200, le=599)
    replace: Any = None
    set: dict[str, Any] = {}
    drop: tuple[str, ...] = ()
    headers: dict[str, str | None] = {}
    delay: float | None = Field(None, ge=0, le=3600)

    def asked(self, operation: str, request: Any) -> bool:
        """Return whether it is about *operation* with the JSON *request*; None for a body that is not JSON."""
        if self.on and operation not in self.on:
            return False
        if self.no_object:
            return not isinstance(request, dict)
        if self.body is None:
            return True
        if not isinstance(request, dict):
            return False
        text = "image_start" not in self.body and isinstance(request.get("image_start"), str)
        rest = {name: value for name, value in request.items() if not (text and name == "image_start")}
        return _same(rest, self.body)

    def shown(self, status: int, response: Any) -> bool:
        """Return whether it is about a response of *status* with the JSON body *response*."""
        if self.status is not None and status != self.status:
            return False
        return not self.task or (isinstance(response, dict) and response.get("status") in self.task)

    def changed(self, response: Any) -> Any:
        """Return the JSON body *response* as it was observed."""
        body = orjson.loads(orjson.dumps(self.replace if self.replace is not None else response))
        for name, value in self.set.items():
            for holder, last in _places(body, name.split(".")):
                holder[last] = value
        for name in self.drop:
            for holder, last in _places(body, name.split(".")):
                holder.pop(last, None)
        return body


def taken(items: Sequence[Observed], operation: str, request: bytes) -> bytes:
    """Return the body with which a request goes on: its own, unless an item says otherwise."""
    if not any(item.take is not None for item in items):
        return request
    value = loaded(request)
    for item in items:
        if item.take is not None and item.asked(operation, value):
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


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Return whether two JSON objects are equal; true is not 1, and 5.0 is not 5."""
    return orjson.dumps(left, option=orjson.OPT_SORT_KEYS) == orjson.dumps(right, option=orjson.OPT_SORT_KEYS)
