"""The self-test: every mutant is tried, several at once, and every rule must be named for at least one of them.

A half is one kind of mutants: servers here, clients in a module of their own. Both give `Row`s, which the table is made of.
"""

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from kling_contract.mutants.called import Called, application
from kling_contract.mutants.mutant import Mutant
from kling_contract.mutants.proxy import Proxy
from kling_contract.mutants.servers import BY_NAME, SERVERS
from kling_contract.mutants.serving import fake
from kling_contract.mutants.trial import COSTLY, Trial, try_correct, try_mutant
from kling_contract.reading.contract import shipped
from kling_contract.rules.rulebook import Rule, rules

_MOST_WORKERS = 8
_FIRST_SEED = 1000
_NICE = 5
"""How far trials of servers, whose clocks stand still, step back for those of clients, whose waits are real."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One mutant in the table. rule: empty for a correct server or client, which must be named for nothing.

    masked_by: the rule that is named first by rights, where that is not *rule*. named: what was named, the first cause
    first, with its verdict. problem: why it proves nothing; empty when it does.
    """

    kind: str
    rule: str
    name: str
    story: str
    masked_by: str = ""
    named: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def beside(self) -> tuple[str, ...]:
        """Rules that are named as well."""
        return tuple(rule for rule, _ in self.named if rule != self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to try: mutants of the rules *only* (empty: all), *workers* at once, *full* with every case that there is."""

    only: frozenset[str] = frozenset()
    workers: int = 0
    full: bool = False


SendCallback = Callable[[Row], None]
Half = Callable[[Wish, SendCallback], list[Row]]


def server_rules(only: Iterable[str] = ()) -> list[Rule]:
    """The rules about servers, of *only* where any are named."""
    wanted = frozenset(only)
    return [rule for rule in rules(shipped()).values() if not rule.for_clients and (rule.id in wanted or not wanted)]


def bare(rows: Sequence[Row], book: Iterable[Rule]) -> list[Rule]:
    """The rules of *book* that no mutant of *rows* proves."""
    proven = {row.rule for row in rows if not row.problem}
    return [rule for rule in book if rule.id not in proven]


def try_servers(wish: Wish, tell: SendCallback) -> list[Row]:
    """Try correct servers and broken ones; rows in the order of the tables.

    Raises:
        SetupError: no fake can be started.
    """
    chosen = [mutant for mutant in SERVERS if mutant.rule in wish.only or not wish.only]
    workers = wish.workers or min(os.cpu_count() or 2, _MOST_WORKERS)
    context = multiprocessing.get_context("spawn")
    pool_of = functools.partial(
        ProcessPoolExecutor, workers, mp_context=context, initializer=os.nice, initargs=(_NICE,)
    )
    with fake() as url, pool_of() as pool:
        correct = [(name, pool.submit(_try_correct, name, url, number)) for number, name in enumerate(_CORRECT)]
        started = {
            mutant.name: pool.submit(_try_mutant, mutant.name, url, _FIRST_SEED + number, wish.full)
            for number, mutant in enumerate(sorted(chosen, key=_cost))
        }
        rows = [_told(_correct_row(name, trial.result()), tell) for name, trial in correct]
        rows += [_told(_row(mutant, trial), tell) for mutant, trial in _in_order(chosen, started)]
    return rows


def _in_order(chosen: Sequence[Mutant], started: dict[str, Future[Trial]]) -> Iterator[tuple[Mutant, Trial]]:
    return ((mutant, started[mutant.name].result()) for mutant in chosen)


def _cost(mutant: Mutant) -> tuple[bool, bool]:
    """The long ones first, so that a long one is not left for the end."""
    return not COSTLY & set(mutant.scripts), not mutant.alone


def _told(row: Row, tell: SendCallback) -> Row:
    tell(row)
    return row


def _row(mutant: Mutant, trial: Trial) -> Row:
    return Row(
        kind="server", rule=mutant.rule, name=mutant.name, story=mutant.story, masked_by=mutant.masked_by,
        named=trial.named, problem=trial.problem, seconds=trial.seconds,
    )  # fmt: skip


_CORRECT = {
    "correct": "a correct server",
    "correct-behind-the-proxy": "a correct server behind the proxy that makes mutants, with no switch thrown",
}


def _correct_row(name: str, trial: Trial) -> Row:
    return Row(
        kind="server", rule="", name=name, story=_CORRECT[name],
        named=trial.named, problem=trial.problem, seconds=trial.seconds,
    )  # fmt: skip


def _try_correct(name: str, url: str, seed: int) -> Trial:
    if name == "correct":
        return try_correct(url, seed)
    with Proxy(url) as proxy:
        return try_correct(proxy.url, seed)


def _try_mutant(name: str, url: str, seed: int, full: bool) -> Trial:
    """Only what a socket shows is tried on the server at *url*; it costs twice what a call does."""
    mutant = BY_NAME[name]
    return try_mutant(mutant, url if mutant.on_the_wire else _here(), seed, full=full)


@functools.cache
def _here() -> Called:
    """The correct server of this worker, which lasts as long as it does."""
    return ExitStack().enter_context(application())
