"""A service that bills: the steps of a plan, written down before anything is sent, and nothing else.

`readonly` sends the key on reads alone, so no answer can cost anything. `refusals` asks for what must be refused, one call at a
time. `paid` sends one create, the cheapest, and lets it serve as many rules as it can. Whatever is free comes first.
"""

from collections.abc import Callable

from kling_common.members import member
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.drivers.steps import Kind, Plan, Step
from kling_contract.driving.guard import Stopped, Withheld
from kling_contract.driving.guarded import wait
from kling_contract.driving.receiver import Route
from kling_contract.driving.session import Seen, Session
from kling_contract.history.labels import Topic
from kling_contract.rules.rulebook import rules

POLL = 10.0
"""Seconds between two polls of the real service."""
PATIENCE = 1800.0
_ARRIVES = 30.0
Tell = Callable[[str], None]


def run(
    context: RunContext, plan: Plan, tell: Tell, wait: Callable[[float], None] = wait, session: Session | None = None
) -> None:
    """Send what *plan* says; *tell* is given a line for everything that the user has to know. session: the account, where it is made
    ready already.

    Raises:
        Stopped: a reply was lost, the balance moved without a cause, the service asks for a pause, or is gone.
    """
    session = session or context.session(plan.mode, shared=True)
    parts = context.options.parts
    parts.plan(plan.mode, len(plan.steps))
    session.credits()
    session.list_tasks()
    if plan.of(Kind.TASK) and not context.options.callback_base:
        _no_receiver(context, session)
    for step in plan.of(Kind.READ, Kind.KEYLESS):
        if step.optional in ("", *context.target.optional):
            step.send(session)
        parts.over(step.name)
    session.credits()
    withheld = ""
    try:
        withheld = _refusals(context, session, plan.of(Kind.REFUSAL), tell, wait)
        for step in plan.of(Kind.TASK):
            _task(context, session, step, wait)
            parts.over(step.name)
    finally:
        if not context.line.guard.silent and not context.line.pulse.gone:
            session.list_tasks()
            session.credits()
    if withheld or context.line.guard.stopped:
        raise Stopped(context.line.guard.stopped or withheld)


def _no_receiver(context: RunContext, session: Session) -> None:
    """Note for the rules of callbacks that nothing can reach this machine."""
    reason = "needs a public HTTPS receiver: --callback-base URL that leads to --callback-listen HOST:PORT"
    for rule in rules(context.contract).values():
        if rule.id.startswith("SC-") and {"R$", "H"} & set(rule.where):
            session.note(Topic.NOT_RUN, rule=rule.id, reason=reason)


def _refusals(
    context: RunContext, session: Session, steps: list[Step], tell: Tell, wait: Callable[[float], None]
) -> str:
    """Send each create that must be refused, and look at the balance after it; return why some were not sent."""
    withheld = ""
    missed: dict[str, str] = {}
    tried: set[str] = set()
    for step in steps:
        context.options.parts.over(step.name)
        try:
            seen = step.send(session)
        except Withheld as no:
            withheld = withheld or f"{step.name} was not sent: {no}"
            missed |= dict.fromkeys(step.rules, f"not sent: {no}")
            continue
        tried.update(step.rules)
        if seen.accepted:
            _report(context, step, seen, tell)
            _until_end(context, session, seen.task_id, wait)
        session.credits()
        if context.line.guard.stopped:
            raise Stopped(context.line.guard.stopped)
    for rule, reason in missed.items():
        if rule not in tried:
            session.note(Topic.NOT_RUN, rule=rule, reason=reason)
    return withheld


def _report(context: RunContext, step: Step, seen: Seen, tell: Tell) -> None:
    """Say which request was accepted, what it may have cost, and which rule that breaks."""
    book = rules(context.contract)
    broken = [book[name] for name in step.rules if name in book and name != "SV-28"]
    named = "; ".join(f"breaks {rule.id} ({rule.level}, grade {rule.grade}): {rule.sentence}" for rule in broken)
    tell(
        f"ACCEPTED, and must be refused: {step.name} -> {seen.status} {seen.task_id or 'without a task id'}; it may have cost "
        f"${step.worst_usd:.2f}; {named or f'no rule names it (grade {step.grade})'}"
    )


def _task(context: RunContext, session: Session, step: Step, wait: Callable[[float], None]) -> None:
    """One task from create to its last byte."""
    route = None
    body = dict(step.body)
    if context.options.callback_base:
        route, body["callback_url"] = context.route(session)
    made = session.create(body, probe=step.probe())
    if not made.task_id:
        said = f"{made.status or made.reply.lost}: {_why(made)}"
        hint = "; top up the account and run again" if made.status == 402 else ""
        raise Stopped(f"{step.name} was answered {said}{hint}; nothing more that may cost is sent")
    session.read(made.task_id)
    session.credits()
    end = _until_end(context, session, made.task_id, wait)
    if route is not None and end.state in context.contract.terminal:
        _await(context, session, route, made.task_id, wait)
    session.read(made.task_id)
    session.credits()
    for link in end.links:
        session.download(link, look=True)
        session.download(link)
        session.download(link, asked_range="bytes=0-99")


def _why(made: Seen) -> str:
    error = member(made.body, "error")
    return str(error.get("message", ""))[:200] if isinstance(error, dict) else "no error object"


def _until_end(context: RunContext, session: Session, task: str, wait: Callable[[float], None]) -> Seen:
    """Read *task* until it is over or patience is, never faster than the run's pace."""
    began = context.recorder.mono()
    while True:
        seen = session.read(task)
        over = seen.state in context.contract.terminal or not task
        if over or context.recorder.mono() - began > context.options.patience:
            return seen
        wait(context.options.poll)


def _await(context: RunContext, session: Session, route: Route, task: str, wait: Callable[[float], None]) -> None:
    """Wait for the callback and for a repeat that must not come."""
    route.wait(1, _ARRIVES)
    wait(2 * context.contract.retry_delays[0])
    context.settled(session, task)
