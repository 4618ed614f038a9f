"""One trial: drive a mutant with the scripted run, judge it with the shipped contract, and see what was named."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from kling_contract.driving.drivers.plan import every_script
from kling_contract.driving.drivers.run_context import Options, RunContext, Script
from kling_contract.driving.drivers.running import Wanted, make_history
from kling_contract.driving.guard import Guard
from kling_contract.driving.sender import Sender
from kling_contract.driving.session import Line
from kling_contract.driving.target import Asked, Target
from kling_contract.history.events import Recorder
from kling_contract.judging import judge_history
from kling_contract.mutants.mutant import Mutant
from kling_contract.mutants.serving import Correct, served
from kling_contract.reading.contract import shipped
from kling_contract.reading.families import chosen
from kling_contract.rules.rulebook import rules
from kling_contract.rules.verdicts import BROKEN, Choice, Result, Run, SetupError

COSTLY = frozenset({"callback-slow", "tiers"})
"""Cases that take seconds, never run where a mutant does not name them: a slow receiver, and large videos."""
EVERYDAY = frozenset({
    "lifecycle", "failures", "cancelled", "keys", "isolation", "methods", "accepted", "prices", "replayed", "burst",
    "billing-failed", "billing-cancelled", "callback", "callback-failed", "callback-cancelled", "callback-yes",
})  # fmt: skip
"""Short scripts that see a little of everything, run with those that serve the mutant's own rule."""
WIDE = EVERYDAY | {"refusals", "reading", "rated", "links", "unknown-fields", "callback-no"}
"""What rules are looked at in that no case is made for."""
_NAMED = (Result.FAIL, Result.WARN, Result.INFO)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one mutant. named: every broken rule and its verdict, the first cause first; problem: why it is no proof.

    mutant: empty for a correct server.
    """

    mutant: str
    named: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def first(self) -> str:
        """The rule that is named first; empty where none is."""
        return self.named[0][0] if self.named else ""


def every_usual_case(model: str = "") -> list[Script]:
    """The scripts of a fake, but for the costly ones, where a run asks for *model*."""
    target = Target("http://127.0.0.1", "sk-none", "fake")
    line = Line(target, chosen(model=model or None), Recorder(), Sender(), Guard())
    with RunContext(line, Options(quick=True)) as context:
        return [case for case in every_script(context) if case.name not in COSTLY]


def cases_of(mutant: Mutant, *, full: bool = False) -> frozenset[str]:
    """The scripts that a mutant is tried with: its own, else those of its rule and the everyday ones, or all (*full*)."""
    if mutant.scripts:
        return frozenset(mutant.scripts)
    usual = every_usual_case(mutant.model)
    serving = [case.name for case in usual if mutant.rule in case.rules]
    if full:
        return frozenset(case.name for case in usual)
    return frozenset(serving) | EVERYDAY if serving else WIDE


def drive(url: str, scripts: frozenset[str], seed: int, model: str = "", sender: Sender | None = None) -> Run:
    """Judge the server at *url* by the scripts named (empty: all of them), by creates of *model* where it is named.

    sender: a quicker way to the server than a sender of its own.
    """
    contract = chosen(model=model or None)
    options = Options(seed=seed, quick=True, scripts=scripts)
    made = make_history(Wanted(Asked(url=url, key=f"sk-selftest-{seed}"), options, contract=contract), Choice(), sender)
    return judge_history(made.recorder.events, Choice(), lambda rule: rule, contract)


def try_correct(correct: Correct, seed: int, model: str = "") -> Trial:
    """A correct server, driven with every case: nothing may be named."""
    url, sender = (correct, None) if isinstance(correct, str) else (correct.url, correct)
    return _timed("", lambda: _peaceful(drive(url, frozenset(), seed, model, sender)))


def try_mutant(mutant: Mutant, correct: Correct, seed: int, *, full: bool = False) -> Trial:
    """A broken server: its rule must be named, and first, unless another stands before it by rights.

    correct: a server that mutants share; seed: tells the accounts of one trial from those of another; full:
    with every case, not with those alone that concern the mutant.
    """

    def trial() -> tuple[Run, str]:
        with served(mutant, correct) as there:
            run = drive(there.url, cases_of(mutant, full=full), seed, mutant.model, there.sender)
        return run, _lacking(mutant, run)

    return _timed(mutant.name, trial)


def _timed(name: str, trial: Callable[[], tuple[Run, str]]) -> Trial:
    began = time.perf_counter()
    try:
        run, problem = trial()
    except SetupError as error:
        return Trial(name, (), f"could not be tried: {error}", time.perf_counter() - began)
    except Exception as error:  # one trial that breaks leaves the others alone
        place = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}:{place.lineno})"
        return Trial(name, (), problem, time.perf_counter() - began)
    named = tuple((verdict.rule.id, str(verdict.result)) for verdict in run.having(*_NAMED))
    return Trial(name, named, problem, time.perf_counter() - began)


def _peaceful(run: Run) -> tuple[Run, str]:
    found = run.having(*_NAMED, Result.KIT_ERROR, Result.UNTESTABLE)
    said = "; ".join(f"{verdict.rule.id} {verdict.result}: {verdict.seen}" for verdict in found)
    return run, f"a correct server is blamed: {said}" if said else ""


def _lacking(mutant: Mutant, run: Run) -> str:
    """Why the trial proves nothing; empty when it does."""
    broken = [verdict.rule.id for verdict in run.having(*_NAMED)]
    failed = run.having(Result.KIT_ERROR)
    verdict = next(verdict for verdict in run.verdicts if verdict.rule.id == mutant.rule)
    wanted = BROKEN[rules(shipped())[mutant.rule].level]
    if failed:
        return f"the kit broke: {failed[0].rule.id} {failed[0].reason}"
    if run.stopped:
        return f"the run was stopped: {run.stopped}"
    if verdict.result is not wanted:
        return (
            f"{mutant.rule} is {verdict.result} {verdict.reason}, not {wanted}; named: {', '.join(broken) or 'nothing'}"
        )
    if broken[0] != (mutant.masked_by or mutant.rule):
        first = run.having(*_NAMED)[0]
        return f"{broken[0]} is named before {mutant.rule}: expected {first.expected}, seen {first.seen}"
    return ""
