"""One run, whatever its mode: look at the target, drive it, and hand over the history."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from kling_common.masking import header
from kling_contract.driving.drivers import plan, real
from kling_contract.driving.drivers.run_context import Options, RunContext, body_of
from kling_contract.driving.drivers.steps import Plan, steps_of
from kling_contract.driving.guard import Caps, Charge, Guard, Stopped
from kling_contract.driving.guarded import GuardedSender
from kling_contract.driving.pricing import Price, seconds_of
from kling_contract.driving.receiver import write_authority
from kling_contract.driving.sender import Limits, Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import Asked, Target, choose_mode, discover, services_of
from kling_contract.history.events import AnyEvent, Exchange, Recorder
from kling_contract.history.labels import Topic
from kling_contract.reading.addresses import is_loopback
from kling_contract.reading.contract import Contract, shipped
from kling_contract.reading.retry_after import date_of
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import SPENDING, Choice, SetupError

_TRY = 15.0
_TOOLS = ("hypothesis", "schemathesis")


@dataclass(frozen=True, slots=True)
class Money:
    """What the user allows a run to use up; None where they did not say.

    max_usd: dollars. usd_per_second: what a second costs at worst, in place of the contract's price. creates: how many may be
    accepted. seconds: of video. wall: seconds after which nothing that may cost is sent. at_once: tasks under way at one time.
    """

    max_usd: float | None = None
    usd_per_second: float | None = None
    creates: int | None = None
    seconds: float | None = None
    wall: float | None = None
    at_once: int = 1

    def caps(self, mode: str) -> Caps:
        """The caps of a run of *mode*: a paid run makes one task, one of refusals none that is meant, so money is its cap."""
        creates = self.creates if self.creates is not None else None if mode == "refusals" else 1
        return Caps(max_usd=self.max_usd, creates=creates, seconds=self.seconds, wall=self.wall, at_once=self.at_once)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run as the user asked for it."""

    asked: Asked
    options: Options = field(default_factory=Options)
    money: Money = field(default_factory=Money)
    ca_file: Path | None = None
    timeout: float = 30.0
    contract: Contract = field(default_factory=shipped)
    assumptions: bool = False
    """Whether a service that bills is also sent creates whose refusal no source documents."""
    agreed: str = ""
    """The hash of the plan that the user agreed to; a paid run needs it."""

    @property
    def price(self) -> Price:
        """Dollars for a second, at worst."""
        return Price.of(self.contract, self.money.usd_per_second)


@dataclass(slots=True)
class Made:
    """A history, and what to say to the user besides the verdicts."""

    recorder: Recorder
    target: Target
    remarks: list[str] = field(default_factory=list)


def _check_tools(wanted: Wanted) -> None:
    """Say that something is not installed before anything is sent.

    Raises:
        SetupError: the drawn part of the run needs the extra `kit`.
    """
    host = urlsplit(wanted.asked.base).hostname or ""
    fake = wanted.asked.mode == "fake" or (wanted.asked.mode is None and is_loopback(host))
    missing = [name for name in _TOOLS if find_spec(name) is None]
    if fake and missing and not wanted.options.quick:
        raise SetupError(
            f"{' and '.join(missing)} not installed: pip install 'klingkit[kit]', or run the scripted part alone with --quick"
        )


def make_history(wanted: Wanted, choice: Choice, sender: Sender | None = None) -> Made:
    """Drive the target and record everything. sender: another one than the run would make for itself.

    Raises:
        SetupError: nothing can be judged: unreachable, wrong key, no JSON, or a usage error.
    """
    asked, contract = wanted.asked, wanted.contract
    choice.book(contract)
    _check_tools(wanted)
    _check_agreed(wanted)
    sender = sender or Sender(verify=str(wanted.ca_file or ""))
    target = discover(asked, contract, sender)
    options = _pictured(wanted, target, sender)
    salt = secrets.token_bytes(16)
    recorder = Recorder(keys=asked.keys, salt=salt)
    guard = guard_of(wanted, target.mode)
    past = _guarded(sender, guard, wanted, target) if target.real else sender
    line = Line(target, contract, recorder, past, guard, Limits(wanted.timeout))
    made = Made(recorder, target)
    recorder.note(Topic.RUN, **target.facts, seed=options.seed, contract=contract.version)
    try:
        with RunContext(line, options, salt) as context:
            _drive(context, wanted, choice, made)
    except Stopped as stop:
        recorder.note(Topic.STOPPED, reason=str(stop))
    except KeyboardInterrupt:
        recorder.note(Topic.STOPPED, reason="stopped by hand")
    if target.real:
        made.remarks += [*skewed(recorder.events), line.guard.bill()]
    return made


def _check_agreed(wanted: Wanted) -> None:
    """Refuse a run that may cost money and has no cap, or that was not agreed to.

    Raises:
        SetupError: it is one.
    """
    mode = wanted.asked.mode
    if mode in SPENDING and wanted.money.max_usd is None:
        raise SetupError(f"--mode {mode} needs --max-usd: the most dollars that the run may cost")
    if mode != "paid" or wanted.agreed == plan_of(wanted, "paid").hash:
        return
    if wanted.agreed:
        raise SetupError(
            f"--plan-hash {wanted.agreed} is not the hash of this plan; read it again with --mode paid --plan, then give its hash"
        )
    raise SetupError(
        "--mode paid needs --plan-hash: read the plan with --mode paid --plan, then give the hash that it ends with"
    )


def for_servers(choice: Choice) -> Choice:
    """*choice* without the rules for clients, which no server can show."""
    clients = {rule.id for rule in rules(shipped()).values() if rule.for_clients}
    return replace(choice, skip=choice.skip | (clients - choice.only))


def guard_of(wanted: Wanted, mode: str) -> Guard:
    """The guard of a run; one that watches nothing where the target is a fake."""
    if mode == "fake":
        return Guard()
    return guard_for(wanted.contract, wanted.price, wanted.money.caps(mode))


def guard_for(contract: Contract, price: Price, caps: Caps) -> Guard:
    """A guard that reckons with the prices of *contract*."""

    def charge(body: object) -> Charge:
        return Charge(price.expected(body, contract), price.worst(body, contract), seconds_of(body, contract))

    return Guard(charge, caps, usd_per_credit=price.usd_per_credit)


def _guarded(sender: Sender, guard: Guard, wanted: Wanted, target: Target) -> GuardedSender:
    return GuardedSender(sender, guard, wanted.contract, keys=wanted.asked.keys, spending=target.mode != "readonly")


def plan_of(wanted: Wanted, mode: str) -> Plan:
    """What a run of *mode* against a service that bills will send; nothing is sent for it."""
    contract = wanted.contract
    right = body_of(contract, wanted.options)
    steps = steps_of(mode, contract, right, wanted.price, assumptions=wanted.assumptions)
    return Plan(mode, wanted.asked.base, contract.version, tuple(steps), wanted.price)


def _drive(context: RunContext, wanted: Wanted, choice: Choice, made: Made) -> None:
    if context.options.callback_ca is not None:
        write_authority(context.receiver, context.options.callback_ca)
    if context.target.real:
        real.run(context, plan_of(wanted, context.target.mode), made.remarks.append)
        return
    if context.options.replay is not None:
        from kling_contract.driving.drivers import machine

        made.remarks += machine.replay(context, context.options.replay)
        return
    plan.run(context, choice.only)
    if not context.options.quick:
        _explore(context, choice, made)


def _explore(context: RunContext, choice: Choice, made: Made) -> None:
    """The drivers that draw their calls; fakes only."""
    from kling_contract.driving.drivers import machine, schema

    context.options.parts.plan("drawn requests")  # one more than is known yet: the histories after them
    made.remarks += schema.run(context)
    context.options.parts.plan("drawn histories", 0)
    made.remarks += machine.run(context, choice)
    context.options.parts.over("drawn histories")


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
    plain = replace(options, image=Options().image, video="", audio="")
    drawn = _takes(target, sender, wanted.contract, plain)
    if not drawn and (options == plain or not _takes(target, sender, wanted.contract, options)):
        raise SetupError(
            f"{target.base} refuses a create with the first frame {options.image}: name another with --image"
            if not wanted.contract.asks_another
            else f"{target.base} refuses a right create of {wanted.contract.asks} for what it names: say what it can fetch "
            "with --image, --video and --audio"
        )
    return replace(options, drawn=drawn)


def _remote(wanted: Wanted) -> bool:
    """Whether the target would be taken for the real service by its address alone."""
    base = wanted.asked.base
    return choose_mode(base, None, control=False, services=services_of(wanted.contract)) != "fake"


def _takes(target: Target, sender: Sender, contract: Contract, options: Options) -> bool:
    """Whether the fake does not refuse a right create for the pictures, videos or sounds in it.

    Raises:
        SetupError: the fake does not serve the model that the run asks for.
    """
    body = body_of(contract, options)
    headers = [("Authorization", f"Bearer {target.key}"), ("Content-Type", "application/json")]
    url = target.base + contract.named("createVideo").template
    reply = sender.send("POST", url, headers, orjson.dumps(body), Limits(_TRY))
    names = _media_names(contract, body)
    unknown = reply.status in (403, 404) or (reply.status == 400 and b'"model"' in reply.body)
    if contract.asks_another and unknown:
        raise SetupError(f"{target.base} does not serve {contract.asks} ({reply.status}): name another with --model")
    return reply.status != 400 or not any(name.encode() in reply.body for name in names)


def _media_names(contract: Contract, body: dict[str, Any]) -> list[str]:
    """Return the members of *body* that name a picture, a video or a sound."""
    if contract.asked is not None and contract.asks_another:
        return [str(medium.steps[0]) for medium in contract.asked.media(body)]
    return [name for name in body if "x-image" in contract.member(name)]


SKEW = 120.0
"""Seconds between the service's clock and this machine's that a user should know of."""


def skewed(events: Iterable[AnyEvent]) -> list[str]:
    """A line when the Date of the answers is far from this machine's clock: what is judged by the clock is then in doubt."""
    for event in events:
        if isinstance(event, Exchange) and event.answer is not None:
            date = header(event.answer.headers, "date")
            there = date_of(date) if date else None
            if there is not None and abs(there - event.ended_at) > SKEW:
                ahead = there - event.ended_at
                way = "ahead of" if ahead > 0 else "behind"
                return [
                    f"the service's clock is {abs(ahead):.0f} s {way} this machine's; set this machine's clock, or read SW-10 with care"
                ]
    return []
