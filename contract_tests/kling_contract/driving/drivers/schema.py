"""Requests drawn from the contract's schemas by Schemathesis, right ones and wrong ones, and the link create to query.

Only its generation is used: what it draws goes through the session, so it stands in the history and the same judges
judge it. Its own checks are left out: they know nothing of what the contract says outside its schemas. Never run against
a service that bills.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
from hypothesis import given, seed

from kling_contract.driving.drivers.drawn import bounds, no_traces
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.receiver import HOST
from kling_contract.driving.session import Session
from kling_contract.history.labels import Expect, Probe
from kling_contract.reading.contract import Contract
from kling_openapi.spots import changed

EXAMPLES = 25
"""Draws of each operation, right and wrong each."""
SECONDS = 10.0
"""Real seconds after which nothing more is drawn."""
_READ_EVERY = 5


def run(context: RunContext) -> list[str]:
    """Draw, send and record; answers lines for the user.

    Raises:
        Stopped: the target is gone.
    """
    session = context.session("schema")
    driver = _Driver(context, session)
    with no_traces(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Schemathesis, about parts of the contract that it does not use
        for label, operation, modes in _operations(context):
            for mode in modes:
                context.options.parts.plan(f"drawn requests: {label}")
                driver.draw(label, operation, mode)
                context.options.parts.over(f"drawn requests: {label}")
    return [f"schema: {driver.sent} requests drawn"]


def _operations(context: RunContext) -> Iterator[tuple[str, Any, list[Any]]]:
    """Each operation that the target answers: its operationId, Schemathesis' own object, and the modes of drawing."""
    from schemathesis import GenerationMode
    from schemathesis import openapi as loader

    document = copy.deepcopy(dict(context.contract.document_of(context.contract.asks)))
    names = {"createVideo", "getTask", *context.target.optional}
    wanted = {context.contract.named(name).template for name in names}
    document["paths"] = {path: item for path, item in document["paths"].items() if path in wanted}
    schema = loader.from_dict(document)
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # the contract is valid, so none of them is an error
        known = context.contract.operation(operation.method.upper(), operation.path)
        if known is not None and known.id in names:
            yield known.id, operation, list(GenerationMode)


class _EnoughError(Exception):
    """The time for drawing is over."""


class _Driver:
    """Sends what is drawn."""

    def __init__(self, context: RunContext, session: Session) -> None:
        self.context, self.session = context, session
        self.sent = 0
        self._end = 0.0

    def draw(self, label: str, operation: Any, mode: Any) -> None:
        """Some requests of one operation."""

        @seed(self.context.options.seed or 0)
        @bounds(EXAMPLES, shrink=False)
        @given(case=operation.as_strategy(generation_mode=mode))
        def each(case: Any) -> None:
            now = self.context.recorder.mono()
            self._end = self._end or now + SECONDS
            if now > self._end:
                raise _EnoughError
            self._send(label, case)

        with suppress(_EnoughError):
            each()

    def _send(self, label: str, case: Any) -> None:
        if label == "createVideo":
            self._create(case.body)
        else:
            self._get(label, case)

    def _create(self, drawn: Any) -> None:
        body = tamed(drawn, self.context)
        try:
            orjson.dumps(body)
        except TypeError:  # a number that no JSON of ours holds, or no body at all
            return
        self.sent += 1
        seen = self.session.create(body, probe=Probe(field="drawn"))
        if seen.task_id and self.sent % _READ_EVERY == 0:
            self.session.read(seen.task_id)

    def _get(self, label: str, case: Any) -> None:
        parts = urlsplit(case.as_transport_kwargs(base_url="http://target")["url"])
        last = parts.path.rpartition("/")[2]
        if label == "getTask" and (not last.strip(".") or "%2f" in last.lower() or not last.isascii()):
            return  # another path by the time a server has decoded it
        known = label == "getTask" and self.context.contract.task_id_pattern.search(last)
        probe = Probe(expect=Expect.NO_SUCH_TASK) if known else Probe()
        self.sent += 1
        self.session.call("GET", parts.path + (f"?{parts.query}" if parts.query else ""), probe=probe)


def tamed(drawn: Any, context: RunContext) -> Any:
    """A drawn create with what lies outside the schema made harmless.

    A right image URL becomes one that can be fetched, a right callback URL one of the kit's, a whole number one without
    a point, and a prompt names no story of the fake.
    """
    if not isinstance(drawn, dict):
        return drawn
    wrong = _wrong_fields(drawn, context.contract)
    body = _reachable(dict(drawn), wrong, context)
    if "callback_url" in body and "callback_url" not in wrong:
        if context.target.accounts:  # whose clock stands still, so that nothing is ever sent there
            body["callback_url"] = f"https://{HOST}/drawn"
        else:
            del body["callback_url"]
    duration = body.get("duration")
    if isinstance(duration, float) and duration.is_integer():
        body["duration"] = int(duration)
    if isinstance(body.get("prompt"), str):
        body["prompt"] = body["prompt"].replace("[[", "[")
    return body


def _reachable(body: dict[str, Any], wrong: set[str], context: RunContext) -> dict[str, Any]:
    """Return *body* with every right URL of a picture, video or sound one that can be fetched."""
    asked = context.contract.asked
    if asked is not None and context.contract.asks_another:
        urls = {it.limits.kind: it.url for example in asked.examples for it in reversed(asked.media(example))}
        given = {kind: url for kind, url in context.media.items() if url}
        for medium in asked.media(body):
            if medium.steps[0] not in wrong:
                body = changed(body, medium.steps, {**urls, **given}[medium.limits.kind])
        return body
    for name in body:
        if name not in wrong and "x-image" in context.contract.member(name):
            body[name] = context.options.image
    return body


def _wrong_fields(body: dict[str, Any], contract: Contract) -> set[str]:
    try:
        plain = orjson.loads(orjson.dumps(body))
    except TypeError:
        return set(body)
    return {flaw.field for flaw in contract.create_flaws(plain)}
