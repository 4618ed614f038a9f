"""One run, whatever its mode: look at the target, drive it, and hand over the history."""

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from kling_contract.driving.drivers import plan, real
from kling_contract.driving.drivers.room import Options, Room
from kling_contract.driving.guard import Guard, Price, Stopped
from kling_contract.driving.receiver import write_authority
from kling_contract.driving.sender import Limits, Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import Asked, Target, choose_mode, discover, origin_of, services_of
from kling_contract.history.events import Recorder
from kling_contract.history.labels import Topic
from kling_contract.reading.contract import Contract, shipped
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import Choice, SetupError, book_of

_TRY = 15.0


@dataclass(frozen=True, slots=True)
class Money:
    """What the user lets a run cost, and what a second costs at worst (dollars); None for the contract's assumption."""

    max_usd: float | None = None
    usd_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run as the user asked for it."""

    asked: Asked
    options: Options = field(default_factory=Options)
    money: Money = field(default_factory=Money)
    ca_file: Path | None = None
    timeout: float = 30.0
    contract: Contract = field(default_factory=shipped)

    @property
    def price(self) -> Price:
        """Dollars for a second, at worst."""
        return Price.of(self.contract, self.money.usd_per_second)


@dataclass(slots=True)
class Made:
    """A history, and what to say to the user besides the verdicts. any_key: whether the target takes any key."""

    recorder: Recorder
    target: Target
    remarks: list[str] = field(default_factory=list)

    @property
    def any_key(self) -> bool:
        """Whether the target takes keys of our making."""
        return self.target.accounts


def make_history(wanted: Wanted, choice: Choice) -> Made:
    """Drive the target and record everything.

    Raises:
        SetupError: nothing can be judged: unreachable, wrong key, no JSON, or a usage error.
    """
    asked, contract = wanted.asked, wanted.contract
    book_of(contract, choice)
    sender = Sender(verify=str(wanted.ca_file or ""))
    target = discover(asked, contract, sender)
    options = _pictured(wanted, target, sender)
    keys = [key for key in (asked.key, asked.second_key, asked.denied_key) if key]
    salt = secrets.token_bytes(16)
    recorder = Recorder(keys=keys, salt=salt)
    line = Line(target, contract, recorder, sender, _guard(wanted, target), Limits(wanted.timeout))
    made = Made(recorder, target)
    recorder.note(
        Topic.RUN,
        target=target.base,
        mode=target.mode,
        features=list(target.declared),
        seed=options.seed,
        contract=contract.version,
    )
    try:
        with Room(line, options, salt) as room:
            _drive(room, wanted, choice, made)
    except Stopped as stop:
        recorder.note(Topic.STOPPED, reason=str(stop))
    except KeyboardInterrupt:
        recorder.note(Topic.STOPPED, reason="stopped by hand")
    if target.real:
        made.remarks.append(_bill(line.guard))
    return made


def _bill(guard: Guard) -> str:
    spent = guard.spent
    return f"creates sent: {spent.sent}, accepted: {spent.accepted}; may have cost ${spent.usd:.2f} at worst"


def for_servers(choice: Choice) -> Choice:
    """*choice* without the rules for clients, which no server can show."""
    clients = {rule.id for rule in rules(shipped()).values() if rule.for_clients}
    return replace(choice, skip=choice.skip | (clients - choice.only))


def _guard(wanted: Wanted, target: Target) -> Guard:
    price = wanted.price
    if not target.real:
        return Guard(lambda _: 0.0)
    creates = 1 if target.mode == "paid" else 0
    return Guard(lambda body: price.worst(body, wanted.contract), max_usd=wanted.money.max_usd, creates=creates)


def _drive(room: Room, wanted: Wanted, choice: Choice, made: Made) -> None:
    if room.options.callback_ca is not None:
        write_authority(room.receiver, room.options.callback_ca)
    if room.target.mode == "readonly":
        real.readonly(room, real.readonly_steps(room, wanted.price, wanted.money.max_usd))
        return
    if room.target.mode == "paid":
        real.paid(room, real.paid_step(room, wanted.price))
        return
    if room.options.replay is not None:
        from kling_contract.driving.drivers import machine

        made.remarks += machine.replay(room, room.options.replay)
        return
    plan.run(room, choice.only)
    if not room.options.quick:
        _explore(room, choice, made)


def _explore(room: Room, choice: Choice, made: Made) -> None:
    """The drivers that draw their calls; fakes only."""
    from kling_contract.driving.drivers import machine, schema

    made.remarks += schema.run(room)
    made.remarks += machine.run(room, choice)


def _pictured(wanted: Wanted, target: Target, sender: Sender) -> Options:
    """The options with `drawn` as it is: whether a fake takes pictures of the drawing host.

    Raises:
        SetupError: the fake takes neither those nor the user's own first frame.
    """
    options = wanted.options
    if target.real:
        if target.mode == "paid" and _remote(wanted) and options.image == Options().image:
            raise SetupError("--mode paid needs --image: the URL of a first frame that the service can fetch")
        return replace(options, drawn=False)
    drawn = _takes(target, sender, wanted.contract, Options().image)
    if not drawn and (options.image == Options().image or not _takes(target, sender, wanted.contract, options.image)):
        raise SetupError(
            f"{target.base} refuses a create with the first frame {options.image}: name another with --image"
        )
    return replace(options, drawn=drawn)


def _remote(wanted: Wanted) -> bool:
    """Whether the target would be taken for the real service by its address alone."""
    base = origin_of(wanted.asked.url)
    return choose_mode(base, None, control=False, services=services_of(wanted.contract)) != "fake"


def _takes(target: Target, sender: Sender, contract: Contract, image: str) -> bool:
    """Whether the fake does not refuse a right create for its *image*."""
    body = {"model": contract.model, "image_start": image, "duration": contract.duration_min}
    headers = [("Authorization", f"Bearer {target.key}"), ("Content-Type", "application/json")]
    url = target.base + contract.named("createVideo").template
    reply = sender.send("POST", url, headers, orjson.dumps(body), Limits(_TRY))
    return reply.status != 400 or b"image_start" not in reply.body
