"""Whether each declared part of the control protocol does what it is for: the least that the cases build on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from kling_common.members import list_in, member
from kling_contract.driving.control import Control, ControlFailed
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.session import Session
from kling_contract.history.labels import Topic
from kling_contract.reading.ledger import balance_of

_STEP = 7.0


def lacking(context: RunContext) -> dict[str, str]:
    """Declared features that do not work, each with the reason; noted in the history."""
    found: dict[str, str] = {}
    control = context.target.control
    if control is None:
        return found
    key = f"sk-contract-{context.token}-features" if context.target.accounts else context.target.key
    if "clock" in context.target.declared:
        try:
            _clock(control.of(key))
        except ControlFailed as failure:
            found["clock"] = str(failure)
            context.recorder.note(Topic.MISSING_FEATURE, feature="clock", reason=str(failure))
            without(context, found)
    session = Session(context.line, "features", key)
    for name in (name for name in context.target.declared if name in _CHECKS):
        try:
            _CHECKS[name](context, session)
        except ControlFailed as failure:
            found[name] = str(failure)
            session.note(Topic.MISSING_FEATURE, feature=name, reason=str(failure))
    return found


def without(context: RunContext, names: Mapping[str, str]) -> None:
    """Go on without the features *names*: what needs them is not run."""
    target = context.target
    kept = target.features - set(names)
    context.target = replace(target, features=kept, accounts=target.accounts and "clock" not in names)
    context.line = replace(context.line, target=context.target)


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


def _scenarios(_: RunContext, session: Session) -> None:
    listed = _control(session).call("GET", "/scenarios")
    missing = {"completed", "failed"} - {member(row, "name") for row in list_in(listed, "scenarios")}
    if missing:
        raise ControlFailed(f"the catalogue has no {' and no '.join(sorted(missing))}")


def _relays(_: RunContext, session: Session) -> None:
    _control(session).relays({"https://hooks.example.com": "http://127.0.0.1:9"})
    _control(session).relays({})


def _names(_: RunContext, session: Session) -> None:
    _control(session).names({"rebound.example.com": ["127.0.0.1"]})
    _control(session).names({})


def _cancel(context: RunContext, session: Session) -> None:
    task = session.create(context.body(prompt="to be cancelled")).task_id
    if not task:
        raise ControlFailed("no task to cancel")
    _control(session).cancel(task)
    session.note(Topic.CANCELLED, task_id=task)
    state = session.read(task).state
    session.credits()
    if state not in context.contract.terminal:
        raise ControlFailed(f"a cancelled task is {state or 'not there'}")


def _credits(context: RunContext, session: Session) -> None:
    wanted = 1234
    session.credits()
    _control(session).account(credits=wanted)
    if "getCredits" in context.target.optional:
        seen = balance_of(session.call("GET", context.contract.named("getCredits").template).body)
        if seen != wanted:
            raise ControlFailed(f"credits were set to {wanted} and are {seen}")


def _journal(_: RunContext, session: Session) -> None:
    answer = _control(session).call("GET", "/journal?since=0&limit=10")
    if not isinstance(member(answer, "entries"), list):
        raise ControlFailed("the journal has no entries")


def _wait(context: RunContext, session: Session) -> None:
    session.credits()
    task = session.create(context.body(prompt="to be waited for")).task_id
    if not task:
        raise ControlFailed("no task to wait for")
    try:
        answer = _control(session).call("GET", f"/wait?task_id={task}&until=terminal&timeout=0.01")
    except ControlFailed as failure:
        if " 408 " in str(failure):
            return
        raise
    if not isinstance(member(answer, "met"), bool):
        raise ControlFailed("wait does not say whether it was met")


_CHECKS: Mapping[str, Callable[[RunContext, Session], None]] = {
    "scenarios": _scenarios,
    "relays": _relays,
    "names": _names,
    "cancel": _cancel,
    "credits": _credits,
    "journal": _journal,
    "wait": _wait,
}
