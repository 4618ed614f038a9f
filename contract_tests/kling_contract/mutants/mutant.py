"""What a broken server is: a name, the rule that it breaks, one sentence, and the switches that break it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kling_contract.mutants.messages import Answer, Ask, Memory, Reply, Telling

Deliver = Callable[[Telling], Reply]
OnAsk = Callable[[Ask, Memory], Ask | Answer]
OnAnswer = Callable[[Ask, Answer, Memory], Answer]
OnTell = Callable[[Telling, Deliver, Memory], Reply]
Patch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One small departure from a correct server, in one or more of these places.

    on_ask: a request, before the correct server sees it; an Answer is given at once. on_answer: what it answered.
    on_tell: one attempt of a callback; it hands the attempt on itself, or does not. patch: the contract that it serves.
    serve: options of `kling-mock serve`.
    """

    on_ask: OnAsk | None = None
    on_answer: OnAnswer | None = None
    on_tell: OnTell | None = None
    patch: Patch | None = None
    serve: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mutant:
    """A correct server with its switches thrown.

    rule: which one must be named for it. story: one sentence, what is wrong with it. behind: the rule that is rightly named first,
    where whatever breaks *rule* breaks that one too. cases: the scripted cases that show it; empty for all that take a
    server no time to speak of.
    """

    name: str
    rule: str
    story: str
    switches: tuple[Switch, ...]
    behind: str = ""
    cases: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether it needs a server process of its own."""
        return any(switch.patch or switch.serve for switch in self.switches)

    @property
    def proxied(self) -> bool:
        """Whether anything is changed on the wire."""
        return any(switch.on_ask or switch.on_answer or switch.on_tell for switch in self.switches)


def broken(rule: str, name: str, story: str, *switches: Switch, behind: str = "", cases: Sequence[str] = ()) -> Mutant:
    """A mutant, as the tables write it."""
    return Mutant(name, rule, story, switches, behind, tuple(cases))


def by_name(mutants: Sequence[Mutant]) -> Mapping[str, Mutant]:
    """The mutants by name.

    Raises:
        ValueError: two share a name.
    """
    found: dict[str, Mutant] = {}
    for mutant in mutants:
        if found.setdefault(mutant.name, mutant) is not mutant:
            raise ValueError(f"two mutants are called {mutant.name}")
    return found
