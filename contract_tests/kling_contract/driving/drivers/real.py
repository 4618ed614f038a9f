"""A service that bills: a list of calls, written down before anything is sent, and nothing else.

`readonly` is free when the service behaves and stops at the first negative that is accepted. `paid` sends one create,
the cheapest, and lets it serve as many rules as it can.
"""

import base64
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kling_contract.driving.drivers.probes import Near, near_misses
from kling_contract.driving.drivers.refusals import MALFORMED
from kling_contract.driving.drivers.room import Room, pause
from kling_contract.driving.guard import Price, Stopped
from kling_contract.driving.receiver import Route
from kling_contract.driving.session import Seen, Session
from kling_contract.driving.target import made_up_id
from kling_contract.history.labels import Expect, Probe

POLL = 10.0
"""Seconds between two polls of the real service (kits.md 5)."""
PATIENCE = 1800.0
_REPEATED = 3
_ARRIVES = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One planned call. auth as `Session.call` takes it, `{key}` filled in when it is sent; charges in dollars."""

    method: str
    path: str
    rules: tuple[str, ...]
    what: str = ""
    body: Any = None
    raw: bytes | None = None
    auth: str | None = ""
    expect: Expect | None = None
    expected_usd: float = 0.0
    worst_usd: float = 0.0

    def probe(self) -> Probe:
        """The label of its exchange."""
        value = self.what if len(self.what) < 200 else self.what[:60] + "..."
        return Probe(rules=self.rules, expect=self.expect, value=value)

    def send(self, session: Session) -> Seen:
        """Send it."""
        auth = (
            None
            if self.auth is None
            else self.auth.format(key=session.key, basic=base64.b64encode(f"{session.key}:".encode()).decode())
        )
        return session.call(self.method, self.path, self.body, raw=self.raw, auth=auth, probe=self.probe())


def reads(room: Room) -> Iterator[Step]:
    """Calls that cost nothing whatever the service makes of them."""
    unknown = f"Bearer unknown-{secrets.token_hex(12)}"
    nobody = f"/v1/tasks/{made_up_id()}"
    create = room.contract.named("createVideo").template
    for malformed in MALFORMED:
        yield Step("GET", f"/v1/tasks/{malformed}", ("SL-16",), "a malformed id")
    yield Step("GET", nobody, ("SL-16",), "an id of nobody", expect=Expect.NO_SUCH_TASK)
    yield Step("GET", create, ("SW-16",), "a method that the path does not have")
    for path in (nobody, *_optional(room)):
        yield Step("GET", path, ("SA-01",), "no key", auth=None, expect=Expect.UNAUTHORIZED)
        yield Step("GET", path, ("SA-02",), "an unknown key", auth=unknown, expect=Expect.UNAUTHORIZED)
    for auth in ("Basic {basic}", "Token {key}", "{key}"):
        yield Step("GET", nobody, ("SA-03",), "another scheme", auth=auth, expect=Expect.UNAUTHORIZED)
    yield Step("GET", nobody, ("SA-09",), "bearer in small letters", auth="bearer {key}", expect=Expect.NO_SUCH_TASK)


def _optional(room: Room) -> list[str]:
    return [room.contract.named(name).template for name in sorted(room.target.optional)]


def negatives(room: Room, price: Price) -> Iterator[Step]:
    """Creates that must be refused, the cheapest risk first."""
    create = room.contract.named("createVideo").template
    right = room.body()
    unknown = f"Bearer unknown-{secrets.token_hex(12)}"
    high = {**right, "duration": room.contract.duration_max + 1}
    wrong_keys = (
        (("SA-01",), "a right body without a key", right, None),
        (("SA-02",), "a right body with an unknown key", right, unknown),
        (("SA-03",), "a right body with the key in another scheme", right, "Token {key}"),
        (("SA-04",), "the key in the body", {**right, "api_key": "{key}"}, None),
        (("SA-05",), "a wrong body with an unknown key", high, unknown),
    )
    steps = [
        Step("POST", create, rules, what, body, auth=auth, expect=Expect.UNAUTHORIZED, worst_usd=price.worst(body, room.contract))
        for rules, what, body, auth in wrong_keys
    ]  # fmt: skip
    misses = [near for near in near_misses(room.contract, right) if not near.risky]
    for number, near in enumerate(misses):
        step = _negative(create, near, price.worst(near.body, room.contract))
        steps += [step] * (2 if number < _REPEATED else 1)
    yield from sorted(steps, key=lambda step: step.worst_usd)


def _negative(path: str, near: Near, worst: float) -> Step:
    value = repr(near.value)
    shown = value if len(value) < 60 else f"{value[:40]}... ({len(str(near.value))} characters)"
    what = f"{near.field or 'body'}: {shown}"
    return Step("POST", path, near.rules, what, near.body, near.raw, expect=Expect.REFUSED, worst_usd=worst)


def readonly_steps(room: Room, price: Price, max_usd: float | None) -> list[Step]:
    """Everything that a read-only run sends; a negative that may cost more than *max_usd* is left out."""
    steps = [*reads(room), *negatives(room, price)]
    return [step for step in steps if max_usd is None or step.worst_usd <= max_usd]


def paid_step(room: Room, price: Price) -> Step:
    """The one create that a paid run sends: the shortest, in the default quality."""
    body = room.body()
    worst = price.worst(body, room.contract)
    rules = ("SV-05", "SV-10", "SV-15", "SL-01", "SB-01")
    create = room.contract.named("createVideo").template
    what = f"the cheapest task: {body['duration']} s, {body['quality']}"
    return Step("POST", create, rules, what, body, expect=Expect.ACCEPTED, expected_usd=worst, worst_usd=worst)


def readonly(room: Room, steps: Iterable[Step]) -> None:
    """Send *steps*, one after the other.

    Raises:
        Stopped: a negative was accepted, its reply was lost, or the service asks for a pause.
    """
    session = room.session("readonly", shared=True)
    session.credits()
    session.list_tasks()
    for step in steps:
        _filled(step, session).send(session)
    session.list_tasks()
    session.credits()


def _filled(step: Step, session: Session) -> Step:
    """*step* with the key in its body, where that is what it is about."""
    if isinstance(step.body, dict) and step.body.get("api_key") == "{key}":
        return Step(
            step.method, step.path, step.rules, step.what, {**step.body, "api_key": session.key}, None, step.auth, step.expect
        )  # fmt: skip
    return step


def paid(room: Room, step: Step, wait: Callable[[float], None] = pause) -> None:
    """One task from create to its last byte, then the free reads.

    Raises:
        Stopped: the create was not accepted as planned, or the service asks for a pause.
    """
    session = room.session("paid", shared=True)
    session.credits()
    route = None
    body = dict(step.body)
    if room.options.callback_base:
        route, body["callback_url"] = room.route(session)
    made = session.create(body, probe=step.probe())
    if not made.task_id:
        raise Stopped(f"the create was answered {made.status or made.reply.lost}: {_why(made)}; nothing more is sent")
    session.read(made.task_id)
    session.credits()
    end = _until_end(room, session, made.task_id, wait)
    if route is not None and end.state in room.contract.terminal:
        _await(room, session, route, made.task_id)
    session.read(made.task_id)
    session.credits()
    for link in end.links:
        session.download(link, look=True)
        session.download(link)
        session.download(link, asked_range="bytes=0-99")
    for read in reads(room):
        read.send(session)
    session.credits()


def _why(made: Seen) -> str:
    error = made.body.get("error") if isinstance(made.body, dict) else None
    return str(error.get("message", ""))[:200] if isinstance(error, dict) else "no error object"


def _until_end(room: Room, session: Session, task: str, wait: Callable[[float], None]) -> Seen:
    began = room.recorder.mono()
    while True:
        seen = session.read(task)
        over = seen.state in room.contract.terminal
        if over or room.recorder.mono() - began > room.options.patience:
            return seen
        wait(room.options.poll)


def _await(room: Room, session: Session, route: Route, task: str) -> None:
    """Wait for the callback and for a repeat that must not come."""
    route.wait(1, _ARRIVES)
    pause(2 * room.contract.retry_delays[0])
    room.settled(session, task)
