"""Cases of lists: order, filters and pages of the account's tasks, and several tasks at once."""

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.session import Session
from kling_contract.driving.target import made_up_id
from kling_contract.history.labels import Probe
from kling_contract.reading.contract import Contract
from kling_contract.reading.listing import list_filters

_TASKS, _PAGE = 5, 2
_PATIENCE = 60
"""Account seconds in which a task should begin."""
_ODD_QUERIES = ("status=none", "page=1000000", "page=one", "page_size=1000000")
_ODD_BATCHES: tuple[Any, ...] = ({}, [], {"task_ids": "one"}, {"task_ids": [5]}, {"task_ids": []})
"""What must be answered, whatever the answer (SW-15). A page of 0 is left out: what a server then says of its page is open."""


def lists(context: RunContext, session: Session) -> None:
    """Some tasks of different states, the list of them in every way of asking for it, and batches up to the limit and beyond."""
    if "listModels" in context.target.optional:
        session.call("GET", context.contract.named("listModels").template)
    if "listTasks" not in context.target.optional:
        return
    ids = _several(context, session)
    _until_under_way(context, session, ids[-2])
    for task in ids:
        session.read(task)
    probe = Probe(rules=("ST-02", "ST-03"), group=f"list-{secrets.token_hex(4)}")
    template = context.contract.named("listTasks").template
    session.call("GET", template, probe=probe)
    for query in _queries(context.contract):
        session.call("GET", f"{template}?{urlencode(query)}", probe=probe)
    for odd in _ODD_QUERIES:
        session.call("GET", f"{template}?{odd}", probe=Probe(rules=("SW-15",)))
    _batches(context, session, ids)


def _queries(contract: Contract) -> Iterator[list[tuple[str, str]]]:
    """Pages, and every filter with each of its values."""
    for page in range(1, 4):
        yield [("page", str(page)), ("page_size", str(_PAGE))]
    for name, values in (
        ("status", list_filters(contract.document)),
        ("type", contract.output_types),
        ("model", (contract.model, f"{contract.model}-none")),
    ):
        for value in values:
            yield [(name, value)]


def _several(context: RunContext, session: Session) -> list[str]:
    """Tasks made a second apart: the first ones are over, the last ones are not."""
    ids = []
    for number in range(_TASKS):
        if number == 1 and "scenarios" in context.features:
            context.tell(session, "failed")
        probe = Probe(scenario="failed") if number == 1 and "scenarios" in context.features else None
        ids.append(context.made(session, prompt=f"listed {number}", probe=probe).task_id)
        if number == 1:
            context.until_end(session, *ids)
        if "clock" in context.features:
            session.clock.advance(1)
    return ids


def _until_under_way(context: RunContext, session: Session, task: str) -> None:
    """Move the clock until a task has begun, so that tasks of every status are listed."""
    for _ in range(_PATIENCE if "clock" in context.features else 0):
        if session.read(task).state != context.contract.live[0]:
            return
        session.clock.advance(1)


def _batches(context: RunContext, session: Session, ids: list[str]) -> None:
    template, most = context.contract.named("batchTasks").template, context.contract.batch_max
    full = [*ids, *(made_up_id() for _ in range(most - len(ids)))]
    for asked in (ids[:1], [*ids, made_up_id()], full, [*full, made_up_id()]):
        session.call("POST", template, {"task_ids": asked}, probe=Probe(rules=("ST-06",)))
    for odd in _ODD_BATCHES:
        session.call("POST", template, odd, probe=Probe(rules=("SW-15",)))


SCRIPTS = (
    Script("lists", ("ST-01", "ST-02", "ST-03", "ST-04", "ST-05", "ST-06", "ST-07"), lists, alone=True),
)  # fmt: skip
