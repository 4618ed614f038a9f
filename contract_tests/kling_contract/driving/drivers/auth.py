"""Cases of keys and accounts: no key, wrong keys, keys in wrong places, another account's task."""

import base64
import secrets

from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.session import Session
from kling_contract.driving.target import made_up_id
from kling_contract.history.labels import Expect, Probe

_UNKNOWN = Expect.UNAUTHORIZED
_NO_KEYS = ("null", "undefined", "*")
"""What programs send that have no key."""


def keys(context: RunContext, session: Session) -> None:
    """Every wrong way to say who one is, with bodies that are right and wrong."""
    wrong_keys(context, session)
    schemes(context, session)
    elsewhere(context, session)


def wrong_keys(context: RunContext, session: Session) -> None:
    """No key and unknown keys, on every path that the target answers."""
    unknown = f"Bearer unknown-{secrets.token_hex(12)}"
    batch = context.contract.named("batchTasks").template
    for auth in (None, unknown):
        probe = Probe(rules=("SA-01",) if auth is None else ("SA-02",), expect=_UNKNOWN)
        session.create(context.body(), probe=probe, auth=auth)
        session.read(made_up_id(), probe=probe, auth=auth)
        for name in sorted(context.target.optional):
            session.call("GET", context.contract.named(name).template, probe=probe, auth=auth)
        if "listTasks" in context.target.optional:
            session.call("POST", batch, {"task_ids": [made_up_id()]}, probe=probe, auth=auth)
        early = Probe(rules=("SA-05",), expect=_UNKNOWN)
        session.create({**context.body(), "duration": context.contract.duration_max + 1}, probe=early, auth=auth)
        session.create([], probe=early, auth=auth)
    for word in _NO_KEYS:
        session.read(made_up_id(), probe=Probe(rules=("SA-02",), expect=_UNKNOWN), auth=f"Bearer {word}")


def schemes(context: RunContext, session: Session) -> None:
    """The right key in another scheme, and in the right one in another case."""
    basic = base64.b64encode(f"{session.key}:".encode()).decode()
    others = [f"{word} {session.key}" for word in ("Token", "ApiKey", "Digest")]
    for auth in (f"Basic {basic}", session.key, *others):
        probe = Probe(rules=("SA-03",), expect=_UNKNOWN)
        session.create(context.body(), probe=probe, auth=auth)
        session.read(made_up_id(), probe=probe, auth=auth)
    for value in ("", "Bearer", "Bearer "):
        empty = Probe(rules=("SA-11",), expect=_UNKNOWN)
        session.create(context.body(), probe=empty, auth=None, headers=[("Authorization", value)])
        path = context.contract.task_path(made_up_id())
        session.call("GET", path, probe=empty, auth=None, headers=[("Authorization", value)])
    for word in ("bearer", "BEARER"):
        session.read(made_up_id(), probe=Probe(rules=("SA-09",)), auth=f"{word} {session.key}")


def elsewhere(context: RunContext, session: Session) -> None:
    """The right key in the query string and in the body."""
    probe = Probe(rules=("SA-04",), expect=_UNKNOWN)
    create = context.contract.named("createVideo").template
    for name in ("key", "api_key", "access_token"):
        session.call("GET", f"{context.contract.task_path(made_up_id())}?{name}={session.key}", probe=probe, auth=None)
    session.call("POST", f"{create}?api_key={session.key}", context.body(), probe=probe, auth=None)
    session.create({**context.body(), "api_key": session.key}, probe=probe, auth=None)


def isolation(context: RunContext, session: Session) -> None:
    """Another account's task: by query, in the list, by its idempotency key, and with an unknown key."""
    other = other_account(context, session)
    key = [("Idempotency-Key", f"contract-{secrets.token_hex(16)}")]
    body = context.body(prompt="a secret of the account's own")
    task = session.create(body, headers=key).task_id or context.made(session).task_id
    session.read(task)
    if other is not None:
        other.read(task, probe=Probe(rules=("SA-06", "SA-12")))
        other.create(body, headers=key, probe=Probe(rules=("SB-17",)))
        other.read(made_up_id(), probe=Probe(rules=("SA-07",), expect=Expect.NO_SUCH_TASK))
        other.list_tasks()
        if "listTasks" in context.target.optional:
            other.call(
                "POST",
                context.contract.named("batchTasks").template,
                {"task_ids": [task]},
                probe=Probe(rules=("SA-06",)),
            )
        context.until_end(session, task)
        other.read(task, probe=Probe(rules=("SA-12",)))
    unknown = f"Bearer unknown-{secrets.token_hex(12)}"
    for asked in (task, made_up_id()):
        probe = Probe(rules=("SA-07",), expect=_UNKNOWN)
        session.read(asked, probe=probe, auth=unknown)
        session.read(asked, probe=probe, auth=None)


def other_account(context: RunContext, session: Session) -> Session | None:
    """The user's second key, else an account of another key of our making; None where there is neither."""
    if context.target.second_key:
        return session.as_key(context.target.second_key)
    return context.session(f"{session.case}-other") if context.target.accounts else None


def access(context: RunContext, session: Session) -> None:
    """A key that may not use the model."""
    probe = Probe(rules=("SA-10",), expect=Expect.NO_ACCESS)
    if context.target.denied_key:
        session.as_key(context.target.denied_key).create(context.body(), probe=probe)
        return
    assert session.control is not None
    session.control.account(models=[])
    session.create(context.body(), probe=probe)
    session.control.account(models=[context.contract.asks])


SCRIPTS = (
    Script("keys", ("SA-01", "SA-02", "SA-03", "SA-04", "SA-05", "SA-08", "SA-09", "SA-11"), keys, creates=False),
    Script("isolation", ("SA-06", "SA-07", "SA-12", "SB-17"), isolation),
)
ACCESS = Script("access", ("SA-10",), access, creates=False)
"""Needs either a key that is denied or the control protocol's accounts."""
