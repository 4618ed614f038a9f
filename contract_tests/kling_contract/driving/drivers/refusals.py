"""Cases in which nothing may be accepted: near misses, wrong methods, unknown ids, bodies that are too large."""

from kling_contract.driving.drivers.probes import Near, near_misses
from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.session import Seen, Session
from kling_contract.driving.target import made_up_id
from kling_contract.history.labels import Expect, Probe

REPEATED = 4
"""Every so many near misses, one is sent twice (SV-28)."""
_LIMIT = 2
"""Requests that the account may send."""
MALFORMED = ("task", "1234", "video-1700000000-abcdefgh")


def send(session: Session, near: Near) -> Seen:
    """One near miss."""
    value = near.value if len(repr(near.value)) < 200 else f"{repr(near.value)[:60]}..."
    probe = Probe(rules=near.rules, expect=Expect.REFUSED, field=near.field, value=value)
    path = session.contract.named("createVideo").template
    return session.call("POST", path, near.body, raw=near.raw, probe=probe)


def refusals(context: RunContext, session: Session) -> None:
    """Every near miss, between two readings of the credits and of the list of tasks."""
    session.credits()
    session.list_tasks()
    for number, near in enumerate(near_misses(context.contract, context.body())):
        send(session, near)
        if number % REPEATED == 0:
            send(session, near)
    session.list_tasks()
    session.credits()


def reading(context: RunContext, session: Session) -> None:
    """GETs alone between two readings of the credits; malformed ids, and unknown ids."""
    session.credits()
    unknown_ids(session)
    for _ in range(3):
        session.read(made_up_id(), probe=Probe(rules=("SL-16",), expect=Expect.NO_SUCH_TASK))
    session.credits()
    del context


def unknown_ids(session: Session) -> None:
    """Queries of malformed ids, and of one that is only unknown."""
    for malformed in MALFORMED:
        session.read(malformed, probe=Probe(rules=("SL-16",)))
    session.read(made_up_id(), probe=Probe(rules=("SL-16",), expect=Expect.NO_SUCH_TASK))


def methods(context: RunContext, session: Session) -> None:
    """Methods that the two paths do not have, and a path that does not exist."""
    create = context.contract.named("createVideo").template
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        session.call(method, create, probe=Probe(rules=("SW-16",)))
    for method in ("PUT", "DELETE", "POST"):
        session.call(method, context.contract.task_path(made_up_id()), probe=Probe(rules=("SW-16",)))
    session.call("GET", create[:-1])
    session.call("GET", f"{create}/{made_up_id()}", probe=Probe(rules=("SW-25",)))
    session.call("GET", context.contract.root)


def large(context: RunContext, session: Session) -> None:
    """A body over the limit."""
    body = {**context.body(), "prompt": "x" * context.contract.max_body}
    session.create(body, probe=Probe(rules=("SW-18",), expect=Expect.REFUSED))


def rated(context: RunContext, session: Session) -> None:
    """More requests than the account may send."""
    assert session.control is not None
    session.control.account(rate_limit=_LIMIT)
    steady = "clock" in context.features and context.target.accounts
    for number in range(4):
        beyond = ("SW-24",) if steady and number >= _LIMIT else ()
        session.read(made_up_id(), probe=Probe(rules=("SW-19", *beyond)))
    session.create(context.body(), probe=Probe(rules=("SW-19", *(("SW-24",) if steady else ()))))
    session.control.account(rate_limit=None)


SCRIPTS = (
    Script(
        "refusals",
        (
            "SV-01", "SV-02", "SV-03", "SV-04", "SV-06", "SV-07", "SV-08", "SV-09", "SV-11", "SV-13", "SV-14", "SV-16",
            "SV-17", "SV-18", "SV-19", "SV-33", "SV-27", "SV-28", "SV-29", "SW-14", "SW-17", "SB-05",
        ),
        refusals,
        alone=True,
        creates=False,
    ),
    Script("reading", ("SL-16", "SB-07"), reading, alone=True, creates=False),
    Script("methods", ("SW-16", "SW-25"), methods, creates=False),
    Script("large", ("SW-18",), large, creates=False),
    Script("rated", ("SW-19", "SW-24"), rated, needs=("credits",), creates=False),
)  # fmt: skip
