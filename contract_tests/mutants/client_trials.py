"""The client half of the self-test: each broken client runs the stories that can show its rule, and must be named for it."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from contract_tests.contract import Contract, shipped
from contract_tests.history import Recorder
from contract_tests.judging import judge_history
from contract_tests.lab.adapters.command import CommandAdapter
from contract_tests.lab.fake import Fake
from contract_tests.lab.lab import Lab
from contract_tests.lab.stories import Story, load
from contract_tests.mutants.clients import CORRECT, MUTANTS, ClientMutant, command
from contract_tests.rules.rulebook import rules
from contract_tests.verdicts import Choice, Run, SetupError, Verdict

AT_ONCE = 14
"""Clients that run side by side: most of their time they sleep."""
_NAMED = (Verdict.FAIL, Verdict.WARN, Verdict.INFO)


@dataclass(frozen=True, slots=True)
class ClientTrial:
    """What became of one client. named: every broken rule and its verdict; problem: why it is no proof, empty when it is."""

    mutant: ClientMutant
    named: tuple[tuple[str, str], ...]
    problem: str = ""
    seconds: float = 0.0


def every_client() -> tuple[ClientMutant, ...]:
    """The correct clients and the broken ones."""
    return (*CORRECT, *MUTANTS)


def try_clients(
    clients: Sequence[ClientMutant] = (), tell: Callable[[ClientTrial], None] = lambda _: None
) -> list[ClientTrial]:
    """Put *clients* (all, if none are named) through the stories that serve their rules, side by side.

    tell: told of each that is over, in the order of *clients*.

    Raises:
        SetupError: the fake cannot be started.
    """
    contract = shipped()
    with _Bench(contract) as bench, ThreadPoolExecutor(AT_ONCE) as pool:
        running = [_Running(client, bench, pool) for client in _longest_first(clients or every_client())]
        trials = {one.client: one for one in running}
        found = []
        for client in clients or every_client():
            found.append(trials[client].trial())
            tell(found[-1])
    return found


def _longest_first(clients: Sequence[ClientMutant]) -> list[ClientMutant]:
    return sorted(clients, key=lambda client: -client.pace.deadline)


class _Bench:
    """One fake for all, more where one must be alone; a folder that goes away."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.stories: tuple[Story, ...] = tuple(load(contract).values())
        self._stack = ExitStack()

    def __enter__(self) -> "_Bench":
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kling-selftest-")))
        try:
            self.shared = self.fake("shared")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fake(self, name: str) -> Fake:
        """A fake that ends with the bench."""
        folder = self.folder / f"{name}-fake"
        folder.mkdir()
        return self._stack.enter_context(Fake(self.contract, folder))


class _Running:
    """One client at its stories."""

    def __init__(self, client: ClientMutant, bench: _Bench, pool: ThreadPoolExecutor) -> None:
        self.client, self._contract = client, bench.contract
        self._recorder = Recorder()
        folder = bench.folder / client.name.replace(" ", "-")
        folder.mkdir()
        fake = bench.fake(client.switch) if client.alone else bench.shared
        self._lab = Lab(fake, bench.contract, self._recorder, folder, client.pace)
        adapter = CommandAdapter(command(client, bench.contract), bench.contract)
        self._began = time.perf_counter()
        self._futures = [pool.submit(self._lab.run_story, story, adapter) for story in client.plays(bench.stories)]

    def trial(self) -> ClientTrial:
        """Its verdicts, once it is through."""
        try:
            for future in self._futures:
                future.result()
            if self.client.alone:
                self._lab.strays()
        except SetupError as error:
            return ClientTrial(self.client, (), f"could not be tried: {error}", time.perf_counter() - self._began)
        return judged(self.client, self._recorder, self._contract, time.perf_counter() - self._began)


def judged(client: ClientMutant, recorder: Recorder, contract: Contract, seconds: float) -> ClientTrial:
    """What the judges of clients make of a history of *client*."""
    book = frozenset(rule.id for rule in rules(contract).values() if rule.for_clients)
    run = judge_history(recorder.events, Choice(only=book), lambda rule: rule, contract)
    named = tuple((outcome.rule.id, str(outcome.verdict)) for outcome in run.having(*_NAMED))
    return ClientTrial(client, named, _lacking(client, run, named), seconds)


def _lacking(client: ClientMutant, run: Run, named: tuple[tuple[str, str], ...]) -> str:
    """Why the trial proves nothing; empty when it does."""
    broken = run.having(Verdict.KIT_ERROR)
    if broken:
        return f"the kit failed: {broken[0].rule.id}: {broken[0].reason}"
    if not client.rule and named:
        found = run.having(*_NAMED)
        return "a correct client is blamed: " + "; ".join(f"{one.rule.id}: {one.seen}" for one in found)
    if client.rule and client.rule not in dict(named):
        others = ", ".join(rule for rule, _ in named) or "nothing"
        return f"{client.rule} is not named ({others} is)"
    return ""


def table(trials: Sequence[ClientTrial]) -> Iterator[str]:
    """Rule x mutant as lines of Markdown."""
    contract = shipped()
    yield "| rule | level | broken client | what is wrong with it | named |"
    yield "|---|---|---|---|---|"
    for trial in trials:
        if trial.mutant.rule:
            rule = rules(contract)[trial.mutant.rule]
            named = trial.problem or ", ".join(name for name, _ in trial.named)
            yield f"| {rule.id} | {rule.level} | `{trial.mutant.switch}` | {trial.mutant.story} | {named} |"

