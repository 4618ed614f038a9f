"""Cases of callbacks: who is called, and what each way of receiving leads to.

Where a task can be cancelled, its callback is owed at that very moment of a clock that stands still, so the waits
between attempts are known exactly.
"""

import secrets
import socket
from collections.abc import Sequence

from kling_common.bodies import json_or_none
from kling_common.members import member
from kling_contract.driving.drivers.run_context import ARRIVES, RunContext, Script, walk_retries
from kling_contract.driving.guarded import wait
from kling_contract.driving.receiver import HOST, YES, Act, Receiver, Route
from kling_contract.driving.session import Session
from kling_contract.history.events import Callback, Message
from kling_contract.history.labels import Probe, Topic
from kling_contract.history.labels import Receiver as Label

_RATES = (5.0, 1.5)
"""The receiver's slowness is real time, so the clock runs faster and the timeout shrinks with it; less so on a busy machine."""
_WITHIN, _BEYOND = (0.62, 0.82), (1.2, 1.45)
"""Shares of the timeout that receivers need. The outer ones show the rule on any machine, the inner ones more on a calm one."""
_CALM = 0.13
"""The share of the timeout that a machine's noise may be, so that the outer ones can be distinguished whatever comes."""
_REBOUND = "rebound.example.com"
_KINDS = (201, 202, 204, 299)
_NO, _ELSEWHERE = (400, 401, 404, 410, 429, 500, 503, 304), (301, 302, 303, 307, 308)


def completed(context: RunContext, session: Session) -> None:
    """A task that completes, and one without a callback; credits and task are read on receipt."""
    seen: list[str] = []

    def on_receipt(body: bytes) -> None:
        task = _id_of(body)
        seen.append(task)
        session.credits_on_receipt(task)
        if task:
            session.read(task)

    session.credits()
    route, url = context.route(session, query="?a=1&b=%2Fx%20y&c=", port=":8443", hook=on_receipt)
    task = context.made(session, prompt="callback", callback_url=url).task_id
    session.credits()
    context.until_end(session, task)
    context.arrived(route)
    walk_retries(context, session)
    session.read(task)
    session.credits()
    quiet = context.made(session, prompt="no callback").task_id
    context.until_end(session, quiet)
    walk_retries(context, session)
    context.settled(session, task, quiet)


def _id_of(body: bytes) -> str:
    return str(member(json_or_none(body), "id") or "")


def failed(context: RunContext, session: Session) -> None:
    """A task that fails; credits are read on receipt, when they must have come back."""
    context.tell(session, "failed")
    route, url = context.route(session, [Act(204)], hook=lambda body: session.credits_on_receipt(_id_of(body)))
    session.credits()
    task = context.made(session, callback_url=url, probe=Probe(scenario="failed")).task_id
    context.until_end(session, task)
    context.arrived(route)
    walk_retries(context, session)
    session.read(task)
    session.credits()
    context.settled(session, task)


def cancelled(context: RunContext, session: Session) -> None:
    """A cancelled task, and a receiver that says yes."""
    _cancelled(context, session, [[YES]])


def _cancelled(context: RunContext, session: Session, scripts: Sequence[Sequence[Act]]) -> None:
    """A cancelled task for each script; every retry is walked through."""
    tasks: list[tuple[str, Route]] = []
    for acts in scripts:
        route, url = context.route(session, acts)
        tasks.append((context.made(session, callback_url=url, prompt="cancelled").task_id, route))
    for task, route in tasks:
        _cancel(session, task)
        context.arrived(route)
        session.read(task)
    session.credits()
    walk_retries(context, session)
    session.credits()
    ids = [task for task, _ in tasks]
    for task in ids:
        session.read(task)
    session.clock.advance(3600)
    context.settled(session, *ids)


def _cancel(session: Session, task: str) -> None:
    assert session.control is not None
    # The note comes first: the callback of a cancelled task may arrive before the call returns.
    session.note(Topic.CANCELLED, task_id=task)
    session.control.cancel(task)


def kinds_of_yes(context: RunContext, session: Session) -> None:
    """Every 2xx, at once and after a failure."""
    _cancelled(
        context, session, [[Act(status)] for status in _KINDS] + [[Act(500), YES], [Act(503), Act(500), Act(201)]]
    )


def kinds_of_no(context: RunContext, session: Session) -> None:
    """Everything that is no 2xx, to the last attempt: errors, a redirect, a cut, an interim answer alone."""
    _, place = context.route(session)
    acts = [
        *(Act(status) for status in _NO), *(Act(status, location=place) for status in _ELSEWHERE), Act(end="cut"), Act(end="1xx"),
    ]  # fmt: skip
    _cancelled(context, session, [[act] for act in acts])


def failing_completed(context: RunContext, session: Session) -> None:
    """A completed task whose receiver always fails: its status and its charge stay as they are."""
    route, url = context.route(session, [Act(500)])
    task = context.made(session, prompt="nobody answers", callback_url=url).task_id
    context.until_end(session, task, step=1.0)
    context.arrived(route)
    session.credits()
    walk_retries(context, session)
    session.credits()
    session.read(task)
    session.clock.advance(3600)
    session.read(task)
    context.settled(session, task)


def refused_first(context: RunContext, session: Session) -> None:
    """Nothing listens at the first attempt; then the receiver is there."""
    route, url = context.route(session)
    origin = f"https://{HOST}"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        context.relay(session, {origin: f"http://127.0.0.1:{unused.getsockname()[1]}"})
        probe = Probe(receiver=Label.REFUSED_FIRST)
        task = context.made(session, callback_url=url, probe=probe).task_id
        _cancel(session, task)
        session.read(task)
    context.relay(session, {origin: context.receiver.origin})
    walk_retries(context, session)
    route.wait(1, 1.0)
    session.read(task)
    context.settled(session, task)


def rebound(context: RunContext, session: Session) -> None:
    """A host whose name leads to this machine once the task is made: whoever knocks there has looked up and not judged."""
    assert session.control is not None
    session.control.relays({})
    path = f"/{session.case}-{secrets.token_hex(6)}"
    route = Route(path, (YES,), session.clock.moment, session.case, session.who)
    with Receiver(context.recorder, names=(_REBOUND,)) as here:
        here.add(route)
        url = f"https://{_REBOUND}:{here.port}{path}"
        probe = Probe(rules=("SC-16",), receiver=Label.REBINDS)
        task = context.made(session, prompt="rebound", callback_url=url, probe=probe).task_id
        session.control.names({_REBOUND: ["127.0.0.1"]})
        _cancel(session, task)
        session.read(task)
        walk_retries(context, session)
        if here.knocks and not route.arrived:
            context.recorder.add(_knock(url, session))
    context.settled(session, task)


def _knock(url: str, session: Session) -> Callback:
    """A connection on which no request came, since no authority signed the certificate: an attempt without a method."""
    return Callback(method="", url=url, request=Message(), answer=None, ended="cut", case=session.case)


def slow(context: RunContext, session: Session) -> None:
    """Receivers that need most of the timeout, and some that need more; once more, slower, on a machine too busy to tell them apart."""
    for rate in _RATES:
        _slow(context, session, rate)
        if context.noise.seconds < _CALM * context.contract.timeout / rate:
            return


def _slow(context: RunContext, session: Session, rate: float) -> None:
    timeout = context.contract.timeout / rate
    patient = [context.route(session, [Act(delay=share * timeout)]) for share in _WITHIN]
    impatient = [context.route(session, [Act(delay=share * timeout), YES]) for share in _BEYOND]
    tasks = [context.made(session, prompt="slow", callback_url=url).task_id for _, url in (*patient, *impatient)]
    session.clock.scale(rate)
    for task in tasks:
        _cancel(session, task)
    for route, _ in patient:
        route.wait(1, ARRIVES + timeout)
    for route, _ in impatient:
        route.wait(2, ARRIVES + 2 * timeout)
    wait(2.5 * context.contract.retry_delays[0] / rate)
    for task in tasks:
        session.read(task)
    context.settled(session, *tasks)
    session.clock.stop()


def live(context: RunContext, session: Session) -> None:
    """The ways of receiving side by side in real time, for a server without a clock to steer."""
    scripts = [
        [YES],
        [Act(204)],
        [Act(500), YES],
        [Act(404)],
        [Act(end="cut")],
        [Act(302, location=context.route(session)[1])],
        [Act(307, location=context.route(session)[1])],
    ]
    routes = [context.route(session, acts, query="?a=1") for acts in scripts]
    tasks = [context.made(session, prompt="live", callback_url=url).task_id for _, url in routes]
    tasks.append(context.made(session, prompt="no callback").task_id)
    context.until_end(session, *tasks)
    attempts = 1 + len(context.contract.retry_delays)
    patience = 2 * sum(context.contract.retry_delays) + ARRIVES
    for (route, _), acts in zip(routes, scripts, strict=True):
        wanted = len(acts) if acts[-1].end == "answer" and acts[-1].status < 300 else attempts
        route.wait(wanted, patience)
    wait(2 * context.contract.retry_delays[0])
    for task in tasks:
        session.read(task)
    context.settled(session, *tasks)


_STEERED = ("relays", "clock", "cancel")
SCRIPTS = (
    Script(
        "callback", ("SC-01", "SC-03", "SC-04", "SC-05", "SC-06", "SC-14", "SC-15", "SC-17", "SC-19", "SS-02"), completed,
        needs=("relays", "clock"), alone=True,
    ),
    Script("callback-failed", ("SC-02", "SC-19", "SC-21"), failed, needs=("relays", "clock", "scenarios"), alone=True),
    Script("callback-cancelled", ("SC-20",), cancelled, needs=_STEERED),
    Script("callback-yes", ("SC-06", "SC-21", "SC-08", "SC-24"), kinds_of_yes, needs=_STEERED),
    Script(
        "callback-no", ("SC-07", "SC-08", "SC-09", "SC-24", "SC-12", "SC-13", "SC-18", "SC-22", "SC-23"), kinds_of_no, needs=_STEERED
    ),
    Script("callback-unheard", ("SC-18", "SC-23", "SB-10"), failing_completed, needs=("relays", "clock"), alone=True),
    Script("callback-refused", ("SC-22",), refused_first, needs=_STEERED),
    Script("callback-rebound", ("SC-16",), rebound, needs=("names", *_STEERED)),
    Script("callback-slow", ("SC-10", "SC-11"), slow, needs=_STEERED),
)  # fmt: skip
LIVE = Script(
    "callback-live",
    (
        "SC-01", "SC-03", "SC-04", "SC-05", "SC-06", "SC-07", "SC-08", "SC-09", "SC-12", "SC-13", "SC-14", "SC-15", "SC-17",
        "SC-18", "SC-21", "SC-22", "SC-23",
    ),
    live,
)  # fmt: skip
"""For a server without a clock to steer, in real time; needs a public URL that leads to the kit."""
