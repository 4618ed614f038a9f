"""The client half of the self-test: each broken client runs the stories that can show its rule, and must be named for it."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from kling_contract.history.events import Recorder
from kling_contract.judging import judge_history
from kling_contract.lab.adapters.command import CommandAdapter
from kling_contract.lab.fake import Fake
from kling_contract.lab.lab import Lab
from kling_contract.lab.stories import Story, load
from kling_contract.mutants.clients import CORRECT, MUTANTS, ClientMutant, command
from kling_contract.mutants.forking import ForkServer
from kling_contract.mutants.selftest import Row, SendCallback, Wish
from kling_contract.reading.contract import Contract, shipped
from kling_contract.rules.rulebook import Rule, rules
from kling_contract.rules.verdicts import Choice, Result, Run, SetupError

AT_ONCE = 14
"""Clients that run side by side: most of their time they sleep."""
_NAMED = (Result.FAIL, Result.WARN, Result.INFO)


def client_rules(only: Iterable[str] = ()) -> list[Rule]:
    """The rules about clients, of *only* where any are named."""
    wanted = frozenset(only)
    return [rule for rule in rules(shipped()).values() if rule.for_clients and (rule.id in wanted or not wanted)]


def try_clients(wish: Wish, tell: SendCallback) -> list[Row]:
    """Put correct clients and broken ones through their stories, side by side; rows in the order of the table.

    Raises:
        SetupError: the fake cannot be started.
    """
    chosen = [mutant for mutant in MUTANTS if mutant.rule in wish.only or not wish.only]
    return tried((*CORRECT, *chosen), tell, workers=wish.workers or AT_ONCE)


def tried(clients: Sequence[ClientMutant], tell: SendCallback = lambda _: None, *, workers: int = AT_ONCE) -> list[Row]:
    """The same for any *clients*; *tell* hears of each that is over, in their order.

    A broken one that was not named is tried once more when the others are through: on a crowded machine two runs that should meet may
    miss each other. A correct one that is blamed gets no second try.
    """
    with _Bench(shipped()) as bench, ThreadPoolExecutor(workers) as pool:
        patient = sorted(clients, key=lambda client: -client.deadline)
        running = {client: _Running(client, bench, pool) for client in patient}
        rows = {}
        for client in clients:
            rows[client] = running[client].row()
            if not _missed(rows[client]):
                tell(rows[client])
        for client in clients:
            if _missed(rows[client]):
                rows[client] = _Running(client, bench, pool, "again").row()
                tell(rows[client])
    return [rows[client] for client in clients]


def _missed(row: Row) -> bool:
    """Whether a broken client was not named."""
    return bool(row.rule and row.problem)


class _Bench:
    """One fake for all, one more for each that must be alone; a source of processes; a folder that goes away."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.stories: tuple[Story, ...] = tuple(load(contract).values())
        self._stack = ExitStack()

    def __enter__(self) -> "_Bench":
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kling-selftest-")))
        self.processes = self._stack.enter_context(ForkServer())
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

    def __init__(self, client: ClientMutant, bench: _Bench, pool: ThreadPoolExecutor, attempt: str = "first") -> None:
        self.client, self._contract = client, bench.contract
        self._recorder = Recorder()
        folder = bench.folder / client.name / attempt
        folder.mkdir(parents=True)
        fake = bench.fake(f"{client.switch}-{attempt}") if client.alone else bench.shared
        self._lab = Lab(fake, bench.contract, self._recorder, folder, client.pace)
        adapter = CommandAdapter(command(client, bench.contract), bench.contract, start=bench.processes.start)
        self._seconds = 0.0
        self._futures = [pool.submit(self._play, story, adapter) for story in client.plays(bench.stories)]

    def _play(self, story: Story, adapter: CommandAdapter) -> float:
        """Run one story; return how long it took."""
        began = time.perf_counter()
        self._lab.run_story(story, adapter)
        return time.perf_counter() - began

    def row(self) -> Row:
        """Its verdicts, once it is through."""
        try:
            self._seconds = max(future.result() for future in self._futures)
            if self.client.alone:
                self._lab.strays()
        except SetupError as error:
            return self._row((), f"could not be tried: {error}")
        book = frozenset(rule.id for rule in client_rules())
        run = judge_history(self._recorder.events, Choice(only=book), lambda rule: rule, self._contract)
        named = tuple((verdict.rule.id, str(verdict.result)) for verdict in run.having(*_NAMED))
        return self._row(named, lacking(self.client, run))

    def _row(self, named: tuple[tuple[str, str], ...], problem: str) -> Row:
        client = self.client
        first = named[0][0] if named else ""
        return Row(
            kind="client", rule=client.rule, name=client.name, story=client.story, named=named, problem=problem,
            masked_by=first if client.rule and first != client.rule else "", seconds=self._seconds,
        )  # fmt: skip


def lacking(client: ClientMutant, run: Run) -> str:
    """Why a run of *client* proves nothing; empty when it does: its rule named, or for a correct one nothing at all."""
    broken = run.having(Result.KIT_ERROR)
    if broken:
        return f"the kit failed: {broken[0].rule.id}: {broken[0].reason}"
    found = run.having(*_NAMED)
    if not client.rule and found:
        return "a correct client is blamed: " + "; ".join(f"{one.rule.id}: {one.seen}" for one in found)
    if client.rule and client.rule not in {one.rule.id for one in found}:
        others = ", ".join(one.rule.id for one in found) or "nothing"
        return f"{client.rule} is not named, but {others}"
    return ""
