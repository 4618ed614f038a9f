"""Cases of money: what a task reserves, what it costs in the end, and what happens when there is not enough."""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from kling_contract.driving.drivers.run_context import RunContext, Script, ScriptBroken
from kling_contract.driving.session import Seen, Session
from kling_contract.history.labels import Expect, Probe, Topic
from kling_contract.reading.ledger import reserved_by

_SENT, _COVERED = 8, 3
"""Creates of a burst, and how many of them the balance covers."""
_ROUNDS = 2
_LONGEST_KEY = 96


def prices(context: RunContext, session: Session) -> None:
    """Creates of several lengths in each quality, between two readings of the credits."""
    low = context.contract.duration_min
    session.credits()
    for quality in context.contract.qualities:
        for seconds in (low, 2 * low, context.contract.duration_max):
            context.made(session, quality=quality, duration=seconds)
    session.credits()


def completed(context: RunContext, session: Session) -> None:
    """The credits around one task that completes."""
    session.credits()
    task = context.made(session, prompt="billed").task_id
    session.credits()
    session.read(task)
    context.until_end(session, task)
    session.credits()
    session.read(task)
    session.credits()


def failed(context: RunContext, session: Session) -> None:
    """The credits around one task that fails."""
    session.credits()
    context.tell(session, "failed")
    task = context.made(session, prompt="not billed", probe=Probe(scenario="failed")).task_id
    session.credits()
    session.read(task)
    context.until_end(session, task)
    session.credits()
    session.clock.advance(3600)
    session.read(task)
    session.credits()


def cancelled(context: RunContext, session: Session) -> None:
    """The credits around one task that is cancelled."""
    assert session.control is not None
    session.credits()
    task = context.made(session, prompt="cancelled").task_id
    session.credits()
    session.read(task)
    session.clock.advance(1)
    session.note(Topic.CANCELLED, task_id=task)
    session.control.cancel(task)
    session.read(task)
    session.credits()
    session.clock.advance(3600)
    session.read(task)
    session.credits()


def _price(seen: Seen) -> float:
    price = reserved_by(seen.body)
    if price is None or price <= 0:
        raise ScriptBroken("a create answer does not say what it reserved")
    return price


def poor(context: RunContext, session: Session) -> None:
    """A balance just too small, and one that is exactly enough."""
    assert session.control is not None
    first = context.made(session)
    price = _price(first)
    context.until_end(session, first.task_id)
    session.control.account(credits=price - 1 if price > 1 else price / 2)
    session.credits()
    session.list_tasks()
    session.create(context.body(), probe=Probe(rules=("SB-06",), expect=Expect.NO_BALANCE))
    session.list_tasks()
    session.credits()
    session.control.account(credits=price)
    session.credits()
    context.made(session)
    session.credits()
    session.create(context.body(), probe=Probe(rules=("SB-06",), expect=Expect.NO_BALANCE))
    session.credits()


def burst(context: RunContext, session: Session) -> None:
    """Creates at once with balance for some of them; more than once, since a race is not always lost."""
    assert session.control is not None
    price = _price(context.made(session))
    for _ in range(_ROUNDS):
        session.control.account(credits=price * _COVERED)
        probe = Probe(rules=("SB-09",), group=f"burst-{secrets.token_hex(4)}", expected=_COVERED)
        _at_once(_SENT, partial(session.create, context.body(prompt="burst"), probe=probe))
        session.credits()


def _at_once(times: int, act: Callable[[], object]) -> None:
    """Do it so many times, all beginning together."""
    start = threading.Barrier(times)

    def one() -> None:
        start.wait()
        act()

    with ThreadPoolExecutor(times) as pool:
        running = [pool.submit(one) for _ in range(times)]
    for each in running:
        each.result()


def replayed(context: RunContext, session: Session) -> None:
    """One Idempotency-Key: the same body again, then another one."""
    headers = [("Idempotency-Key", f"contract-{secrets.token_hex(16)}")]
    probe = Probe(rules=("SB-12",))
    body = context.body(prompt="once")
    session.credits()
    first = session.create(body, probe=probe, headers=headers)
    if first.task_id:
        context.until_end(session, first.task_id)  # a task under way may move credits by itself
    session.credits()
    session.create(body, probe=probe, headers=headers)
    session.credits()
    session.create({**body, "prompt": "twice"}, probe=probe, headers=headers)
    session.credits()
    for _ in range(_ROUNDS):
        at_once = [("Idempotency-Key", f"contract-{secrets.token_hex(16)}")]
        together = Probe(rules=("SB-16",), group=f"replayed-{secrets.token_hex(4)}")
        _at_once(_COVERED, partial(session.create, context.body(prompt="at once"), probe=together, headers=at_once))


def alike(context: RunContext, session: Session) -> None:
    """One body with keys that are nearly the same: the shortest, the longest, another end, another case."""
    word = secrets.token_hex(8)
    longest = f"a.b_c-{word}".ljust(_LONGEST_KEY, "x")
    for key in (word.lower()[:-1] + "a", word.lower()[:-1] + "A", longest, longest[:-1] + "y"):
        probe = Probe(rules=("SB-20",), expect=Expect.ACCEPTED)
        session.create(context.body(prompt="alike"), probe=probe, headers=[("Idempotency-Key", key)])


SCRIPTS = (
    Script("prices", ("SB-01", "SB-02", "SB-18", "SB-19"), prices, alone=True, document=True),
    Script("billing", ("SB-02", "SB-03", "SB-07", "SB-11", "SB-21"), completed, alone=True),
    Script("billing-failed", ("SB-04",), failed, needs=("scenarios", "clock"), alone=True),
    Script("billing-cancelled", ("SB-04", "SL-22"), cancelled, needs=("cancel", "clock"), alone=True),
    Script("poor", ("SB-05", "SB-06", "SB-11"), poor, needs=("credits",), alone=True),
    Script("burst", ("SB-09", "SB-11"), burst, needs=("credits",), alone=True),
    Script("replayed", ("SB-12", "SB-13", "SB-14", "SB-15", "SB-16"), replayed, alone=True),
    Script("replayed-alike", ("SB-20",), alike),
)
