"""Cases of result links: what they give, and until when."""

import re

from kling_common.bodies import json_or_none
from kling_contract.driving.drivers.run_context import RunContext, Script, ScriptBroken
from kling_contract.driving.session import Seen, Session
from kling_contract.reading.view import links_of
from kling_contract.rules.rulebook import rules

_PARTS = ("bytes=0-99", "bytes=100-199", "bytes=0-", "bytes=0-999999999")
"""A beginning, a part from the middle, and all of it in two ways."""
_FINE = 0.25
"""Account seconds between two looks near the end, so that the moment of completion is known that closely."""


def fetched(context: RunContext, session: Session) -> None:
    """A link fetched twice whole, and once in part."""
    made = context.made(session, prompt="links")
    end = context.until_end(session, made.task_id)[made.task_id]
    for link in end.links:
        session.download(link, look=True)
        session.download(link)
        for part in _PARTS:
            session.download(link, asked_range=part)
        unsigned = _unsigned(context, link)
        for other in (*unsigned, *_signed_for_another(context, session, link)) if unsigned else ():
            session.download(other)
    later = session.read(made.task_id)
    for link in set(later.links) - set(end.links):
        session.download(link)


def _unsigned(context: RunContext, link: str) -> list[str]:
    """A signed link without its query, and with another signature."""
    signed = re.compile(rules(context.contract)["SK-12"].params["signs"], re.IGNORECASE)
    bare, _, query = link.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    named = next((number for number, (name, _, value) in enumerate(pairs) if value and signed.search(name)), None)
    if named is None:
        return []
    name, _, value = pairs[named]
    pairs[named] = name, "=", f"{value[:-1]}{'0' if value[-1] != '0' else '1'}"
    return [bare, f"{bare}?{'&'.join(''.join(pair) for pair in pairs)}"]


def _signed_for_another(context: RunContext, session: Session, link: str) -> list[str]:
    """A signed link with the signature of another task's; none where that would take real time."""
    if "clock" not in context.features:
        return []
    task = context.made(session, prompt="another link").task_id
    other = context.until_end(session, task, step=60.0)[task].links[:1]
    return [f"{link.partition('?')[0]}?{each.partition('?')[2]}" for each in other if "?" in each]


def agreeing(context: RunContext, session: Session) -> None:
    """The links of one task as its callback tells them, as a query does, and as one does an hour later; each is fetched."""
    told: list[str] = []
    route, url = context.route(session, hook=lambda body: told.extend(links_of(json_or_none(body))))
    task = context.made(session, prompt="links everywhere", callback_url=url).task_id
    now = context.until_end(session, task)[task].links
    context.arrived(route)
    session.clock.advance(3600)
    later = session.read(task).links
    for link in dict.fromkeys((*told, *now, *later)):
        session.download(link)


def expiry(context: RunContext, session: Session) -> None:
    """A link a second before its end and after it; the task itself is still there."""
    task, live, end = _completed_closely(context, session)
    lifetime = context.contract.link_lifetime
    session.fetch(end)
    # The completion lies between the last living read (live) and the first read of the end.
    session.clock.advance(lifetime - 1 - (session.clock.moment().at - live))
    session.fetch(end)
    session.read(task)
    session.clock.advance(1 + _FINE)
    session.fetch(end)
    session.read(task)
    session.clock.advance(lifetime)
    session.fetch(end)
    session.read(task)


def _completed_closely(context: RunContext, session: Session) -> tuple[str, float, Seen]:
    """A completed task, the moment of its last living read, and the read that showed its end."""
    if "scenarios" in context.features:
        context.tell(session, "completed", queued="1s", runs="4s")
    task = context.made(session, prompt="expiry").task_id
    for _ in range(40_000):
        seen = session.read(task)
        if seen.state == "completed":
            return task, session.clock.moment().at - _FINE, seen
        if seen.state in context.contract.terminal:
            break
        session.clock.advance(_FINE)
    raise ScriptBroken(f"a task that should complete is {seen.state or seen.status}")


SCRIPTS = (
    Script("links", ("SK-01", "SK-02", "SK-03", "SK-08", "SK-09", "SK-10", "SK-12", "SK-13", "SK-14"), fetched),
    Script("links-agree", ("SK-11",), agreeing, needs=("relays", "clock")),
    Script("expiry", ("SK-04", "SK-05", "SK-06", "SK-07"), expiry, needs=("clock",)),
)
