"""Cases of tasks from create to end: what they show on the way, how they end, and the videos they give."""

from concurrent.futures import ThreadPoolExecutor

from kling_contract.driving.drivers.run_context import RunContext, Script
from kling_contract.driving.session import Seen, Session
from kling_contract.history.labels import Probe, Topic


def lifecycle(context: RunContext, session: Session) -> None:
    """One task with every field, read all the way and beyond its end; twice at each moment."""
    made = context.made(session, prompt="A slow pan over quiet hills")
    session.read(made.task_id)
    session.read(made.task_id)
    context.until_end(session, made.task_id)
    for _ in range(2):
        session.read(made.task_id)
    if "clock" in context.features:
        session.clock.advance(600)
        session.read(made.task_id)
    session.list_tasks()


def required_only(context: RunContext, session: Session) -> None:
    """The two required fields alone: what the defaults give."""
    made = context.made(session, duration=None, quality=None)
    end = context.until_end(session, made.task_id)[made.task_id]
    session.fetch(end, look=True)


def tiers(context: RunContext, session: Session) -> None:
    """One task of each quality, from first frames of the most extreme shapes."""
    made: list[Seen] = []
    for number, quality in enumerate(context.contract.qualities):
        probe, image = context.picture(number)
        made.append(context.made(session, quality=quality, image_start=image, probe=probe))
    ends = context.until_end(session, *(seen.task_id for seen in made))
    for seen in ends.values():
        session.fetch(seen, look=True)


def longest(context: RunContext, session: Session) -> None:
    """The longest task, whose video takes a server some time."""
    made = context.made(session, duration=context.contract.duration_max)
    end = context.until_end(session, made.task_id)[made.task_id]
    session.fetch(end, look=True)


def failures(context: RunContext, session: Session) -> None:
    """A task for some of the documented task error codes, read to its end."""
    codes = context.contract.task_errors[:3]
    ids = []
    for code in codes:
        context.tell(session, "failed", code=code)
        made = context.made(session, prompt=f"fails with {code}", probe=Probe(scenario="failed"))
        ids.append(made.task_id)
    context.until_end(session, *ids)
    session.clock.advance(600)
    for task in ids:
        session.read(task)


def cancelled(context: RunContext, session: Session) -> None:
    """A task cancelled while it is pending, and one while it runs."""
    assert session.control is not None
    ids = [context.made(session, prompt=f"cancelled {number}").task_id for number in range(2)]
    for task in ids:
        session.read(task)
        session.control.cancel(task)
        session.note(Topic.CANCELLED, task_id=task)
        session.read(task)
        session.clock.advance(20)
    for task in ids:
        session.read(task)


def twins(context: RunContext, session: Session) -> None:
    """Byte-identical creates at once, between two readings of the credits."""
    body = context.body(prompt="twins")
    session.credits()
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: session.create(body), range(4)))
    session.credits()
    for made in seen:
        if made.task_id:
            session.read(made.task_id)


def readers(context: RunContext, session: Session) -> None:
    """Many reads of one task at one moment, from several connections, and two that surely follow each other."""
    made = context.made(session, prompt="many readers")
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: session.read(made.task_id), range(4)))
        session.read(made.task_id)
        session.read(made.task_id)
        if "clock" in context.features:
            session.clock.advance(20)


LONGEST = Script("longest", ("SV-10", "SL-21", "SK-10"), longest, document=True)
"""Left out of a quick run."""
SCRIPTS = (
    Script("lifecycle", ("SL-01", "SL-03", "SL-17", "SL-18", "SL-20"), lifecycle),
    Script("required-only", ("SV-05", "SV-12", "SV-15", "SK-10"), required_only, document=True),
    Script("tiers", ("SV-15", "SV-30", "SL-21", "SK-10"), tiers, document=True),
    Script("failures", ("SL-11", "SL-12", "SL-13"), failures, needs=("scenarios", "clock")),
    Script("cancelled", ("SL-22",), cancelled, needs=("cancel", "clock")),
    Script("twins", ("SL-02", "SB-08"), twins, alone=True),
    Script("readers", ("SL-18",), readers),
)
