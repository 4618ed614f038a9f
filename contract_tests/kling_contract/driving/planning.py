"""`--plan`: every call that a run would send, with what it should cost and what it may cost. Nothing is sent."""

from collections.abc import Iterable

from rich.console import Console

from kling_common.columns import columns
from kling_contract.driving.drivers.plan import every_script
from kling_contract.driving.drivers.probes import near_misses
from kling_contract.driving.drivers.run_context import RunContext
from kling_contract.driving.drivers.running import Wanted, plan_of
from kling_contract.driving.drivers.steps import Kind, Plan, Step
from kling_contract.driving.guard import Guard
from kling_contract.driving.sender import Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import Target, choose_mode, services_of
from kling_contract.history.events import Recorder
from kling_contract.reading.contract import shipped
from kling_contract.reports.terminal import say

_BILLED = ("readonly", "refusals", "paid")
_HEAD = ["expected", "worst", "call", "rules and what is sent"]


def print_plan(wanted: Wanted, console: Console) -> None:
    """Print the plan of *wanted*: of its mode, or of each mode where the user named none and the target may bill.

    Raises:
        SetupError: the URL or the mode cannot be used.
    """
    base = wanted.asked.base
    mode = choose_mode(base, wanted.asked.mode, control=False, services=services_of(wanted.contract))
    if mode == "fake":
        say(console, f"plan for {base}, mode {mode}; nothing is sent now")
        _print_fake(wanted, console)
        return
    for number, name in enumerate(_BILLED if wanted.asked.mode is None else (mode,)):
        if number:
            say(console, "")
        print_real(plan_of(wanted, name), wanted.money.max_usd, console)


def print_real(plan: Plan, cap: float | None, console: Console) -> None:
    """Print one plan for a service that bills."""
    say(console, f"plan for {plan.base}, mode {plan.mode}; nothing is sent now")
    credits_ = shipped().named("getCredits").template
    around = "before, after, and after each create that carries the key"
    calls = [Step("GET", credits_, ("SB-02", "SB-05", "SB-07"), around)]
    for step in plan.steps:
        calls.append(step)
        if step.kind is Kind.TASK:
            path = shipped().task_path("{id}")
            calls.append(Step("GET", path, ("SL-*",), "until it ends; then each link three times"))
    _show(console, [_HEAD, *map(_row, calls)])
    say(console, _total(plan))
    say(console, f"plan hash: {plan.hash}")
    if cap is not None:
        over = len([step for step in plan.steps if step.worst_usd > cap + 1e-9])
        more = f"; {over} of these calls may cost more and would not be sent" if over else ""
        say(console, f"cap: ${cap:.2f}{more}")


def _total(plan: Plan) -> str:
    expected = sum(step.expected_usd for step in plan.steps)
    worst = sum(step.worst_usd for step in plan.steps)
    most = max((step.worst_usd for step in plan.steps), default=0.0)
    calls = f"{len(plan.steps)} calls; "
    if plan.mode == "readonly":
        return f"{calls}expected: $0.00; at worst $0.00, because no create carries the key"
    margin = plan.price.margin if plan.price else 1.0
    why = f" ({margin:g} times the contract's price, which no document states)" if margin > 1 else ""
    if plan.mode == "refusals":
        return (
            f"{calls}expected: $0.00; at worst ${worst:.2f}{why} if the service accepted every one, ${most:.2f} for the dearest; "
            "the run never passes --max-usd"
        )
    return f"{calls}expected: ${expected:.2f}; at worst ${worst:.2f}{why}"


def _row(step: Step) -> list[str]:
    served = f"{','.join(step.rules) or '-'}{f' ({step.grade})' if step.grade else ''}  {step.what}"
    return [f"${step.expected_usd:.2f}", f"${step.worst_usd:.2f}", f"{step.method} {step.path}", served]


def _show(console: Console, rows: list[list[str]]) -> None:
    say(console, columns(rows, right=(0, 1)))


def _print_fake(wanted: Wanted, console: Console) -> None:
    """A fake costs nothing, so its plan is the list of scripts, and of the near misses among them."""
    target = Target(wanted.asked.base, wanted.asked.key, "fake")
    recorder = Recorder(keys=[wanted.asked.key])
    line = Line(target, wanted.contract, recorder, Sender(), Guard())
    with RunContext(line, wanted.options) as context:
        scripts = [
            ["$0.00", "$0.00", f"case {one.name}", ",".join(one.rules) + _needed(one.needs)]
            for one in every_script(context)
        ]
        create = context.contract.named("createVideo").template
        misses = near_misses(context.contract, context.body())
        calls = [
            Step("POST", create, near.rules, f"{near.field or 'body'}: {str(near.value)[:60]!r}") for near in misses
        ]
        _show(console, [_HEAD, *scripts, *map(_row, calls)])
    say(console, "expected: $0.00; at worst $0.00: a fake bills nothing")


def _needed(features: Iterable[str]) -> str:
    names = ", ".join(features)
    return f" (needs {names})" if names else ""
