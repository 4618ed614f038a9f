"""The scripted run: every case that the target allows, side by side where accounts are apart."""

import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from kling_contract.driving.control import ControlFailed
from kling_contract.driving.drivers import auth, billing, callbacks, lifecycle, links, refusals, validation
from kling_contract.driving.drivers.features import lacking, without
from kling_contract.driving.drivers.room import Room, Script, ScriptBroken
from kling_contract.driving.guard import Stopped
from kling_contract.history.labels import Topic
from kling_contract.history.noise import measured
from kling_contract.reading.view import DEFAULT_NOISE

_SIDE_BY_SIDE = 8


def every_script(room: Room) -> list[Script]:
    """The scripts that suit the target, the longest first."""
    found = [
        *callbacks.SCRIPTS,
        *links.SCRIPTS,
        *lifecycle.SCRIPTS,
        *validation.SCRIPTS,
        *billing.SCRIPTS,
        *refusals.SCRIPTS,
        *auth.SCRIPTS,
    ]
    if room.options.drawn:
        found.insert(0, validation.IMAGES)
    if not room.options.quick:
        found.insert(0, lifecycle.LONGEST)
    if room.options.callback_base and room.options.real_time and "relays" not in room.features:
        found.append(callbacks.LIVE)
    access = auth.ACCESS
    needs = () if room.target.denied_key else ("credits",)
    return [*found, Script(access.name, access.rules, access.run, needs, access.alone, access.creates)]


def chosen(scripts: Iterable[Script], only: frozenset[str]) -> list[Script]:
    """The scripts that serve the rules *only*: all of them when one of those looks at everything, or when it is empty."""
    every = list(scripts)
    served = {rule for case in every for rule in case.rules}
    if not only or only - served:
        return every
    return [case for case in every if only & set(case.rules)]


def run(room: Room, only: frozenset[str] = frozenset()) -> None:
    """Make the history of a fake.

    Raises:
        Stopped: the target is gone, or a cap is reached.
    """
    # A name that leads elsewhere at delivery time takes a name server that the target asks.
    room.recorder.note(Topic.NOT_RUN, rule="SC-16", reason="needs a name server of the kit's own")
    missing = lacking(room)
    without(room, missing)
    named = room.options.scripts
    scripts = [case for case in chosen(every_script(room), only) if not named or case.name in named]
    ready = [case for case in scripts if _can(room, case)]
    with measured(room.recorder, DEFAULT_NOISE):
        if room.target.accounts:
            _side_by_side(room, ready)
        else:
            _on_one_account(room, ready)


def _on_one_account(room: Room, scripts: list[Script]) -> None:
    """Cases that watch the credits come first and one by one, those that make no task before those that do."""
    alone = sorted((case for case in scripts if case.alone), key=lambda case: case.creates)
    for case in alone:
        _run(room, case)
    steered = "clock" in room.features
    together = [case for case in scripts if not case.alone]
    if steered:
        for case in together:
            _run(room, case)
    else:
        _side_by_side(room, together)


def _side_by_side(room: Room, scripts: list[Script]) -> None:
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="case") as pool:
        running = [pool.submit(_run, room, case) for case in scripts]
    stopped = next((error for future in running if (error := future.exception()) is not None), None)
    if stopped is not None:
        raise stopped


def _can(room: Room, case: Script) -> bool:
    """Whether the target has what *case* needs; a note says what it lacks."""
    lacks = [name for name in case.needs if name not in room.features]
    if case.own and not room.target.accounts:
        lacks.append("accounts")
    if lacks:
        reason = f"needs a fake with the control protocol ({', '.join(lacks)})"
        for rule in case.rules:
            room.recorder.note(Topic.NOT_RUN, rule=rule, reason=reason)
    return not lacks


def _run(room: Room, case: Script) -> None:
    """One case; what breaks on the way is noted for its rules, and the other scripts go on."""
    try:
        case.run(room, room.session(case.name))
    except Stopped:
        raise
    except (ScriptBroken, ControlFailed) as error:
        _untestable(room, case, str(error))
    except Exception as error:  # whatever a broken server answers, the other scripts still run
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})"
        room.recorder.note(Topic.KIT_ERROR, rule="", reason=f"{case.name}: {reason}")
        _untestable(room, case, reason)


def _untestable(room: Room, case: Script, reason: str) -> None:
    for rule in case.rules:
        room.recorder.note(Topic.UNTESTABLE, rule=rule, reason=f"{case.name}: {reason}")
