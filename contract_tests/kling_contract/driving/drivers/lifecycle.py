"""Cases of tasks from create to end: what they show on the way, how they end, and the videos they give."""

from concurrent.futures import ThreadPoolExecutor

from kling_contract.driving.drivers.room import Room, Script
from kling_contract.driving.session import Seen, Session
from kling_contract.history.labels import Probe, Topic


def lifecycle(room: Room, session: Session) -> None:
    """One task with every field, read all the way and beyond its end; twice at each moment."""
    made = room.made(session, prompt="A slow pan over quiet hills")
    session.read(made.task_id)
    session.read(made.task_id)
    room.until_end(session, made.task_id)
    for _ in range(2):
        session.read(made.task_id)
    if "clock" in room.features:
        session.clock.advance(600)
        session.read(made.task_id)
    session.list_tasks()


def required_only(room: Room, session: Session) -> None:
    """The two required fields alone: what the defaults give."""
    made = room.made(session, duration=None, quality=None)
    end = room.until_end(session, made.task_id)[made.task_id]
    for link in end.links:
        session.download(link, look=True)


def tiers(room: Room, session: Session) -> None:
    """One task of each quality, from first frames of the most extreme shapes."""
    made: list[Seen] = []
    for number, quality in enumerate(room.contract.qualities):
        probe, image = room.picture(number)
        made.append(room.made(session, quality=quality, image_start=image, probe=probe))
    ends = room.until_end(session, *(seen.task_id for seen in made))
    for seen in ends.values():
        for link in seen.links:
            session.download(link, look=True)


def longest(room: Room, session: Session) -> None:
    """The longest task, whose video takes a server some time."""
    made = room.made(session, duration=room.contract.duration_max)
    end = room.until_end(session, made.task_id)[made.task_id]
    for link in end.links:
        session.download(link, look=True)


def failures(room: Room, session: Session) -> None:
    """A task for some of the documented task error codes, read to its end."""
    codes = room.contract.task_errors[:3]
    ids = []
    for code in codes:
        room.tell(session, "failed", code=code)
        made = room.made(session, prompt=f"fails with {code}", probe=Probe(scenario="failed"))
        ids.append(made.task_id)
    room.until_end(session, *ids)
    session.clock.advance(600)
    for task in ids:
        session.read(task)


def cancelled(room: Room, session: Session) -> None:
    """A task cancelled while it is pending, and one while it runs."""
    assert session.control is not None
    ids = [room.made(session, prompt=f"cancelled {number}").task_id for number in range(2)]
    for task in ids:
        session.read(task)
        session.control.cancel(task)
        session.note(Topic.CANCELLED, task_id=task)
        session.read(task)
        session.clock.advance(20)
    for task in ids:
        session.read(task)


def twins(room: Room, session: Session) -> None:
    """Byte-identical creates at once, between two readings of the credits."""
    body = room.body(prompt="twins")
    session.credits()
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: session.create(body), range(4)))
    session.credits()
    for made in seen:
        if made.task_id:
            session.read(made.task_id)


def readers(room: Room, session: Session) -> None:
    """Many reads of one task at one moment, from several connections, and two that surely follow each other."""
    made = room.made(session, prompt="many readers")
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: session.read(made.task_id), range(4)))
        session.read(made.task_id)
        session.read(made.task_id)
        if "clock" in room.features:
            session.clock.advance(20)


LONGEST = Script("longest", ("SV-10", "SL-21", "SK-10"), longest)
"""Left out of a quick run."""
SCRIPTS = (
    Script("lifecycle", ("SL-01", "SL-03", "SL-17", "SL-18", "SL-20"), lifecycle),
    Script("required-only", ("SV-05", "SV-12", "SV-15", "SK-10"), required_only),
    Script("tiers", ("SV-15", "SV-30", "SL-21", "SK-10"), tiers),
    Script("failures", ("SL-11", "SL-12", "SL-13"), failures, needs=("scenarios", "clock")),
    Script("cancelled", ("SL-22",), cancelled, needs=("cancel", "clock")),
    Script("twins", ("SL-02", "SB-08"), twins, alone=True),
    Script("readers", ("SL-18",), readers),
)
