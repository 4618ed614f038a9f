"""Whether each declared part of the control protocol does what it is for: the least that the cases build on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from kling_contract.driving.control import Control, ControlFailed
from kling_contract.driving.drivers.room import Room
from kling_contract.driving.guarded import balance_of
from kling_contract.driving.session import Session
from kling_contract.history.labels import Topic

_STEP = 7.0


def lacking(room: Room) -> dict[str, str]:
    """Declared features that do not work, each with the reason; noted in the history."""
    found: dict[str, str] = {}
    control = room.target.control
    if control is None:
        return found
    key = f"sk-contract-{room.token}-features" if room.target.accounts else room.target.key
    if "clock" in room.target.declared:
        try:
            _clock(control.of(key))
        except ControlFailed as failure:
            found["clock"] = str(failure)
            room.recorder.note(Topic.MISSING_FEATURE, feature="clock", reason=str(failure))
            without(room, found)
    session = Session(room.line, "features", key)
    for name in room.target.declared:
        try:
            _CHECKS.get(name, _unknown)(room, session)
        except ControlFailed as failure:
            found[name] = str(failure)
            session.note(Topic.MISSING_FEATURE, feature=name, reason=str(failure))
    return found


def without(room: Room, names: Mapping[str, str]) -> None:
    """Go on without the features *names*: what needs them is not run."""
    target = room.target
    kept = target.features - set(names)
    room.target = replace(target, features=kept, accounts=target.accounts and "clock" not in names)
    room.line = replace(room.line, target=room.target)


def _control(session: Session) -> Control:
    if session.control is None:
        raise ControlFailed("no control protocol")
    return session.control


def _clock(control: Control) -> None:
    before = control.set_clock("manual")
    after = control.advance(_STEP)
    if not math.isclose(after - before, _STEP, abs_tol=0.01) or abs(control.now() - after) > 0.01:
        raise ControlFailed(f"a manual clock moved by {_STEP:g} s went from {before:.3f} to {after:.3f}")
    control.set_clock("scaled", 2.0)
    control.set_clock("manual")


def _scenarios(room: Room, session: Session) -> None:
    listed = _control(session).call("GET", "/scenarios")
    rows = listed.get("scenarios") if isinstance(listed, dict) else None
    names = {row.get("name") for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
    missing = {"completed", "failed"} - names
    if missing:
        raise ControlFailed(f"the catalogue has no {' and no '.join(sorted(missing))}")
    del room


def _relays(room: Room, session: Session) -> None:
    _control(session).relays({"https://hooks.example.com": "http://127.0.0.1:9"})
    _control(session).relays({})
    del room


def _names(room: Room, session: Session) -> None:
    _control(session).names({"rebound.example.com": ["127.0.0.1"]})
    _control(session).names({})
    del room


def _cancel(room: Room, session: Session) -> None:
    task = session.create(room.body(prompt="to be cancelled")).task_id
    if not task:
        raise ControlFailed("no task to cancel")
    _control(session).cancel(task)
    session.note(Topic.CANCELLED, task_id=task)
    state = session.read(task).state
    session.credits()
    if state not in room.contract.terminal:
        raise ControlFailed(f"a cancelled task is {state or 'not there'}")


def _credits(room: Room, session: Session) -> None:
    wanted = 1234
    session.credits()
    _control(session).account(credits=wanted)
    if "getCredits" in room.target.optional:
        seen = balance_of(session.call("GET", room.contract.named("getCredits").template).body)
        if seen != wanted:
            raise ControlFailed(f"credits were set to {wanted} and are {seen}")


def _journal(room: Room, session: Session) -> None:
    answer = _control(session).call("GET", "/journal?since=0&limit=10")
    if not isinstance(answer, dict) or not isinstance(answer.get("entries"), list):
        raise ControlFailed("the journal has no entries")
    del room


def _wait(room: Room, session: Session) -> None:
    session.credits()
    task = session.create(room.body(prompt="to be waited for")).task_id
    if not task:
        raise ControlFailed("no task to wait for")
    try:
        answer = _control(session).call("GET", f"/wait?task_id={task}&until=terminal&timeout=0.01")
    except ControlFailed as failure:
        if " 408 " in str(failure):
            return
        raise
    if not isinstance(answer, dict) or not isinstance(answer.get("met"), bool):
        raise ControlFailed("wait does not say whether it was met")


def _unknown(room: Room, session: Session) -> None:
    del room, session


_CHECKS: Mapping[str, Callable[[Room, Session], None]] = {
    "scenarios": _scenarios,
    "relays": _relays,
    "names": _names,
    "cancel": _cancel,
    "credits": _credits,
    "journal": _journal,
    "wait": _wait,
}
