"""What a broken server is: a name, the rule that it breaks, one sentence, and the switches that break it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kling_contract.mutants.messages import CallbackPost, Memory, ReceiverResponse, Request, Response

Deliver = Callable[[CallbackPost], ReceiverResponse]
OnRequest = Callable[[Request, Memory], Request | Response]
OnResponse = Callable[[Request, Response, Memory], Response]
OnCallback = Callable[[CallbackPost, Deliver, Memory], ReceiverResponse]
Patch = Callable[[dict[str, Any]], None]
_ON_SOCKETS = frozenset({"SW-15", "SW-16", "SW-17", "SW-18"})
"""Rules about methods, bodies and requests that are odd on the wire, and about answers that do not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One small departure from a correct server, in one or more of these places.

    on_request: a request, before the correct server sees it; a Response is sent at once. on_response: what it answered.
    on_callback: one attempt of a callback; it hands the attempt on itself, or does not. patch: the contract that it serves.
    settings: options of `kling-mock serve` by name; those that it sets by `--set` are in `service_settings`.
    """

    on_request: OnRequest | None = None
    on_response: OnResponse | None = None
    on_callback: OnCallback | None = None
    patch: Patch | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A correct server with its switches thrown.

    rule: which one must be named for it. story: one sentence, what is wrong with it. masked_by: the rule that is rightly named first,
    where whatever breaks *rule* breaks that one too. scripts: the scripts that show it; empty for all that take a
    server no time to speak of.
    """

    name: str
    rule: str
    story: str
    switches: tuple[Switch, ...]
    masked_by: str = ""
    scripts: tuple[str, ...] = ()
    model: str = ""
    """The model that the run asks for, for a rule about models; empty for the document's own."""

    @property
    def alone(self) -> bool:
        """Whether it needs a server of its own."""
        return any(switch.patch or switch.settings for switch in self.switches)

    @property
    def on_the_wire(self) -> bool:
        """Whether its rule is about what a socket does, so that it is tried over sockets; a call shows everything else as it is."""
        return self.rule in _ON_SOCKETS

    @property
    def proxied(self) -> bool:
        """Whether anything is changed on the wire."""
        return any(switch.on_request or switch.on_response or switch.on_callback for switch in self.switches)


def broken(
    rule: str,
    name: str,
    story: str,
    *switches: Switch,
    masked_by: str = "",
    scripts: Sequence[str] = (),
    model: str = "",
) -> Mutant:
    """A mutant, as the tables write it."""
    return Mutant(name, rule, story, switches, masked_by, tuple(scripts), model)


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
