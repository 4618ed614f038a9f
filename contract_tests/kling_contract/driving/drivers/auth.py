"""Cases of keys and accounts: no key, wrong keys, keys in wrong places, another account's task."""

import base64
import secrets

from kling_contract.driving.drivers.room import Room, Script
from kling_contract.driving.session import Session
from kling_contract.driving.target import made_up_id
from kling_contract.history.labels import Expect, Probe

_UNKNOWN = Expect.UNAUTHORIZED


def keys(room: Room, session: Session) -> None:
    """Every wrong way to say who one is, with bodies that are right and wrong."""
    wrong_keys(room, session)
    schemes(room, session)
    elsewhere(room, session)


def wrong_keys(room: Room, session: Session) -> None:
    """No key and unknown keys, on every path that the target answers."""
    unknown = f"Bearer unknown-{secrets.token_hex(12)}"
    for auth in (None, unknown):
        probe = Probe(rules=("SA-01",) if auth is None else ("SA-02",), expect=_UNKNOWN)
        session.create(room.body(), probe=probe, auth=auth)
        session.read(made_up_id(), probe=probe, auth=auth)
        for name in sorted(room.target.optional):
            session.call("GET", room.contract.named(name).template, probe=probe, auth=auth)
        early = Probe(rules=("SA-05",), expect=_UNKNOWN)
        session.create({**room.body(), "duration": room.contract.duration_max + 1}, probe=early, auth=auth)
        session.create([], probe=early, auth=auth)


def schemes(room: Room, session: Session) -> None:
    """The right key in another scheme, and in the right one in another case."""
    basic = base64.b64encode(f"{session.key}:".encode()).decode()
    for auth in (f"Basic {basic}", f"Token {session.key}", session.key, f"ApiKey {session.key}"):
        probe = Probe(rules=("SA-03",), expect=_UNKNOWN)
        session.create(room.body(), probe=probe, auth=auth)
        session.read(made_up_id(), probe=probe, auth=auth)
    for value in ("", "Bearer", "Bearer "):
        empty = Probe(rules=("SA-11",), expect=_UNKNOWN)
        session.create(room.body(), probe=empty, auth=None, headers=[("Authorization", value)])
        path = room.contract.task_path(made_up_id())
        session.call("GET", path, probe=empty, auth=None, headers=[("Authorization", value)])
    for word in ("bearer", "BEARER"):
        session.read(made_up_id(), probe=Probe(rules=("SA-09",)), auth=f"{word} {session.key}")


def elsewhere(room: Room, session: Session) -> None:
    """The right key in the query string and in the body."""
    probe = Probe(rules=("SA-04",), expect=_UNKNOWN)
    create = room.contract.named("createVideo").template
    for name in ("key", "api_key", "access_token"):
        session.call("GET", f"{room.contract.task_path(made_up_id())}?{name}={session.key}", probe=probe, auth=None)
    session.call("POST", f"{create}?api_key={session.key}", room.body(), probe=probe, auth=None)
    session.create({**room.body(), "api_key": session.key}, probe=probe, auth=None)


def isolation(room: Room, session: Session) -> None:
    """Another account's task: by query, in the list, and with an unknown key."""
    other = _other(room, session)
    task = room.made(session).task_id
    session.read(task)
    if other is not None:
        other.read(task, probe=Probe(rules=("SA-06",)))
        other.read(made_up_id(), probe=Probe(rules=("SA-07",), expect=Expect.NO_SUCH_TASK))
        other.list_tasks()
        if "listTasks" in room.target.optional:
            other.call(
                "POST", room.contract.named("batchTasks").template, {"task_ids": [task]}, probe=Probe(rules=("SA-06",))
            )
    unknown = f"Bearer unknown-{secrets.token_hex(12)}"
    for asked in (task, made_up_id()):
        probe = Probe(rules=("SA-07",), expect=_UNKNOWN)
        session.read(asked, probe=probe, auth=unknown)
        session.read(asked, probe=probe, auth=None)


def _other(room: Room, session: Session) -> Session | None:
    if room.target.second_key:
        return session.as_key(room.target.second_key)
    return room.session("isolation-other") if room.target.accounts else None


def access(room: Room, session: Session) -> None:
    """A key that may not use the model."""
    probe = Probe(rules=("SA-10",), expect=Expect.NO_ACCESS)
    if room.target.denied_key:
        session.as_key(room.target.denied_key).create(room.body(), probe=probe)
        return
    assert session.control is not None
    session.control.account(models=[])
    session.create(room.body(), probe=probe)
    session.control.account(models=[room.contract.model])


SCRIPTS = (
    Script("keys", ("SA-01", "SA-02", "SA-03", "SA-04", "SA-05", "SA-08", "SA-09", "SA-11"), keys, creates=False),
    Script("isolation", ("SA-06", "SA-07"), isolation),
)
ACCESS = Script("access", ("SA-10",), access, creates=False)
"""Needs either a key that is denied or the control protocol's accounts."""
