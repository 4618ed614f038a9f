"""Two live servers put through the same plan, each into a history of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kling_contract.driving.bodies import right_body
from kling_contract.driving.drivers import real
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.drivers.running import Wanted, guard_of, plan_of
from kling_contract.driving.drivers.steps import OPTIONAL_READS, Kind, Plan, steps_of
from kling_contract.driving.guard import Stopped
from kling_contract.driving.guarded import GuardedSender
from kling_contract.driving.sender import Limits, Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import discover
from kling_contract.history.events import AnyEvent, Recorder
from kling_contract.history.labels import Topic
from kling_contract.reading.addresses import origin_in

RATE = 60.0
"""How much faster than real time a fake that can be steered runs while it is compared."""


@dataclass(frozen=True, slots=True)
class Driven:
    """What one server did. remarks: what the user has to know. usd: what it may have cost at worst."""

    events: tuple[AnyEvent, ...]
    remarks: tuple[str, ...]
    usd: float = 0.0


def plan_for(wanted: Sequence[Wanted], mode: str) -> Plan:
    """The plan of a comparison: for fakes everything there is, else what a run of *mode* would send to each of *wanted*."""
    first = wanted[0]
    if mode != "fake":
        plans = [plan_of(one, mode) for one in wanted]
        base = " and ".join(plan.base for plan in plans)
        return replace(plans[0], base=base, steps=tuple(step for plan in plans for step in plan.steps))
    contract = first.contract
    right = right_body(contract, first.options.image)
    every = [*steps_of("refusals", contract, right, first.price, assumptions=True)]
    every += [step for step in steps_of("paid", contract, right, first.price) if step.kind is Kind.TASK]
    return Plan("fake", first.asked.base, contract.version, tuple(every), first.price)


def drive(wanted: Wanted, mode: str) -> Driven:
    """Put one server through the plan.

    Raises:
        SetupError: it cannot be driven at all.
    """
    contract = wanted.contract
    plain = Sender(verify=str(wanted.ca_file or ""))
    target = discover(wanted.asked, contract, plain)
    target = replace(target, optional=frozenset(OPTIONAL_READS))
    recorder = Recorder(keys=[wanted.asked.key])
    guard = guard_of(wanted, target.mode)
    past = GuardedSender(plain, guard, contract, keys=[wanted.asked.key], spending=mode != "readonly")
    sender = past if target.real else plain
    line = Line(target, contract, recorder, sender, guard, Limits(wanted.timeout))
    recorder.note(Topic.RUN, **target.facts, contract=contract.version)
    remarks: list[str] = []
    try:
        with RunContext(line, replace(wanted.options, drawn=False)) as context:
            session = context.session(target.mode, shared=True)
            if session.control is not None and "clock" in target.features:
                session.clock.scale(RATE)
            if session.control is not None and context.options.callback_base and "relays" in target.features:
                context.relay(session, {origin_in(context.options.callback_base): context.receiver.origin})
            real.run(context, plan_for([wanted], mode), remarks.append, session=session)
    except Stopped as stop:
        recorder.note(Topic.STOPPED, reason=str(stop))
        remarks.append(f"{target.base}: stopped: {stop}")
    if target.real:
        remarks.append(f"{target.base}: {guard.bill()}")
    return Driven(recorder.events, tuple(remarks), guard.spent.usd)
