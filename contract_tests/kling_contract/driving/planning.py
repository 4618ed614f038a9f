"""`--plan`: every call that a run would send, with what it should cost and what it may cost. Nothing is sent."""

from collections.abc import Iterable

from rich.console import Console

from kling_contract.driving.drivers import real
from kling_contract.driving.drivers.plan import every_script
from kling_contract.driving.drivers.probes import near_misses
from kling_contract.driving.drivers.real import Step
from kling_contract.driving.drivers.room import Room
from kling_contract.driving.drivers.running import Wanted
from kling_contract.driving.guard import Guard
from kling_contract.driving.sender import Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import Target, choose_mode, origin_of, services_of
from kling_contract.history.events import Recorder


def print_plan(wanted: Wanted, console: Console) -> None:
    """Print the plan of *wanted*.

    Raises:
        SetupError: the URL or the mode cannot be used.
    """
    base = origin_of(wanted.asked.url)
    mode = choose_mode(base, wanted.asked.mode, control=False, services=services_of(wanted.contract))
    target = Target(base, wanted.asked.key, mode, optional=frozenset({"getCredits", "listTasks"}))
    recorder = Recorder(keys=[wanted.asked.key])
    line = Line(target, wanted.contract, recorder, Sender(), Guard(lambda _: 0.0))
    console.print(f"plan for {base}, mode {mode}; nothing is sent now", highlight=False, soft_wrap=True)
    with Room(line, wanted.options) as room:
        if mode == "fake":
            _print_fake(room, console)
        else:
            _print_real(room, wanted, console)


def _print_real(room: Room, wanted: Wanted, console: Console) -> None:
    credits_ = Step("GET", room.contract.named("getCredits").template, ("SB-02", "SB-05", "SB-07"), "before and after")
    if room.target.mode == "paid":
        task = real.paid_step(room, wanted.price)
        polls = Step(
            "GET", "/v1/tasks/{id}", ("SL-*",),
            f"every {room.options.poll:g} s until it ends, for at most {room.options.patience:g} s; then each link three times",
        )  # fmt: skip
        steps = [credits_, task, polls, *real.reads(room)]
    else:
        steps = [credits_, *real.readonly_steps(room, wanted.price, wanted.money.max_usd)]
    _table(steps, console)
    expected = sum(step.expected_usd for step in steps)
    worst = max((step.worst_usd for step in steps), default=0.0)
    console.print(
        f"expected: ${expected:.2f}; at worst ${worst:.2f}, because the run stops at the first accepted negative "
        f"(${sum(step.worst_usd for step in steps):.2f} if it did not)",
        highlight=False,
        soft_wrap=True,
    )
    cap = wanted.money.max_usd
    if cap is not None:
        console.print(
            f"cap: ${cap:.2f}" + ("" if worst <= cap else "; the create above it would not be sent"), highlight=False
        )


def _table(steps: Iterable[Step], console: Console) -> None:
    """A line a call: expected and worst charge, the call, the rules it serves, what is bent."""
    _line(console, "expected", "worst", "call", "rules and what is sent")
    for step in steps:
        served = f"{','.join(step.rules) or '-'}  {step.what}"
        _line(console, f"${step.expected_usd:.2f}", f"${step.worst_usd:.2f}", f"{step.method} {step.path}", served)


def _line(console: Console, expected: str, worst: str, call: str, rest: str) -> None:
    text = f"{expected:>8}  {worst:>6}  {call:<32}  {rest}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _print_fake(room: Room, console: Console) -> None:
    """A fake costs nothing, so its plan is the list of scripts, and of the near misses among them."""
    for case in every_script(room):
        needs = f" (needs {', '.join(case.needs)})" if case.needs else ""
        _line(console, "$0.00", "$0.00", f"case {case.name}", ",".join(case.rules) + needs)
    create = room.contract.named("createVideo").template
    misses = near_misses(room.contract, room.body())
    _table(
        [Step("POST", create, near.rules, f"{near.field or 'body'}: {str(near.value)[:60]!r}") for near in misses],
        console,
    )
    console.print("expected: $0.00; at worst $0.00: a fake bills nothing", highlight=False, soft_wrap=True)
