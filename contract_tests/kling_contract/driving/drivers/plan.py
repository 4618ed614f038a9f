"""The scripted run: every case that the target allows, side by side where accounts are apart."""

import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from kling_contract.driving.control import ControlFailed
from kling_contract.driving.drivers import (
    auth,
    billing,
    callbacks,
    files,
    lifecycle,
    links,
    lists,
    models,
    refusals,
    validation,
)
from kling_contract.driving.drivers.features import lacking, without
from kling_contract.driving.drivers.run_context import RunContext, Script, ScriptBroken
from kling_contract.driving.guard import Stopped
from kling_contract.history.labels import Topic
from kling_contract.history.noise import measured
from kling_contract.reading.view import DEFAULT_NOISE
from kling_contract.rules.rulebook import rules

_SIDE_BY_SIDE = 8


def every_script(context: RunContext) -> list[Script]:
    """The scripts that suit the target, the longest first."""
    found = [
        *callbacks.SCRIPTS,
        *links.SCRIPTS,
        *lifecycle.SCRIPTS,
        *validation.SCRIPTS,
        *billing.SCRIPTS,
        *refusals.SCRIPTS,
        *auth.SCRIPTS,
        *lists.SCRIPTS,
        *files.SCRIPTS,
    ]
    if context.options.drawn:
        found.insert(0, validation.IMAGES)
    if not context.options.quick:
        found.insert(0, lifecycle.LONGEST)
    if context.contract.asked is not None:
        found += [*models.SCRIPTS, *([models.MEDIA] if context.options.drawn else [])]
    if context.contract.asks_another:
        found = [case for case in found if not case.document]
    if context.options.callback_base and context.options.real_time and "relays" not in context.features:
        found.append(callbacks.LIVE)
    access = auth.ACCESS
    needs = () if context.target.denied_key else ("credits",)
    return [*found, Script(access.name, access.rules, access.run, needs, access.alone, access.creates)]


def chosen(scripts: Iterable[Script], only: frozenset[str]) -> list[Script]:
    """The scripts that serve the rules *only*: all of them when one of those looks at everything, or when it is empty."""
    every = list(scripts)
    served = {rule for case in every for rule in case.rules}
    if not only or only - served:
        return every
    return [case for case in every if only & set(case.rules)]


def run(context: RunContext, only: frozenset[str] = frozenset()) -> None:
    """Make the history of a fake.

    Raises:
        Stopped: the target is gone, or a cap is reached.
    """
    # A name that leads elsewhere at delivery time takes a name server that the target asks.
    context.recorder.note(Topic.NOT_RUN, rule="SC-16", reason="needs a name server of the kit's own")
    _not_asked(context)
    missing = lacking(context)
    without(context, missing)
    named = context.options.scripts
    scripts = [case for case in chosen(every_script(context), only) if not named or case.name in named]
    ready = [case for case in scripts if _can(context, case)]
    context.options.parts.plan("scripts", len(ready))
    with measured(context.recorder, DEFAULT_NOISE) as context.noise:
        if context.target.accounts:
            _side_by_side(context, ready)
        else:
            _on_one_account(context, ready)


def _not_asked(context: RunContext) -> None:
    """Note why rules about members of the document's own model are not run where the run asks for another one."""
    contract = context.contract
    if contract.asked is None or not contract.asks_another:
        return
    if not contract.asked.slots.limits:
        why = f"{contract.asks} takes no picture, video or sound"
        context.recorder.note(Topic.NOT_RUN, rule="SM-03", reason=why)
    for rule in rules(contract).values():
        named = [rule.params[name] for name in ("field", "length", "tier") if name in rule.params]
        lacks = [name for name in named if name not in contract.asked.taken]
        if named:
            why = f"takes no {lacks[0]}" if lacks else "is held to its own file: SM-01 to SM-08"
            context.recorder.note(Topic.NOT_RUN, rule=rule.id, reason=f"about {contract.model}; {contract.asks} {why}")


def _on_one_account(context: RunContext, scripts: list[Script]) -> None:
    """Cases that watch the credits come first and one by one, those that make no task before those that do."""
    alone = sorted((case for case in scripts if case.alone), key=lambda case: case.creates)
    for case in alone:
        _run(context, case)
    steered = "clock" in context.features
    together = [case for case in scripts if not case.alone]
    if steered:
        for case in together:
            _run(context, case)
    else:
        _side_by_side(context, together)


def _side_by_side(context: RunContext, scripts: list[Script]) -> None:
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="case") as pool:
        running = [pool.submit(_run, context, case) for case in scripts]
    stopped = next((error for future in running if (error := future.exception()) is not None), None)
    if stopped is not None:
        raise stopped


def _can(context: RunContext, case: Script) -> bool:
    """Whether the target has what *case* needs; a note says what it lacks."""
    lacks = [name for name in case.needs if name not in context.features]
    if case.own and not context.target.accounts:
        lacks.append("accounts")
    if "relays" in case.needs and not context.takes_callbacks:
        for rule in case.rules:
            context.recorder.note(Topic.NOT_RUN, rule=rule, reason=f"{context.contract.asks} takes no callback_url")
        return False
    if lacks:
        reason = f"needs a fake with the control protocol ({', '.join(lacks)})"
        for rule in case.rules:
            context.recorder.note(Topic.NOT_RUN, rule=rule, reason=reason)
    return not lacks


def _run(context: RunContext, case: Script) -> None:
    """One case; what breaks on the way is noted for its rules, and the other scripts go on."""
    try:
        case.run(context, context.session(case.name))
    except Stopped:
        raise
    except (ScriptBroken, ControlFailed) as error:
        _untestable(context, case, str(error))
    except Exception as error:  # whatever a broken server answers, the other scripts still run
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})"
        context.recorder.note(Topic.KIT_ERROR, rule="", reason=f"{case.name}: {reason}")
        _untestable(context, case, reason)
    finally:
        context.options.parts.over(case.name)


def _untestable(context: RunContext, case: Script, reason: str) -> None:
    for rule in case.rules:
        context.recorder.note(Topic.UNTESTABLE, rule=rule, reason=f"{case.name}: {reason}")
